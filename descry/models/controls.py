"""Models that should know less than the target: what their neurons say is chance for what its neurons say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel

from descry.compute.batching import batch_by_tokens
from descry.models.neurons import Site
from descry.models.surgery import Directions, append_neurons, find_up_maps, split_halves, weight_matrix
from descry.models.target import Target, TargetLoader


def build_untrained(target: Target, seed: int) -> Target:
    """The target's architecture and tokenizer with random weights, as its configuration initialises them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModel.from_config(target.model.config, dtype=target.model.dtype)  # type: ignore[no-untyped-call]
    return target.replaced(model)


def measure_token_moments(
    target: Target, texts: Sequence[str], sites: Sequence[Site], batch_tokens: int = 1024
) -> list[tuple[Tensor, Tensor]]:
    """Mean [width] and covariance [width, width] of what each site's module reads (or gives) over own tokens: float64,
    on the CPU."""

    def sums(values: Tensor, own: Tensor) -> Tensor:
        inputs = values[own].to(torch.float64)
        inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1)
        return inputs.T @ inputs

    ids, special = target.encode(texts)
    totals: list[Tensor | float] = [0.0] * len(sites)
    for batch in batch_by_tokens([len(i) for i in ids], batch_tokens):
        picked = [ids[i] for i in batch], [special[i] for i in batch]
        seen = target.inputs(*picked, [(site, sums) for site in sites])
        totals = [total + one for total, one in zip(totals, seen, strict=True)]
    out = []
    for total in totals:
        assert isinstance(total, Tensor)
        mean = total[-1, :-1] / total[-1, -1]
        out.append((mean.cpu(), (total[:-1, :-1] / total[-1, -1] - torch.outer(mean, mean)).cpu()))
    return out


def build_random_directions(target: Target, texts: Sequence[str], seed: int) -> Target:
    """As many random directions a layer as it has neurons, through the same non-linearity where there is one.

    Each stands for a neuron: a Gaussian direction, scaled and shifted so that what goes into the non-linearity has
    the neuron's mean and standard deviation over the tokens of `texts` (the mean only where the map has a bias).
    The directions are appended to a copy of the target (`surgery.append`), which runs as it did; only they are read.
    Where no map is known to lead into the neurons (`hidden`, `attention`, modules by pattern), or layers differ in
    width, they are directions of the values themselves, with each neuron's mean and standard deviation.
    """
    generator = torch.Generator().manual_seed(seed)
    if not all(site.ups for site in target.sites) or len(set(target.widths)) > 1:
        return _turned(target, texts, generator)
    model = deepcopy(target.model)
    own = list({site.module: site for site in reversed(target.sites)}.values())[::-1]  # the first to use its weights
    ups = [(site, name, module) for site in own for name, module in find_up_maps(target.model, site).items()]
    moments = measure_token_moments(target, texts, [replace(site, module=module) for site, _, module in ups])
    hidden = weight_matrix(ups[0][2]).shape[1]
    append_neurons(
        model, {s.layer: Directions(torch.zeros(s.width, hidden), torch.zeros(s.width)) for s in own}, target.stack
    )
    for (site, name, module), (mean, covariance) in zip(ups, moments, strict=True):
        bias: Tensor | None = getattr(module, "bias", None)
        weights, shifts = _imitation(weight_matrix(module), bias, mean, covariance, generator)
        wide: Any = model.get_submodule(name)
        _appended(weight_matrix(wide), site.width).copy_(split_halves(weights, site.width))
        if bias is not None:
            _appended(wide.bias.detach(), site.width).copy_(split_halves(shifts, site.width))
    return target.replaced(model, target.sites[0].width)


def _turned(target: Target, texts: Sequence[str], generator: torch.Generator) -> Target:
    """The target read along random directions of its sites' values."""
    other, other.sites = copy(target), []
    for site, (mean, covariance) in zip(target.sites, measure_token_moments(target, texts, target.sites), strict=True):
        weights, shifts = _imitation(torch.eye(site.width), None, mean, covariance, generator)
        directions = nn.Linear(site.width, site.width, device=target.device).requires_grad_(False)
        directions.weight.copy_(weights)
        directions.bias.copy_(shifts)
        other.sites.append(replace(site, directions=directions))
    return other


def _appended(rows: Tensor, width: int) -> Tensor:
    """What was appended to a map that led into `width` neurons, and now leads into twice as many: a view."""
    return split_halves(rows, 2 * width)[:, width:]


def _imitation(
    weights: Tensor, bias: Tensor | None, mean: Tensor, covariance: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Random directions like `weights`, and shifts, that give the same mean and standard deviation over inputs of those
    moments: float64 [outputs, inputs] and [outputs], on the CPU."""
    weights = weights.to("cpu", torch.float64)
    directions = torch.randn(weights.shape, generator=generator, dtype=torch.float64)

    def variance(rows: Tensor) -> Tensor:
        return ((rows @ covariance) * rows).sum(1).clamp(min=0)  # rounding may leave less than none

    scaled = directions * (variance(weights) / variance(directions)).sqrt()[:, None]
    own = torch.zeros(len(weights)) if bias is None else bias.detach().to("cpu", torch.float64)
    return scaled, own + (weights - scaled) @ mean


Control = Callable[[Target, Sequence[str], int], Target]

MAKERS: dict[str, Control] = {
    "untrained_target": lambda target, _, seed: build_untrained(target, seed),
    "random_directions": build_random_directions,
}
"""Controls by name: the target, texts to take moments from, a seed -> the control."""


@dataclass(frozen=True)
class ControlLoader:
    """A control of a target. kind: of CONTROLS; texts, seed: what it is made from."""

    target: TargetLoader
    kind: str
    texts: tuple[str, ...]
    seed: int

    def load(self) -> Target:
        """The control, made once in a process."""
        return _made(self)


@lru_cache(maxsize=1)
def _made(source: ControlLoader) -> Target:
    return MAKERS[source.kind](source.target.load(), source.texts, source.seed)
