"""Neurons switched off: against models whose weights say the same, for every family of architectures."""

from __future__ import annotations

import json
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AlbertConfig, AutoModel

from descry.ablation.switching import draw_matched, learn, represent, switch_off
from descry.models.target import Target
from tests.activations.test_extraction import REDUCE, TEXTS
from tests.support.dictionaries import run_by_hand, save_dictionary
from tests.support.families import FAMILIES, SIZES, Family

VALUE = 0.75


def without(module: Any, columns: Tensor, value: float) -> None:
    """Change a linear map as if some of its inputs always had a value."""
    linear = isinstance(module, nn.Linear)
    weight = module.weight.detach().clone()
    rows = weight.T if linear else weight  # [in, out]
    shift = value * rows[columns].sum(0)
    rows[columns] = 0
    module.weight = nn.Parameter(weight)
    module.bias = nn.Parameter(shift if module.bias is None else module.bias.detach() + shift)


class Fixed(nn.Module):
    """A layer, some of whose outputs always have a value."""

    def __init__(self, layer: nn.Module, columns: Tensor, value: float) -> None:
        super().__init__()
        self.layer, self.columns, self.value = layer, columns, value

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.layer, name)

    def forward(self, *given: Any, **named: Any) -> Any:
        out = self.layer(*given, **named)
        values = (out[0] if isinstance(out, tuple) else out).clone()
        values[..., self.columns] = self.value
        return (values, *out[1:]) if isinstance(out, tuple) else values


def some(target: Target, seed: int = 0) -> np.ndarray:
    """Some neurons of every layer but the first."""
    neurons = sum(target.widths)
    chosen = np.random.default_rng(seed).permutation(neurons)[: neurons // 5]
    return np.sort(chosen[chosen >= target.widths[0]])


def by_hand(target: Target, neurons: np.ndarray, value: float) -> Target:
    """The same target with the neurons switched off in its weights, or by layers of its own."""
    model = deepcopy(target.model)
    other = target.replace_model(model)
    for site, (start, stop) in zip(other.sites, pairwise(np.cumsum([0, *other.widths])), strict=True):
        own = torch.from_numpy(neurons[(neurons >= start) & (neurons < stop)] - start)
        if site.output:
            parent, _, name = site.name.rpartition(".")
            setattr(model.get_submodule(parent), name, Fixed(site.module, own, value))
        else:
            without(site.module, own, value)
    other.model = model
    return other


CASES = [
    *((name, {}) for name in FAMILIES if "albert" not in name and name != "qwen2"),  # whose tokenizer reads bytes
    ("bert", {"site": "attention"}),
    ("llama", {"site": "attention"}),
    ("bert", {"site": "hidden"}),
    ("gpt2", {"site": "hidden"}),
    ("llama", {"layers": [2, 3]}),
    ("t5", {"stack": "decoder"}),
    ("t5_gated", {"stack": "both"}),
]


@pytest.mark.parametrize("value", [0.0, VALUE])
@pytest.mark.parametrize(("family", "options"), CASES, ids=str)
def test_switched_off_is_what_other_weights_give(
    family: str, options: dict[str, Any], value: float, tmp_path: Path
) -> None:
    target = Target(FAMILIES[family].save(tmp_path), **options)
    neurons = some(target)
    off = neurons, np.full(len(neurons), value, np.float32)
    for pooling in ("mean", "last"):
        found = represent(target, TEXTS, pooling=pooling, batch_tokens=20, off=off)
        expected = represent(by_hand(target, neurons, value), TEXTS, pooling=pooling)
        np.testing.assert_allclose(found, expected, atol=2e-5)
        untouched = represent(target, TEXTS, pooling=pooling)
        assert np.abs(found - untouched).max() > 1e-3


def test_layers_that_share_their_weights_are_switched_off_one_by_one(tmp_path: Path) -> None:
    """ALBERT's layers are one module: beside a model that holds the same weights once for every layer."""
    target = Target(FAMILIES["albert"].save(tmp_path))
    torch.manual_seed(0)
    apart = AutoModel.from_config(AlbertConfig(**SIZES, embedding_size=16, num_hidden_groups=3)).eval()
    weights = target.model.state_dict()
    for group in range(3):
        apart.load_state_dict(
            {n.replace("layer_groups.0", f"layer_groups.{group}"): w for n, w in weights.items()}, strict=False
        )
    other = target.replace_model(apart)
    np.testing.assert_allclose(
        represent(other, TEXTS, pooling="mean"), represent(target, TEXTS, pooling="mean"), atol=1e-6
    )
    for seed in range(3):
        neurons = some(target, seed)
        found = represent(target, TEXTS, pooling="mean", off=(neurons, np.full(len(neurons), VALUE, np.float32)))
        expected = represent(by_hand(other, neurons, VALUE), TEXTS, pooling="mean")
        np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama", "t5"])
@pytest.mark.parametrize("pooling", ["mean", "last", "max"])
def test_a_representation_is_the_last_state_pooled_over_own_tokens(family: str, pooling: str, tmp_path: Path) -> None:
    made: Family = FAMILIES[family]
    target = Target(made.save(tmp_path))
    found = represent(target, TEXTS, pooling=pooling, batch_tokens=30)
    model = getattr(target.model, "encoder", target.model) if family == "t5" else target.model
    for row, text in enumerate(TEXTS):
        with torch.no_grad():
            state = model(input_ids=torch.tensor([made.ids(text)])).last_hidden_state[0]
        own = state[len(made.prefix) :][: len(text.split())].numpy()
        np.testing.assert_allclose(found[row], REDUCE[pooling](own), atol=2e-5)
    assert represent(target, [], pooling=pooling).shape[0] == 0


@pytest.mark.parametrize("family", ["bert", "gpt2", "t5"])
def test_one_pass_gives_the_means_over_the_own_tokens_of_all_texts_and_every_representation(
    family: str, tmp_path: Path
) -> None:
    made = FAMILIES[family]
    target = Target(made.save(tmp_path))
    values = [torch.cat([layer["ffn"] for layer in made.slow(target.model, text)], dim=1) for text in TEXTS]
    means, vectors = learn(target, TEXTS, pooling="mean", batch_tokens=20)
    np.testing.assert_allclose(means, torch.cat(values).mean(0).numpy(), atol=1e-4)
    np.testing.assert_array_equal(vectors, represent(target, TEXTS, pooling="mean", batch_tokens=20))


def save_transcoder(folder: Path, latents: Tensor, decoder: Tensor) -> None:
    """A transcoder on the last layer's feed-forward block whose latents have the same values on every token."""
    width = decoder.shape[1]
    weights = {"W_enc": torch.zeros(width, len(latents)), "W_dec": decoder, "b_enc": latents}
    folder.mkdir()
    save_file(weights | {"b_dec": torch.zeros(width)}, folder / "sae_weights.safetensors")
    config = {"architecture": "transcoder", "metadata": {"hook_name": "blocks.2.ln2.hook_normalized"}}
    (folder / "cfg.json").write_text(json.dumps(config))


def test_latents_of_a_transcoder_are_switched_off_where_they_write(tiny_bert: Path, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    latents, decoder = torch.rand(10, generator=generator), torch.randn(10, 24, generator=generator)
    save_transcoder(tmp_path / "one", latents, decoder)
    target, other = Target(tiny_bert, dictionaries=tmp_path), Target(tiny_bert)
    off, constants = np.array([2, 7]), np.array([0.0, 3.0], np.float32)
    change = (torch.from_numpy(constants) - latents[off]) @ decoder[off]
    other.model.encoder.layer[2].output.dense.bias.data += change
    np.testing.assert_allclose(
        represent(target, TEXTS, pooling="mean", off=(off, constants)),
        represent(other, TEXTS, pooling="mean"),
        atol=1e-4,
    )


@pytest.mark.parametrize("normalisation", ["none", "layer_norm"])
def test_latents_of_the_last_layer_are_switched_off_in_its_values(
    normalisation: str, tiny_bert: Path, tmp_path: Path
) -> None:
    config = {"metadata": {"hook_name": "encoder.layer.2"}, "normalize_activations": normalisation, "k": 4}
    save_dictionary(tmp_path / "one", **config)
    target = Target(tiny_bert, dictionaries=tmp_path)
    off, constants = np.array([1, 5, 30]), np.array([0.0, 0.5, 2.0], np.float32)
    encoder: Any = target.sites[0].encoder
    means = []
    for text in TEXTS:
        values = run_by_hand(target, text, "encoder.layer.2", output=True)
        latents = encoder(values)
        fixed = latents.clone()
        fixed[:, off] = torch.from_numpy(constants)
        size = values.std(1, keepdim=True) if normalisation == "layer_norm" else 1.0
        means.append((values + size * (fixed - latents) @ encoder.decoder).mean(0).numpy())
    got = represent(target, TEXTS, pooling="mean", off=(off, constants))
    np.testing.assert_allclose(got, np.stack(means), atol=1e-4)


def test_off_is_over_when_it_is_over(tiny_bert: Path) -> None:
    target = Target(tiny_bert)
    before = represent(target, TEXTS, pooling="mean")
    neurons = np.arange(48, 96)
    with pytest.raises(RuntimeError, match="broken"), switch_off(target, neurons, np.zeros(48, np.float32)):
        raise RuntimeError("broken")
    np.testing.assert_array_equal(represent(target, TEXTS, pooling="mean"), before)


def test_random_sets_have_as_many_neurons_of_every_layer_and_none_of_the_descriptors_own() -> None:
    generator = np.random.default_rng(0)
    layer = np.repeat([1, 2, 3], 50)
    own = np.array([3, 4, 60, 61, 62, 140])
    pool = generator.random(150) < 0.6
    pool[own] = False
    seen = []
    for _ in range(200):
        found = draw_matched(own, layer, pool, generator)
        assert np.bincount(layer[found], minlength=4).tolist() == [0, 2, 3, 1]
        assert pool[found].all()
        assert len(set(found.tolist())) == len(found)
        seen += found.tolist()
    assert set(seen) == set(np.flatnonzero(pool).tolist())
    pool[50:100] = False
    pool[70] = True
    assert np.bincount(layer[draw_matched(own, layer, pool, generator)], minlength=4).tolist() == [0, 2, 1, 1]
    assert not len(draw_matched(own[:0], layer, pool, generator))
