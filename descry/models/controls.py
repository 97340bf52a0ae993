"""Controls: other units, whose scores are a baseline for those of the target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from transformers import AutoModel

from descry.models.dictionary import Dictionary
from descry.models.neurons import Encoder, Site
from descry.models.pooling import Reduction
from descry.models.surgery import Directions, append_neurons, find_up_maps, split_halves, weight_matrix
from descry.models.target import Target, TargetLoader


def build_untrained(target: Target, seed: int) -> Target:
    """The target's architecture and tokenizer with random weights, initialised as its configuration says."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModel.from_config(target.model.config, dtype=target.model.dtype)  # type: ignore[no-untyped-call]
    return target.replace_model(model)


def measure_token_moments(
    target: Target, texts: Sequence[str], sites: Sequence[Site], batch_tokens: int = 1024
) -> list[tuple[Tensor, Tensor]]:
    """Mean [width] and covariance [width, width] of the input (or output) of each site's module over the texts' own
    tokens: float64, on the CPU. Of a dictionary's site, of what its encoder's weights are applied to."""

    def make_reduction(site: Site) -> Reduction:
        def sum_products(values: Tensor, own: Tensor) -> Tensor:
            inputs = values[own]
            inputs = site.encoder.prepare(inputs) if isinstance(site.encoder, Dictionary) else inputs
            inputs = inputs.to(torch.float64)
            inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1)
            return inputs.T @ inputs

        return sum_products

    ids, special = target.encode(texts)
    totals: list[Tensor | float] = [0.0] * len(sites)
    for batch in target.make_batches(ids, batch_tokens):
        picked = [ids[i] for i in batch], [special[i] for i in batch]
        products = target.read(*picked, [(site, make_reduction(site)) for site in sites])
        totals = [total + product for total, product in zip(totals, products, strict=True)]
    moments = []
    for total in totals:
        assert isinstance(total, Tensor)
        mean = total[-1, :-1] / total[-1, -1]
        moments.append((mean.cpu(), (total[:-1, :-1] / total[-1, -1] - torch.outer(mean, mean)).cpu()))
    return moments


def build_random_directions(target: Target, texts: Sequence[str], seed: int) -> Target:
    """A target whose neurons are random directions: as many a layer, through the same non-linearity if there is one.

    Each replaces one neuron: a Gaussian direction, scaled and shifted so that the pre-activation has the neuron's
    standard deviation and (where the map has a bias) mean over the tokens of `texts`. The directions are appended to
    a copy of the target (`append_neurons`), whose outputs stay the same, and only they are read. Where no map is known
    to lead into the neurons (`hidden`, `attention`, modules by pattern), or layers differ in width, they are
    directions of the values themselves, with each neuron's mean and standard deviation. In place of latents, they are
    directions of what their dictionary reads, through its non-linearity.
    """
    generator = torch.Generator().manual_seed(seed)
    if not all(site.ups for site in target.sites) or len(set(target.widths)) > 1:
        return _rotate_values(target, texts, generator)
    model = deepcopy(target.model)
    unique = list({site.module: site for site in reversed(target.sites)}.values())[::-1]  # first to use its weights
    ups = [(site, name, module) for site in unique for name, module in find_up_maps(target.model, site).items()]
    moments = measure_token_moments(target, texts, [replace(site, module=module) for site, _, module in ups])
    hidden = weight_matrix(ups[0][2]).shape[1]
    append_neurons(
        model, {s.layer: Directions(torch.zeros(s.width, hidden), torch.zeros(s.width)) for s in unique}, target.stack
    )
    for (site, name, module), (mean, covariance) in zip(ups, moments, strict=True):
        bias: Tensor | None = getattr(module, "bias", None)
        weights, shifts = _draw_imitation(weight_matrix(module), bias, mean, covariance, generator)
        widened: Any = model.get_submodule(name)
        _view_appended(weight_matrix(widened), site.width).copy_(split_halves(weights, site.width))
        if bias is not None:
            _view_appended(widened.bias.detach(), site.width).copy_(split_halves(shifts, site.width))
    return target.replace_model(model, target.sites[0].width)


def _rotate_values(target: Target, texts: Sequence[str], generator: torch.Generator) -> Target:
    """The same target, with random directions of its sites' values as units; where these are latents of a dictionary,
    random directions in place of its encoder's, before the same non-linearity."""
    other, other.sites = copy(target), []
    for site, (mean, covariance) in zip(target.sites, measure_token_moments(target, texts, target.sites), strict=True):
        encoder: Encoder
        if isinstance(site.encoder, Dictionary):
            old = site.encoder
            weights, shifts = _draw_imitation(old.weight, old.bias, mean, covariance, generator)
            encoder = replace(old, weight=weights.to(old.weight), bias=shifts.to(old.bias))
        else:
            weights, shifts = _draw_imitation(torch.eye(site.width), None, mean, covariance, generator)
            encoder = _make_linear(weights.to(target.device, torch.float32), shifts.to(target.device, torch.float32))
        other.sites.append(replace(site, encoder=encoder))
    return other


def _make_linear(weights: Tensor, shifts: Tensor) -> Encoder:
    return lambda values: linear(values.to(weights), weights, shifts)


def _view_appended(rows: Tensor, width: int) -> Tensor:
    """A view of the rows appended to a map that led into `width` neurons and now leads into twice as many."""
    return split_halves(rows, 2 * width)[:, width:]


def _draw_imitation(
    weights: Tensor, bias: Tensor | None, mean: Tensor, covariance: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Random directions and shifts whose outputs, over inputs with these moments, have the same mean and standard
    deviation as those of `weights` and `bias`: float64 [outputs, inputs] and [outputs], on the CPU."""
    weights = weights.to("cpu", torch.float64)
    directions = torch.randn(weights.shape, generator=generator, dtype=torch.float64)

    def variance(rows: Tensor) -> Tensor:
        return ((rows @ covariance) * rows).sum(1).clamp(min=0)  # rounding may leave it below 0

    scaled = directions * (variance(weights) / variance(directions)).sqrt()[:, None]
    offset = torch.zeros(len(weights)) if bias is None else bias.detach().to("cpu", torch.float64)
    return scaled, offset + (weights - scaled) @ mean


Control = Callable[[Target, Sequence[str], int], Target]

MAKERS: dict[str, Control] = {
    "untrained_target": lambda target, _, seed: build_untrained(target, seed),
    "random_directions": build_random_directions,
    "target_neurons": lambda target, *_: target.read_neurons(),
}
"""How each control is made, by name: target, texts to take moments from, seed -> control."""


@dataclass(frozen=True)
class ControlLoader:
    """Loads a control of a target. kind: a name in MAKERS; texts, seed: passed to its maker."""

    target: TargetLoader
    kind: str
    texts: tuple[str, ...]
    seed: int

    def load(self) -> Target:
        """The control, made once per process."""
        return _make_once(self)


@lru_cache(maxsize=1)
def _make_once(loader: ControlLoader) -> Target:
    return MAKERS[loader.kind](loader.target.load(), loader.texts, loader.seed)
