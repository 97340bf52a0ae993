"""Streaming accumulators over pooled activations, whose size does not grow with the corpus.

Each has `update` (with a batch), `merge` (with another accumulator of its kind), `compute`, and `state`, from which
`restore` rebuilds it. All arithmetic is exact, so that the order of updates and merges never changes a bit of the
result.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from descry.errors import InputError

State = Mapping[str, np.ndarray]
"""Arrays from which an accumulator is restored."""
_SIGN = 0x7FFFFFFF
_ROW = 0xFFFFFFFF
BUFFER = 1024
"""Sentences that `TopK` collects before it selects the largest values again."""
_NEURONS = 1024  # neurons selected at once, so that their transposed copy stays in the cache


def _make_keys(values: Tensor, rows: Tensor) -> Tensor:
    """Pack each value and its row into an int64 that is larger for a larger value or, if equal, for a lower row.

    values: float32 [batch, neurons]; rows: int64 [batch], below 2**32. Returns [batch, neurons].
    """
    bits = (values + 0.0).view(torch.int32)  # + 0.0 makes -0.0 equal to 0.0
    ordered = (bits ^ ((bits >> 31) & _SIGN)).to(torch.int64)
    return (ordered << 32) | (_ROW - rows)[:, None]


def _split_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """The values and rows that `_make_keys` packed, in the order of the keys."""
    ordered = (keys >> 32).to(torch.int32)
    return (ordered ^ ((ordered >> 31) & _SIGN)).view(torch.float32), _ROW - (keys & _ROW)


class TopK:
    """The k sentences with the largest values of every neuron, ties to the lower row, and the value that comes next."""

    def __init__(self, neurons: int, k: int, device: torch.device | str = "cpu", buffer: int = BUFFER) -> None:
        """buffer: sentences collected besides those kept, at least 1; all memory is allocated once, since tensors that
        outlive a batch would fragment the heap."""
        self.k = k
        self._kept = k + 1
        self._slots = torch.empty(self._kept + buffer, neurons, dtype=torch.int64, device=device)
        self._filled = 0

    def update(self, values: Tensor, rows: Tensor) -> None:
        """values: float32 [batch, neurons], finite; rows: int64 [batch], each seen once."""
        self._add(_make_keys(values, rows))

    def _add(self, keys: Tensor) -> None:
        while len(keys):
            if self._filled == len(self._slots):
                self._select_best()
            free = self._slots[self._filled :]
            now, keys = keys[: len(free)], keys[len(free) :]
            free[: len(now)] = now
            self._filled += len(now)

    def _select_best(self) -> None:
        """Drop all but the k + 1 best."""
        if self._filled > self._kept:
            for block in torch.split(self._slots, _NEURONS, dim=1):
                block[: self._kept] = block[: self._filled].T.contiguous().topk(self._kept, sorted=False).values.T
            self._filled = self._kept

    def _get_best(self) -> Tensor:
        self._select_best()
        return self._slots[: self._filled].T

    def merge(self, other: TopK) -> None:
        """Add the values of another accumulator over other rows."""
        self._add(other._get_best().T.to(self._slots.device))

    def compute(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values float32 and rows int32, both [neurons, min(k, rows seen)], best first; and the largest value of a row
        that is not among them, float32 [neurons], or the smallest of all where there is none. At least one row seen."""
        values, rows = _split_keys(self._get_best().sort(dim=1, descending=True).values)
        best = values[:, : self.k], rows[:, : self.k].to(torch.int32), values[:, -1]
        return best[0].cpu().numpy(), best[1].cpu().numpy(), best[2].cpu().numpy()

    def state(self) -> State:
        return {"best": self._get_best().cpu().numpy()}

    @classmethod
    def restore(cls, state: State, k: int, device: torch.device | str = "cpu") -> TopK:
        top = cls(len(state["best"]), k, device, buffer=k)
        top._add(torch.tensor(state["best"], device=device).T)
        return top


class Moments:
    """Count, mean, standard deviation and maximum of every neuron, of values rounded to multiples of 2**-24.

    In those units a value is q = high * 2**22 + low. The sums of q, low**2, high * low and high**2 over a batch are
    whole numbers below 2**53, which float64 holds exactly; they are added as integers, with carries between limbs of 22
    bits, so that `merge` is associative to the last bit.
    """

    _SCALE = 24
    _LIMB = 22
    _ROWS = 256  # a sum of so many products of at most 2**44 stays below 2**53

    def __init__(self, neurons: int, device: torch.device | str = "cpu") -> None:
        self.count = 0
        self._sums = torch.zeros(2, neurons, dtype=torch.int64, device=device)
        self._squares = torch.zeros(3, neurons, dtype=torch.int64, device=device)
        self._max = torch.full((neurons,), -torch.inf, device=device)
        self._size = torch.zeros(neurons, device=device)

    def update(self, values: Tensor) -> None:
        """values: float32 [batch, neurons], finite and below 2**20 in absolute value, or `compute` raises an error."""
        for part in torch.split(values, self._ROWS):
            whole = (part.to(torch.float64) * 2.0**self._SCALE).round_()
            high = (whole * 2.0**-self._LIMB).round_()
            self._sums[0] += whole.sum(0).to(torch.int64)
            low = whole.sub_(high, alpha=2.0**self._LIMB)
            limbs = torch.stack([(low * low).sum(0), 2 * (high * low).sum(0), (high * high).sum(0)])
            self._squares += limbs.to(torch.int64)
        self._carry()
        self.count += len(values)
        self._max = torch.maximum(self._max, values.amax(0))
        self._size = torch.maximum(self._size, values.abs().amax(0))

    def _carry(self) -> None:
        for limbs in (self._sums, self._squares):
            for lower, upper in pairwise(limbs):
                upper += lower >> self._LIMB
                lower &= 2**self._LIMB - 1

    def merge(self, other: Moments) -> None:
        """Add the values of another accumulator over other sentences."""
        device = self._sums.device
        self.count += other.count
        self._sums += other._sums.to(device)
        self._squares += other._squares.to(device)
        self._carry()
        self._max = torch.maximum(self._max, other._max.to(device))
        self._size = torch.maximum(self._size, other._size.to(device))

    def _check(self) -> None:
        if not bool((self._size < 2.0**20).all()):
            raise InputError(
                "the model has activations that are not finite or beyond 2**20; set runtime.dtype to float32"
            )

    def compute(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean, population standard deviation and maximum, each float32 [neurons].

        Errors: InputError if a value was not finite, or 2**20 or more in absolute value.
        """
        self._check()
        unit, limb, count = 2.0**-self._SCALE, 2.0**self._LIMB, max(self.count, 1)
        sums, squares = self._sums.to("cpu", torch.float64), self._squares.to("cpu", torch.float64)
        mean = (sums[1] * limb + sums[0]) * unit / count
        square = (squares[2] * limb**2 + squares[1] * limb + squares[0]) * unit**2 / count
        variance = (square - mean * mean).clamp(min=0.0)
        return (
            mean.to(torch.float32).numpy(),
            variance.sqrt().to(torch.float32).numpy(),
            self._max.cpu().numpy(),
        )

    def state(self) -> State:
        """Errors: as `compute`."""
        self._check()
        arrays = {"sums": self._sums, "squares": self._squares, "max": self._max, "size": self._size}
        return {name: array.cpu().numpy() for name, array in arrays.items()} | {"count": np.array(self.count)}

    @classmethod
    def restore(cls, state: State, device: torch.device | str = "cpu") -> Moments:
        moments = cls(len(state["max"]), device)
        moments.count = int(state["count"])
        moments._sums, moments._squares, moments._max, moments._size = (
            torch.tensor(state[name], device=device) for name in ("sums", "squares", "max", "size")
        )
        return moments


class Probe:
    """Every activation of a bounded, fixed sample of sentences, as float16, on the CPU."""

    def __init__(self, neurons: int, rows: np.ndarray) -> None:
        """rows: of the sampled sentences, ascending."""
        self.rows = np.asarray(rows, dtype=np.int32)
        self._values = torch.zeros(len(rows), neurons, dtype=torch.float16)
        self._seen = np.zeros(len(rows), dtype=bool)

    def _find_slots(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of `rows` are in the sample, bool, and the positions of those in it."""
        if not len(self.rows):
            return np.zeros(len(rows), dtype=bool), np.zeros(0, dtype=np.int64)
        slots = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        hits = self.rows[slots] == rows
        return hits, slots[hits]

    def update(self, values: Tensor, rows: np.ndarray) -> None:
        """values: float32 [batch, neurons]; rows: int [batch]; rows outside the sample are ignored."""
        hits, slots = self._find_slots(rows)
        if len(slots):
            limit = torch.finfo(torch.float16).max
            wanted = values[torch.from_numpy(np.flatnonzero(hits)).to(values.device)]
            self._values[slots] = wanted.clamp(-limit, limit).to("cpu", torch.float16)
            self._seen[slots] = True

    def merge(self, other: Probe) -> None:
        """Add the values that another accumulator has of this sample; its own sample may be a part of it."""
        hits, slots = self._find_slots(other.rows)
        seen = other._seen[hits]
        self._values[slots[seen]] = other._values[np.flatnonzero(hits)[seen]]
        self._seen[slots[seen]] = True

    def compute(self) -> np.ndarray:
        """float16 [sampled rows, neurons]. Errors: ValueError if a sampled row was never seen."""
        if not self._seen.all():
            raise ValueError(f"{int((~self._seen).sum())} sampled rows were never seen")
        return self._values.numpy()

    def state(self) -> State:
        return {"probe_rows": self.rows, "probe": self._values.numpy(), "seen": self._seen}

    @classmethod
    def restore(cls, state: State) -> Probe:
        probe = cls(state["probe"].shape[1], state["probe_rows"])
        probe._values, probe._seen = torch.tensor(state["probe"]), state["seen"].copy()
        return probe
