"""Streaming accumulators over pooled activations, each of constant size whatever the corpus.

Each has `update` (a batch), `merge` (another accumulator of the same kind) and `compute`. All arithmetic is
on integers, so that the order of updates and merges never changes a bit of the result.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from descry.errors import InputError

_SIGN = 0x7FFFFFFF
_ROW = 0xFFFFFFFF


def _keys(values: Tensor, rows: Tensor) -> Tensor:
    """One int64 per (value, row) whose order is: larger value first, then lower row.

    values: float32 [neurons, batch]; rows: int64 [batch], below 2**32.
    """
    bits = (values + 0.0).view(torch.int32).to(torch.int64)  # + 0.0 makes -0.0 equal to 0.0
    ordered = torch.where(bits < 0, ~(bits & _SIGN), bits)
    return (ordered << 32) | (_ROW - rows)


def _unkey(keys: Tensor) -> tuple[Tensor, Tensor]:
    """The values and rows behind `_keys`."""
    ordered = keys >> 32
    bits = torch.where(ordered < 0, ~ordered | ~_SIGN, ordered).to(torch.int32)
    return bits.view(torch.float32), _ROW - (keys & _ROW)


class TopK:
    """The k sentences with the largest value of every neuron; ties go to the lower row."""

    def __init__(self, neurons: int, k: int, buffer: int = 512) -> None:
        self.k = k
        self._buffer = buffer
        self._best = torch.empty(neurons, 0, dtype=torch.int64)
        self._waiting: list[Tensor] = []

    def update(self, values: Tensor, rows: Tensor) -> None:
        """values: float32 [batch, neurons], finite; rows: int64 [batch], each seen once."""
        self._waiting.append(_keys(values.T.contiguous(), rows))
        if sum(part.shape[1] for part in self._waiting) >= self._buffer:
            self._settle()

    def _settle(self) -> None:
        keys = torch.cat([self._best, *self._waiting], dim=1)
        self._best = torch.topk(keys, min(self.k, keys.shape[1]), dim=1, sorted=True).values
        self._waiting = []

    def merge(self, other: TopK) -> None:
        """Take in what another accumulator over other rows has seen."""
        other._settle()
        self._waiting.append(other._best)
        self._settle()

    def compute(self) -> tuple[np.ndarray, np.ndarray]:
        """Values float32 and rows int32, both [neurons, min(k, rows seen)], best first."""
        self._settle()
        values, rows = _unkey(self._best)
        return values.numpy(), rows.to(torch.int32).numpy()


class Moments:
    """Count, mean, standard deviation and maximum of every neuron, exact to 2**-24.

    Values become whole multiples of 2**-24; their sums and sums of squares are kept as integers, the squares
    in three limbs of 22 bits, so that `merge` is associative to the last bit.
    """

    _SCALE = 24
    _LIMB = 22

    def __init__(self, neurons: int) -> None:
        self.count = 0
        self._sum = torch.zeros(neurons, dtype=torch.int64)
        self._squares = torch.zeros(3, neurons, dtype=torch.int64)
        self._max = torch.full((neurons,), -torch.inf)

    def update(self, values: Tensor) -> None:
        """values: float32 [batch, neurons], finite and below 2**20 in size."""
        if not bool((values.abs() < 2.0**20).all()):
            raise InputError("the model gave activations that are not finite or beyond 2**20; try float32")
        whole = (values.to(torch.float64) * 2.0**self._SCALE).round().to(torch.int64)
        high, low = whole >> self._LIMB, whole & (2**self._LIMB - 1)
        self.count += len(values)
        self._sum += whole.sum(0)
        self._squares += torch.stack([(low * low).sum(0), (2 * high * low).sum(0), (high * high).sum(0)])
        self._carry()
        self._max = torch.maximum(self._max, values.amax(0))

    def _carry(self) -> None:
        for limb in (0, 1):
            self._squares[limb + 1] += self._squares[limb] >> self._LIMB
            self._squares[limb] &= 2**self._LIMB - 1

    def merge(self, other: Moments) -> None:
        """Take in what another accumulator has seen."""
        self.count += other.count
        self._sum += other._sum
        self._squares += other._squares
        self._carry()
        self._max = torch.maximum(self._max, other._max)

    def compute(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean, population standard deviation and maximum, each float32 [neurons]."""
        unit = 2.0**-self._SCALE
        limbs = self._squares.to(torch.float64)
        squares = (limbs[2] * 4.0**self._LIMB + limbs[1] * 2.0**self._LIMB + limbs[0]) * unit * unit
        mean = self._sum.to(torch.float64) * unit / max(self.count, 1)
        variance = (squares / max(self.count, 1) - mean * mean).clamp(min=0.0)
        return (
            mean.to(torch.float32).numpy(),
            variance.sqrt().to(torch.float32).numpy(),
            self._max.to(torch.float32).numpy(),
        )


class Probe:
    """Every activation of a bounded, fixed sample of sentences, as float16."""

    def __init__(self, neurons: int, rows: np.ndarray) -> None:
        """rows: the sampled rows, ascending."""
        self.rows = np.asarray(rows, dtype=np.int32)
        self._values = torch.zeros(len(rows), neurons, dtype=torch.float16)
        self._seen = np.zeros(len(rows), dtype=bool)

    def update(self, values: Tensor, rows: Tensor) -> None:
        """values: float32 [batch, neurons]; rows: int64 [batch]; rows outside the sample are passed over."""
        wanted = rows.numpy()
        if not len(self.rows):
            return
        slots = np.minimum(np.searchsorted(self.rows, wanted), len(self.rows) - 1)
        hits = self.rows[slots] == wanted
        limit = torch.finfo(torch.float16).max
        self._values[slots[hits]] = values[torch.from_numpy(hits)].clamp(-limit, limit).to(torch.float16)
        self._seen[slots[hits]] = True

    def merge(self, other: Probe) -> None:
        """Take in the rows that another accumulator over the same sample has seen."""
        self._values[other._seen] = other._values[other._seen]
        self._seen |= other._seen

    def compute(self) -> np.ndarray:
        """float16 [sampled rows, neurons]. Errors: ValueError where a sampled row was never seen."""
        if not self._seen.all():
            raise ValueError(f"{int((~self._seen).sum())} sampled rows were never seen")
        return self._values.numpy()
