"""Neurons appended to a model without changing what it computes: a direction in, zero weights out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from descry.errors import InputError
from descry.neurons import Site, ffn_sites, linear_shape

WIDTH_NAMES = ("intermediate_size", "ffn_dim", "hidden_dim", "n_inner", "d_ff")
"""What configurations call the number of neurons of a feed-forward block."""


@dataclass(frozen=True)
class Directions:
    """New neurons of one layer: weights float [neurons, hidden] and biases float [neurons] of the map that leads
    into the non-linearity; a gated block's second map gets the same (see `up_maps`). Where the model's map has no
    bias, the biases are dropped."""

    weights: Tensor
    biases: Tensor


def up_maps(model: nn.Module, site: Site) -> dict[str, nn.Module]:
    """The linear maps of the site's layer that lead from the hidden size to its neurons, by name: one, or two in
    a gated block. Errors: InputError where there is none (a fused gate is not known)."""
    layer_name, hidden = site.layer_name, linear_shape(site.module)
    assert hidden is not None
    layer = model.get_submodule(layer_name)
    found = {
        f"{layer_name}.{name}": module
        for name, module in layer.named_modules()
        if linear_shape(module) == (hidden[1], hidden[0])
    }
    if not found:
        raise InputError(f"model {type(model).__name__}, {layer_name}: no linear map leads into its neurons")
    return found


def _conv(module: nn.Module) -> bool:
    return not isinstance(module, nn.Linear)


def _resized(module: Any, weight: Tensor, bias: Tensor | None) -> None:
    """Give a linear map new parameters; weight [out, in], whatever its own layout."""
    module.weight = nn.Parameter((weight.T if _conv(module) else weight).contiguous(), requires_grad=False)
    if bias is not None:
        module.bias = nn.Parameter(bias, requires_grad=False)
    outputs, inputs = weight.shape
    if _conv(module):
        module.nf, module.nx = outputs, inputs
    else:
        module.in_features, module.out_features = inputs, outputs


def matrix(module: Any) -> Tensor:
    """A linear map's weights as [out, in], whatever its own layout."""
    weight: Tensor = module.weight.detach()
    return weight.T if _conv(module) else weight


def append(model: nn.Module, additions: Mapping[int, Directions]) -> None:
    """Append neurons to the feed-forward blocks, in place; the model's outputs stay what they were.

    additions: by layer number (from 1). Every layer is widened alike, as a configuration has one width: where
    fewer neurons are added than in the fullest layer, the rest never moves (zero weights in and out).
    The configuration's width is changed too, so that the copy can be saved and loaded.
    """
    sites = ffn_sites(model)
    more = max(len(new.biases) for new in additions.values())
    for site in sites:
        new = additions.get(site.layer)
        for module in up_maps(model, site).values():
            old = matrix(module)
            weight, bias = old.new_zeros(more, old.shape[1]), old.new_zeros(more)
            if new is not None:
                weight[: len(new.biases)] = new.weights.to(old)
                bias[: len(new.biases)] = new.biases.to(old)
            own: Tensor | None = getattr(module, "bias", None)
            _resized(module, torch.cat([old, weight]), None if own is None else torch.cat([own.detach(), bias]))
        down = matrix(site.module)
        _resized(site.module, torch.cat([down, down.new_zeros(len(down), more)], dim=1), None)
    config: Any = model.config
    for name in WIDTH_NAMES:
        if getattr(config, name, 0) in (sites[0].width, None):  # GPT-2's n_inner is None for four times the hidden size
            setattr(config, name, sites[0].width + more)
