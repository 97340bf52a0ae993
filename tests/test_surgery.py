from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModel, BertConfig, BertModel, GPT2Config, GPT2Model, LlamaConfig, LlamaModel

from descry.errors import InputError
from descry.neurons import ffn_sites
from descry.surgery import Directions, append, matrix, up_maps

HIDDEN, WIDTH = 24, 48
SIZES = {"num_hidden_layers": 3, "num_attention_heads": 2, "hidden_size": HIDDEN, "max_position_embeddings": 32}
TOKENS = torch.arange(40).reshape(4, 10)
NEW = {1: 5, 3: 2}
"""Neurons appended, by layer; layer 2 gets none."""


def bert() -> nn.Module:
    return BertModel(BertConfig(vocab_size=40, intermediate_size=WIDTH, **SIZES))


def gpt2() -> nn.Module:
    return GPT2Model(GPT2Config(vocab_size=40, bos_token_id=0, eos_token_id=0, **SIZES))  # its width: 4 x hidden


def llama(bias: bool = False) -> nn.Module:
    config = LlamaConfig(vocab_size=40, intermediate_size=WIDTH, num_key_value_heads=2, mlp_bias=bias, **SIZES)
    return LlamaModel(config)


def biased_llama() -> nn.Module:
    return llama(bias=True)


MODELS = [bert, gpt2, llama, biased_llama]
ACTS = {
    "bert": nn.functional.gelu,
    "gpt2": lambda v: nn.functional.gelu(v, approximate="tanh"),
    "llama": nn.functional.silu,
}


def built(make: Any) -> Any:
    torch.manual_seed(3)
    return make().eval()


def directions() -> dict[int, Directions]:
    torch.manual_seed(4)
    return {layer: Directions(torch.randn(count, HIDDEN), torch.randn(count)) for layer, count in NEW.items()}


@torch.inference_mode()
def seen(model: Any) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Last hidden state, and what goes into every layer's up map (the gate, where there is one) and down map."""
    ups: list[torch.Tensor] = []
    downs: list[torch.Tensor] = []
    for site in ffn_sites(model):
        up = next(iter(up_maps(model, site).values()))
        up.register_forward_pre_hook(lambda _, inputs: ups.append(inputs[0]))
        site.module.register_forward_pre_hook(lambda _, inputs: downs.append(inputs[0]))
    return model(input_ids=TOKENS).last_hidden_state, ups, downs


@pytest.mark.parametrize("make", MODELS)
def test_outputs_and_old_neurons_stay_exactly_what_they_were(make: Any) -> None:
    before, _, old = seen(built(make))
    model = built(make)
    append(model, directions())
    after, _, new = seen(model)
    assert torch.equal(before, after)
    for one, other in zip(old, new, strict=True):
        assert other.shape[-1] == one.shape[-1] + 5
        assert torch.equal(one, other[..., : one.shape[-1]])


@pytest.mark.parametrize("make", MODELS)
def test_appended_neurons_equal_an_independent_computation(make: Any) -> None:
    model = built(make)
    width, name = ffn_sites(model)[0].width, make.__name__.removeprefix("biased_")
    append(model, directions())
    _, ups, downs = seen(model)
    for layer, new in directions().items():
        linear = ups[layer - 1] @ new.weights.T + (0 if make is llama else new.biases)
        expected = ACTS[name](linear) * (linear if name == "llama" else 1)
        torch.testing.assert_close(downs[layer - 1][..., width : width + NEW[layer]], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", MODELS)
def test_what_no_direction_was_given_for_never_moves(make: Any) -> None:
    model = built(make)
    width = ffn_sites(model)[0].width
    append(model, directions())
    _, _, downs = seen(model)
    assert not downs[1][..., width:].any()
    assert not downs[2][..., width + NEW[3] :].any()
    assert downs[0][..., width:].std(dim=(0, 1)).min() > 0


@pytest.mark.parametrize("make", MODELS)
def test_a_saved_copy_loads_as_the_same_model(make: Any, tmp_path: Path) -> None:
    model = built(make)
    append(model, directions())
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path, use_safetensors=True).eval()
    (state, _, downs), (again, _, other) = seen(model), seen(loaded)
    assert torch.equal(state, again)
    assert all(torch.equal(one, two) for one, two in zip(downs, other, strict=True))


def test_up_maps_are_those_of_the_feed_forward_block() -> None:
    found = [list(up_maps(model, ffn_sites(model)[1])) for model in map(built, (bert, gpt2, llama))]
    assert found == [
        ["encoder.layer.1.intermediate.dense"],
        ["h.1.mlp.c_fc"],
        ["layers.1.mlp.gate_proj", "layers.1.mlp.up_proj"],
    ]


def test_matrix_reads_both_layouts_alike() -> None:
    for make in (bert, gpt2):
        up = next(iter(up_maps(model := built(make), ffn_sites(model)[0]).values()))
        inputs = torch.randn(2, HIDDEN)
        torch.testing.assert_close(up(inputs), inputs @ matrix(up).T + up.bias)


def test_a_layer_whose_up_map_is_not_known_is_refused() -> None:
    model = built(bert)
    model.encoder.layer[1].intermediate.dense = nn.Linear(HIDDEN, 2 * WIDTH)  # as a fused gate would be
    with pytest.raises(InputError, match=r"encoder\.layer\.1.*no linear map leads into its neurons"):
        append(model, directions())
