from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModel, LlamaConfig

from descry.errors import InputError
from descry.models.forward import forward
from descry.models.neurons import find_sites
from descry.models.surgery import Directions, append_neurons, find_up_maps, split_halves, weight_matrix
from tests.support.families import FAMILIES, GROUPED, Family, gelu_tanh
from tests.support.families import WIDTH as HIDDEN

TOKENS = torch.arange(5, 45).reshape(4, 10)
NEW = {1: 5, 3: 2}
"""Neurons appended, by layer; layer 2 gets none."""

BIASED = replace(FAMILIES["llama"], config=lambda: LlamaConfig(**GROUPED, mlp_bias=True))
MODELS: dict[str, Family] = {name: one for name, one in FAMILIES.items() if "albert" not in name} | {"biased": BIASED}
GATED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "modernbert": nn.functional.gelu,
    "gemma": gelu_tanh,
    "t5_gated": gelu_tanh,
} | dict.fromkeys(["llama", "biased", "mistral", "qwen2", "qwen3", "phi3"], nn.functional.silu)
PLAIN: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"gpt2": gelu_tanh, "t5": torch.relu}


def act(name: str, linear: torch.Tensor) -> torch.Tensor:
    """A neuron out of what goes into its non-linearity, and into its gate."""
    return GATED[name](linear) * linear if name in GATED else PLAIN.get(name, nn.functional.gelu)(linear)


def directions() -> dict[int, Directions]:
    torch.manual_seed(4)
    return {layer: Directions(torch.randn(count, HIDDEN), torch.randn(count)) for layer, count in NEW.items()}


@torch.inference_mode()
def seen(model: Any) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor]]:
    """Last hidden state, and what goes into every layer's up map (the gate, where there is one) and down map."""
    ups: list[torch.Tensor] = []
    downs: list[torch.Tensor] = []
    for module, site in {site.module: site for site in find_sites(model, stack="both")}.items():
        up = next(iter(find_up_maps(model, site).values()))
        up.register_forward_pre_hook(lambda _, inputs: ups.append(inputs[0]))
        module.register_forward_pre_hook(lambda _, inputs: downs.append(inputs[0]))
    return forward(model, "both", TOKENS, torch.ones_like(TOKENS)).last_hidden_state, ups, downs


@pytest.mark.parametrize("name", MODELS)
def test_outputs_and_old_neurons_stay_what_they_were(name: str) -> None:
    before, _, old = seen(MODELS[name].build())
    model = MODELS[name].build()
    append_neurons(model, directions())
    after, _, new = seen(model)
    torch.testing.assert_close(after, before, atol=1e-6, rtol=1e-6)
    for one, other in zip(old, new, strict=True):
        assert other.shape[-1] == one.shape[-1] + 5
        torch.testing.assert_close(other[..., : one.shape[-1]], one, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_appended_neurons_equal_an_independent_computation(name: str) -> None:
    model = MODELS[name].build()
    site = find_sites(model)[0]
    width, biased = site.width, getattr(next(iter(find_up_maps(model, site).values())), "bias", None) is not None
    append_neurons(model, directions())
    _, ups, downs = seen(model)
    for layer, new in directions().items():
        expected = act(name, ups[layer - 1] @ new.weights.T + (new.biases if biased else 0))
        torch.testing.assert_close(downs[layer - 1][..., width : width + NEW[layer]], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_what_no_direction_was_given_for_never_moves(name: str) -> None:
    model = MODELS[name].build()
    width = find_sites(model)[0].width
    append_neurons(model, directions())
    _, _, downs = seen(model)
    assert not downs[1][..., width:].any()
    assert not downs[2][..., width + NEW[3] :].any()
    assert downs[0][..., width:].std(dim=(0, 1)).min() > 0


@pytest.mark.parametrize("name", MODELS)
def test_a_saved_copy_loads_as_the_same_model(name: str, tmp_path: Path) -> None:
    model = MODELS[name].build()
    append_neurons(model, directions())
    model.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path, use_safetensors=True).eval()
    (state, _, downs), (again, _, other) = seen(model), seen(loaded)
    assert torch.equal(state, again)
    assert all(torch.equal(one, two) for one, two in zip(downs, other, strict=True))


@pytest.mark.parametrize("name", ["albert", "albert_groups"])
def test_layers_that_share_their_weights_get_the_neurons_once(name: str, tmp_path: Path) -> None:
    before, _, old = seen(FAMILIES[name].build())
    model = FAMILIES[name].build()
    append_neurons(model, directions())
    after, ups, downs = seen(model)
    torch.testing.assert_close(after, before, atol=1e-6, rtol=1e-6)
    shared = {"albert": [1, 1, 1], "albert_groups": [1, 1, 3, 3]}[name]
    for layer, read, one, wide in zip(shared, ups, old, downs, strict=True):
        new, width = directions()[layer], one.shape[-1]
        assert wide.shape[-1] == width + 5
        wanted = gelu_tanh(read @ new.weights.T + new.biases)
        torch.testing.assert_close(wide[..., width : width + NEW[layer]], wanted, atol=1e-4, rtol=1e-4)
    model.save_pretrained(tmp_path)
    assert torch.equal(seen(AutoModel.from_pretrained(tmp_path, use_safetensors=True).eval())[0], after)


def test_a_decoders_layers_are_numbered_by_themselves() -> None:
    model = FAMILIES["t5"].build()
    append_neurons(model, {1: directions()[1]}, stack="decoder")
    _, _, downs = seen(model)
    moved = [bool(values[..., -5:].any()) for values in downs]
    assert moved == [False, False, False, True, False]


def test_up_maps_are_those_that_lead_into_the_neurons() -> None:
    found = {name: list(find_up_maps(model := FAMILIES[name].build(), find_sites(model)[1])) for name in FAMILIES}
    assert found["bert"] == found["square"] == found["deberta"] == ["encoder.layer.1.intermediate.dense"]
    assert found["gpt2"] == ["h.1.mlp.c_fc"]
    assert found["qwen3"] == found["gemma"] == ["layers.1.mlp.gate_proj", "layers.1.mlp.up_proj"]
    assert found["modernbert"] == ["layers.1.mlp.Wi"]
    assert found["phi3"] == ["layers.1.mlp.gate_up_proj"]
    assert found["t5_gated"] == [f"encoder.block.1.layer.1.DenseReluDense.wi_{number}" for number in (0, 1)]


def test_matrix_reads_both_layouts_alike() -> None:
    for name in ("bert", "gpt2"):
        up = next(iter(find_up_maps(model := FAMILIES[name].build(), find_sites(model)[0]).values()))
        inputs = torch.randn(2, HIDDEN)
        torch.testing.assert_close(up(inputs), inputs @ weight_matrix(up).T + up.bias)


def test_halves_are_views_of_a_fused_gate() -> None:
    rows = torch.arange(12.0).reshape(6, 2)
    assert split_halves(rows, 3).tolist() == [rows[:3].tolist(), rows[3:].tolist()]
    split_halves(rows, 3)[1, 0] = -1.0
    assert rows[3].tolist() == [-1.0, -1.0]
    assert split_halves(rows, 6).shape == (1, 6, 2)


def test_neurons_of_which_it_is_not_known_what_leads_into_them_are_refused() -> None:
    model = FAMILIES["bert"].build()
    (site, *_) = find_sites(model, "attention")
    with pytest.raises(InputError, match=r"encoder\.layer\.0.*no linear map is known to lead into its neurons"):
        find_up_maps(model, site)
