"""Streaming accumulators over pooled activations, whose size does not grow with the corpus.

Each has `update` (with a batch), `merge` (with another accumulator of its kind), `compute`, and `state`, from which
`restore` rebuilds it. All arithmetic is exact, so that the order of updates and merges never changes a bit of the
result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from descry.errors import InputError

State = Mapping[str, np.ndarray]
"""Arrays from which an accumulator is restored."""
_SIGN = 0x7FFFFFFF
_ROW = 0xFFFFFFFF
_CACHED = 2**18  # numbers worked on at once on a CPU, so that they stay in its cache
_LAUNCHED = 2**25  # the same on other devices, where it bounds memory


def _cut_blocks(neurons: int, sentences: int, device: torch.device) -> list[slice]:
    """Blocks of neurons that are worked on at once."""
    block = max(1, (_CACHED if device.type == "cpu" else _LAUNCHED) // max(1, sentences))
    return [slice(start, min(start + block, neurons)) for start in range(0, neurons, block)]


def _make_keys(values: Tensor, rows: Tensor) -> Tensor:
    """Pack each value and its row into an int64 that is larger for a larger value or, if equal, for a lower row.

    values: float32 [neurons, sentences]; rows: int64 [sentences], below 2**32. Returns [neurons, sentences].
    """
    bits = (values + 0.0).view(torch.int32)  # + 0.0 makes -0.0 equal to 0.0
    bits ^= (bits >> 31) & _SIGN
    return bits.to(torch.int64).bitwise_left_shift_(32).bitwise_or_(_ROW - rows)


def _split_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """The values and rows that `_make_keys` packed, in the order of the keys."""
    ordered = (keys >> 32).to(torch.int32)
    return (ordered ^ ((ordered >> 31) & _SIGN)).view(torch.float32), _ROW - (keys & _ROW)


def _select_largest(keys: Tensor, count: int) -> Tensor:
    """The `count` largest of every row, or all where there are no more, in no order."""
    if keys.shape[1] <= count:
        return keys
    if keys.device.type == "cpu":  # several times faster than `torch.topk`
        first = keys.shape[1] - count
        return torch.from_numpy(np.partition(keys.numpy(), first, axis=1)[:, first:])
    return keys.topk(count, sorted=False).values


class TopK:
    """The k sentences with the largest values of every neuron, ties to the lower row, and the value that comes next."""

    def __init__(self, neurons: int, k: int, device: torch.device | str = "cpu") -> None:
        self.k = k
        self._kept = k + 1
        self._keys = torch.empty(neurons, self._kept, dtype=torch.int64, device=device)  # the first `_filled` columns
        self._filled = 0

    def update(self, values: Tensor, rows: Tensor) -> None:
        """values: float32 [sentences, neurons], finite; rows: int64 [sentences], each seen once. Cheapest in batches of
        a thousand sentences."""
        self._add(len(rows), lambda block: _make_keys(values[:, block].T.contiguous(), rows))

    def _add(self, count: int, make: Callable[[slice], Tensor]) -> None:
        """Add `count` keys of every neuron; make: makes those of a block of neurons."""
        for block in _cut_blocks(len(self._keys), self._filled + count, self._keys.device):
            best = _select_largest(torch.cat([self._keys[block, : self._filled], make(block)], dim=1), self._kept)
            self._keys[block, : best.shape[1]] = best
        self._filled = min(self._filled + count, self._kept)

    def _get_best(self) -> Tensor:
        return self._keys[:, : self._filled]

    def merge(self, other: TopK) -> None:
        """Add the values of another accumulator over other rows."""
        keys = other._get_best().to(self._keys.device)
        self._add(keys.shape[1], lambda block: keys[block])

    def compute(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values float32 and rows int32, both [neurons, min(k, rows seen)], best first; and the largest value of a row
        that is not among them, float32 [neurons], or the smallest of all where there is none. At least one row seen."""
        keys = self._get_best()
        ordered = (
            torch.from_numpy(np.sort(keys.numpy(), axis=1)) if keys.device.type == "cpu" else keys.sort(dim=1).values
        )
        values, rows = _split_keys(ordered.flip(1))
        best = values[:, : self.k], rows[:, : self.k].to(torch.int32), values[:, -1]
        return best[0].cpu().numpy(), best[1].cpu().numpy(), best[2].cpu().numpy()

    def state(self) -> State:
        return {"best": self._get_best().cpu().numpy()}

    @classmethod
    def restore(cls, state: State, k: int, device: torch.device | str = "cpu") -> TopK:
        keys = torch.tensor(state["best"], device=device)
        top = cls(len(keys), k, device)
        top._add(keys.shape[1], lambda block: keys[block])
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
            for block in _cut_blocks(values.shape[1], len(part), values.device):
                whole = (part[:, block].to(torch.float64) * 2.0**self._SCALE).round_()
                high = (whole * 2.0**-self._LIMB).round_()
                self._sums[0, block] += whole.sum(0).to(torch.int64)
                low = whole.sub_(high, alpha=2.0**self._LIMB)
                limbs = torch.stack([(low * low).sum(0), 2 * (high * low).sum(0), (high * high).sum(0)])
                self._squares[:, block] += limbs.to(torch.int64)
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
