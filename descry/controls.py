"""Models that should know less than the target: what their neurons say is chance for what its neurons say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModel

from descry.activations import Target
from descry.batching import token_batches
from descry.neurons import ffn_sites
from descry.surgery import Directions, append, matrix, up_maps


def untrained(target: Target, seed: int) -> Target:
    """The target's architecture and tokenizer with random weights, as its configuration initialises them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModel.from_config(target.model.config, dtype=target.model.dtype)  # type: ignore[no-untyped-call]
    return target.replaced(model)


def token_moments(
    target: Target, texts: Sequence[str], modules: Sequence[nn.Module], batch_tokens: int = 1024
) -> list[tuple[Tensor, Tensor]]:
    """Mean [width] and covariance [width, width] of each module's input over own tokens: float64, on the CPU."""

    def sums(values: Tensor, own: Tensor) -> Tensor:
        inputs = values[own].to(torch.float64)
        inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1)
        return inputs.T @ inputs

    ids, special = target.encode(texts)
    totals: list[Tensor | float] = [0.0] * len(modules)
    for batch in token_batches([len(i) for i in ids], batch_tokens):
        picked = [ids[i] for i in batch], [special[i] for i in batch]
        seen = target.inputs(*picked, [(module, sums) for module in modules])
        totals = [total + one for total, one in zip(totals, seen, strict=True)]
    out = []
    for total in totals:
        assert isinstance(total, Tensor)
        mean = total[-1, :-1] / total[-1, -1]
        out.append((mean.cpu(), (total[:-1, :-1] / total[-1, -1] - torch.outer(mean, mean)).cpu()))
    return out


def random_directions(target: Target, texts: Sequence[str], seed: int) -> Target:
    """As many random directions a layer as it has neurons, through the same non-linearity.

    Each stands for a neuron: a Gaussian direction, scaled and shifted so that what goes into the non-linearity has
    the neuron's mean and standard deviation over the tokens of `texts` (the mean only where the map has a bias).
    The directions are appended to a copy of the target (`surgery.append`), which runs as it did; only they are read.
    """
    generator = torch.Generator().manual_seed(seed)
    model = deepcopy(target.model)
    ups = [module for site in target.sites for module in up_maps(target.model, site).values()]
    moments = token_moments(target, texts, ups)
    hidden = matrix(ups[0]).shape[1]
    zeros = {s.layer: Directions(torch.zeros(s.width, hidden), torch.zeros(s.width)) for s in target.sites}
    append(model, zeros)
    copied = [module for site in ffn_sites(model) for module in up_maps(model, site).values()]
    for own, wide, (mean, covariance) in zip(ups, copied, moments, strict=True):
        _imitate(own, wide, mean, covariance, generator)
    return target.replaced(model, target.sites[0].width)


def _imitate(own: nn.Module, wide: Any, mean: Tensor, covariance: Tensor, generator: torch.Generator) -> None:
    """Give the appended half of `wide` random directions with the moments of `own`'s neurons."""
    weights = matrix(own).to("cpu", torch.float64)
    directions = torch.randn(weights.shape, generator=generator, dtype=torch.float64)

    def variance(rows: Tensor) -> Tensor:
        return ((rows @ covariance) * rows).sum(1)

    scaled = directions * (variance(weights) / variance(directions)).sqrt()[:, None]
    matrix(wide)[len(weights) :] = scaled.to(matrix(wide))
    if wide.bias is not None:
        shift = own.get_parameter("bias").detach().to("cpu", torch.float64) + (weights - scaled) @ mean
        wide.bias.detach()[len(weights) :] = shift.to(wide.bias)


Control = Callable[[Target, Sequence[str], int], Target]

CONTROLS: dict[str, Control] = {
    "untrained_target": lambda target, _, seed: untrained(target, seed),
    "random_directions": random_directions,
}
"""Controls by name: the target, texts to take moments from, a seed -> the control."""
