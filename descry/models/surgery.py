"""Append neurons to a model without changing its outputs: given input weights, zero output weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from descry.errors import InputError
from descry.models.forward import Stack
from descry.models.neurons import Site, find_sites

WIDTH_NAMES = ("intermediate_size", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim", "hidden_dim", "n_inner", "d_ff")
"""Names that configurations give to the number of neurons of a feed-forward block."""


@dataclass(frozen=True)
class Directions:
    """New neurons of one layer: weights float [neurons, hidden] and biases float [neurons] of the up projection. Both
    up projections of a gated block get the same ones (see `find_up_maps`). Without a bias in the model's map, the
    biases are dropped."""

    weights: Tensor
    biases: Tensor


def find_up_maps(model: nn.Module, site: Site) -> dict[str, nn.Module]:
    """The linear maps that lead into the site's neurons, by name: one, or two in a gated block (a fused gate is one map
    with twice as many outputs as neurons). Errors: InputError if none is known."""
    if not site.ups:
        raise InputError(f"model {type(model).__name__}, {site.name}: no linear map is known to lead into its neurons")
    return {name: model.get_submodule(name) for name in site.ups}


def _is_transposed(module: nn.Module) -> bool:
    """Whether a linear map's weights are [in, out], as in GPT-2's Conv1D."""
    return type(module).__name__ == "Conv1D"


def _resize(module: Any, weight: Tensor, bias: Tensor | None) -> None:
    """Give a linear map new parameters. weight: [out, in], whatever the map's own layout."""
    module.weight = nn.Parameter((weight.T if _is_transposed(module) else weight).contiguous(), requires_grad=False)
    if bias is not None:
        module.bias = nn.Parameter(bias, requires_grad=False)
    outputs, inputs = weight.shape
    if _is_transposed(module):
        module.nf, module.nx = outputs, inputs
    else:
        module.in_features, module.out_features = inputs, outputs


def weight_matrix(module: Any) -> Tensor:
    """A linear map's weights as [out, in], whatever its own layout."""
    weight: Tensor = module.weight.detach()
    return weight.T if _is_transposed(module) else weight


def split_halves(rows: Tensor, width: int) -> Tensor:
    """Separate the outputs of a map that leads into `width` neurons: a view [1, width, ...] of rows [width, ...], or
    [2, width, ...] of a fused gate's [2 * width, ...]."""
    return rows.view(-1, width, *rows.shape[1:])


def append_neurons(model: nn.Module, additions: Mapping[int, Directions], stack: Stack = "encoder") -> None:
    """Append neurons to the feed-forward blocks, in place; the model's outputs stay the same.

    additions: by layer number (from 1) of the stack; layers that share weights get the additions of the first of them.
    Every layer is widened by the same number, since a configuration has one width: in layers with fewer additions the
    remaining neurons are always constant (zero weights in and out). The configuration's width is changed too, so that
    the model can be saved and loaded.
    """
    additions_of: dict[nn.Module, Directions] = {}
    for site in find_sites(model, stack=stack):
        if site.layer in additions:
            additions_of.setdefault(site.module, additions[site.layer])
    sites = find_sites(model, stack="both")
    added = max(len(new.biases) for new in additions.values())
    for site in {site.module: site for site in sites}.values():
        new = additions_of.get(site.module)
        for module in find_up_maps(model, site).values():
            old = split_halves(weight_matrix(module), site.width)
            weight, bias = old.new_zeros(added, old.shape[-1]), old.new_zeros(added)
            if new is not None:
                weight[: len(new.biases)] = new.weights.to(old)
                bias[: len(new.biases)] = new.biases.to(old)
            biases: Tensor | None = getattr(module, "bias", None)
            if biases is not None:
                biases = torch.cat(
                    [split_halves(biases.detach(), site.width), bias.expand(len(old), -1)], dim=1
                ).flatten()
            _resize(module, torch.cat([old, weight.expand(len(old), -1, -1)], dim=1).flatten(0, 1), biases)
        down = weight_matrix(site.module)
        _resize(site.module, torch.cat([down, down.new_zeros(len(down), added)], dim=1), None)
    config: Any = model.config
    widths = {None, *(site.width for site in sites)}  # GPT-2's n_inner is None for four times the hidden size
    for name in WIDTH_NAMES:
        if (width := getattr(config, name, 0)) in widths:
            setattr(config, name, (width or sites[0].width) + added)
