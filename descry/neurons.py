"""Which tensors of a model are its neurons.

An FFN neuron is one input of the feed-forward block's down projection: for BERT the value after GELU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from descry.errors import InputError


@dataclass(frozen=True)
class Site:
    """The neurons of one layer: the last `width` inputs of `module`, which is `name` in the layer `layer_name`."""

    layer: int
    layer_name: str
    name: str
    module: nn.Module
    width: int


def linear_shape(module: nn.Module) -> tuple[int, int] | None:
    """Inputs and outputs of a linear map, or None for any other module."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if type(module).__name__ == "Conv1D":  # GPT-2's linear map, weight [in, out]
        weight = module.get_parameter("weight")
        return weight.shape[0], weight.shape[1]
    return None


def _stacks(model: nn.Module) -> Iterator[tuple[str, nn.ModuleList]]:
    """Module lists whose members are layers: all of one type, each with linear maps inside."""
    for name, module in model.named_modules():
        if (
            isinstance(module, nn.ModuleList)
            and len({type(member) for member in module}) == 1
            and any(linear_shape(inner) for inner in module[0].modules())
        ):
            yield name, module


def ffn_sites(model: nn.Module) -> list[Site]:
    """The down projection of every layer's feed-forward block, first layer first (layers count from 1).

    Found by structure: in each layer of the model's longest stack, the one linear map that goes from
    another width back to the hidden size.
    Errors: InputError where a layer has none or several such maps; the message lists its linear maps.
    """
    stacks = sorted(_stacks(model), key=lambda item: -len(item[1]))
    if not stacks:
        raise InputError(f"model {type(model).__name__}: no stack of layers was found, so no neurons")
    prefix, stack = stacks[0]
    hidden = int(getattr(model.config, "hidden_size", 0))
    sites = []
    for number, layer in enumerate(stack):
        maps = {name: shape for name, module in layer.named_modules() if (shape := linear_shape(module))}
        found = [name for name, (inputs, outputs) in maps.items() if outputs == hidden and inputs != hidden]
        if len(found) != 1:
            listing = ", ".join(f"{name} {a}->{b}" for name, (a, b) in maps.items())
            raise InputError(
                f"model {type(model).__name__}, {prefix}.{number}: {len(found)} linear maps lead back to the "
                f"hidden size {hidden}, one was expected; its linear maps are: {listing}"
            )
        module = layer.get_submodule(found[0])
        sites.append(Site(number + 1, f"{prefix}.{number}", found[0], module, maps[found[0]][0]))
    return sites
