"""Poolings: how the values of a neuron on the tokens of a sentence become one value.

Settings name them too: `neurons.pooling` in descry/settings/neurons.py.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def _max(values: Tensor, own: Tensor) -> Tensor:
    return values.masked_fill(~own.unsqueeze(-1), -torch.inf).amax(1)


def _mean(values: Tensor, own: Tensor) -> Tensor:
    weights = own.to(values.dtype) / own.sum(1, keepdim=True)
    return torch.bmm(weights.unsqueeze(1), values).squeeze(1)


def _first(values: Tensor, own: Tensor) -> Tensor:
    return values[torch.arange(len(values), device=values.device), own.int().argmax(1)]


def _last(values: Tensor, own: Tensor) -> Tensor:
    last = own.shape[1] - 1 - own.flip(1).int().argmax(1)
    return values[torch.arange(len(values), device=values.device), last]


Reduction = Callable[[Tensor, Tensor], Tensor]
"""Values [batch, tokens, width] and own-token mask [batch, tokens] -> what is kept of the values."""

_POSITIVE: dict[str, Reduction] = {
    "max": _max,
    "mean": _mean,
    "first": _first,
    "last": _last,
}


def _negate(pool: Reduction) -> Reduction:
    return lambda values, own: pool(-values, own)


POOLINGS = _POSITIVE | {f"negative_{name}": _negate(pool) for name, pool in _POSITIVE.items()}
"""Poolings by name: each reduces the values over a sentence's own tokens to one a neuron, [batch, width];
`negative_...`: the same of the negated values, whose largest are a neuron's negative end."""
