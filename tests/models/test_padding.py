"""What a neuron does on a sentence does not depend on the sentences that it is read with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModel, ConvBertConfig, FNetConfig, LongformerConfig, MobileBertConfig, XLNetConfig

from descry.activations.extraction import extract
from descry.errors import InputError
from descry.models import target as targets
from descry.models.target import Target
from tests.support.families import BERT, FFN, SIZES, WIDTH, WORDS, Family, bert

TEXTS = [
    "the battery died after a week",
    "love the sound of this small speaker and it is very very loud",
    "box was torn",
    "loud",
    "a small battery",
]
NO_HEADS = {name: size for name, size in SIZES.items() if name != "num_attention_heads"}
BOTTLENECK = {"embedding_size": 12, "true_hidden_size": 16, "intra_bottleneck_size": 16, "num_feedforward_networks": 1}
LEAKS: dict[str, tuple[Callable[[], Any], str]] = {
    "convbert": (lambda: ConvBertConfig(**SIZES, embedding_size=WIDTH), ""),
    "fnet": (lambda: FNetConfig(**NO_HEADS, tpu_short_seq_length=32), ""),
    "mobilebert": (lambda: MobileBertConfig(**SIZES, **BOTTLENECK), "encoder.layer.*.output.dense"),
}


def saved(config: Callable[[], Any], folder: Path) -> Path:
    """A model of that configuration, whose weights are large enough for a leak to show."""
    folder = Family(config, bert, **BERT).save(folder)
    model = AutoModel.from_pretrained(folder)
    for weights in model.parameters():
        if weights.dim() > 1:
            torch.nn.init.normal_(weights, std=0.3, generator=torch.Generator().manual_seed(1))
    model.save_pretrained(folder)
    return folder


def read_alone(folder: Path, text: str, modules: str) -> np.ndarray:
    """The mean over a sentence's tokens of what goes into some modules, read in plain torch: float32 [neurons]."""
    model, found = AutoModel.from_pretrained(folder).eval(), list[torch.Tensor]()
    for number in range(3):
        module = model.get_submodule(modules.replace("*", str(number), 1))
        module.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0].reshape(-1, inputs[0].shape[-1])))
    ids = [WORDS.index("<s>"), *(WORDS.index(word) for word in text.split()), WORDS.index("</s>")]
    with torch.no_grad():
        model(input_ids=torch.tensor([ids]))
    return torch.cat([values[1:-1].mean(0) for values in found]).numpy()


@pytest.mark.parametrize("kind", LEAKS)
def test_a_model_that_padding_reaches_reads_sentences_of_one_length_together(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, modules = LEAKS[kind]
    target = Target(saved(config, tmp_path), modules=modules)
    assert "only sentences of equal length share a batch" in capsys.readouterr().out
    batches = target.make_batches(target.encode(TEXTS)[0], 1000)
    assert len(batches) == 4  # two sentences have three words
    probe = extract(target, TEXTS, np.arange(len(TEXTS)), batch_tokens=1000, top_k=2).probe
    expected = [read_alone(tmp_path, text, modules or "encoder.layer.*.output.dense") for text in TEXTS]
    np.testing.assert_allclose(probe, expected, atol=2e-3, rtol=2e-3)
    ids, special = target.encode(TEXTS)
    together = target.pool(ids, special, ["mean"])[0].numpy()
    assert np.abs(together - expected).max() > 0.05  # what would have been read


def test_values_that_come_tokens_first_are_read_as_any_other(tmp_path: Path) -> None:
    config = XLNetConfig(vocab_size=len(WORDS), d_model=WIDTH, n_layer=3, n_head=4, d_inner=FFN)
    assert config.max_position_embeddings == -1
    target = Target(saved(lambda: config, tmp_path))
    assert target.widths == [FFN] * 3
    ids, special = target.encode(TEXTS)
    assert len(target.make_batches(ids, 1000)) == 1
    expected = [read_alone(tmp_path, text, "layer.*.ff.layer_2") for text in TEXTS]
    np.testing.assert_allclose(target.pool(ids, special, ["mean"])[0], expected, atol=1e-5)
    same = target.pool(ids[4:] * 5, special[4:] * 5, ["mean"])[0]  # as many sentences as tokens
    np.testing.assert_allclose(same, [expected[4]] * 5, atol=1e-5)


def test_a_model_that_pads_to_its_window_is_read_as_any_other(tmp_path: Path) -> None:
    sizes = SIZES | {"max_position_embeddings": 66}
    folder = saved(lambda: LongformerConfig(**sizes, pad_token_id=1, attention_window=[32] * 3), tmp_path)
    target = Target(folder)
    assert target.widths == [FFN] * 3
    ids, special = target.encode(TEXTS)
    assert target.batch(ids, special)[0].shape == (5, 32)
    model, found = AutoModel.from_pretrained(folder).eval(), list[list[torch.Tensor]]()
    for layer in model.encoder.layer:
        layer.output.dense.register_forward_pre_hook(lambda _, inputs: found[-1].append(inputs[0][0]))
    for own in ids:
        found.append([])
        with torch.no_grad():
            model(input_ids=torch.tensor([own]), attention_mask=torch.ones(1, len(own), dtype=torch.int64))
    expected = [
        torch.cat([values[1 : len(own) - 1].mean(0) for values in layers]).numpy()
        for own, layers in zip(ids, found, strict=True)
    ]
    np.testing.assert_allclose(target.pool(ids, special, ["mean"])[0], expected, atol=1e-5)


def test_a_model_that_mixes_the_sentences_of_a_batch_is_refused(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = targets.load_weights

    def mixing(*given: Any) -> Any:
        model = load(*given)
        model.embeddings.register_forward_hook(lambda _, __, output: output + output.mean(dim=0, keepdim=True))
        return model

    monkeypatch.setattr(targets, "load_weights", mixing)
    with pytest.raises(InputError, match="change with the other sentences of a batch") as caught:
        Target(tiny_bert)
    assert "\n" not in str(caught.value)


def test_other_models_keep_their_batches(tiny_bert: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = Target(tiny_bert)
    assert len(target.make_batches(target.encode(TEXTS)[0], 1000)) == 1
    assert not capsys.readouterr().out
