"""Streaming accumulators over pooled activations, whose size does not grow with the corpus.

Each has `update` (with a batch), `merge` (with another accumulator of its kind), `compute`, and `state`, from which
`restore` rebuilds it. All arithmetic is exact, so that the order of updates and merges never changes a bit of the
result.
"""

from __future__ import annotations

import warnings
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
_LEAST = torch.iinfo(torch.int64).min  # below every key
_CACHED = 2**16  # numbers worked on at once on a CPU, so that they stay in its cache
_LAUNCHED = 2**27  # the same on other devices, where it bounds memory
_RARE = 8  # where fewer than one value in so many may be among the best, those are looked for one by one


def on_cpu(device: torch.device) -> bool:
    """Whether a device is the CPU, which need not be waited for, and for which NumPy is often the fastest."""
    return device.type == "cpu"


def _cut_blocks(neurons: int, sentences: int, device: torch.device) -> list[slice]:
    """Blocks of neurons that are worked on at once."""
    block = max(1, (_CACHED if on_cpu(device) else _LAUNCHED) // max(1, sentences))
    return [slice(start, min(start + block, neurons)) for start in range(0, neurons, block)]


class Arriving:
    """A tensor on its way to the CPU: a device works on meanwhile, and only `get` waits."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor.to("cpu", non_blocking=tensor.is_cuda)
        self._event = torch.cuda.current_stream(tensor.device).record_event() if tensor.is_cuda else None

    def get(self) -> Tensor:
        if self._event is not None:
            self._event.synchronize()
        return self._tensor


def send(array: np.ndarray, device: torch.device) -> Tensor:
    """A copy of an array on a device, for which the CPU does not wait."""
    tensor = torch.from_numpy(array.copy())
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _make_keys(values: Tensor, rows: Tensor) -> Tensor:
    """Pack each value and its row into an int64 that is larger for a larger value or, if equal, for a lower row.

    values: float32; rows: int64, below 2**32, of a shape that goes with that of the values.
    """
    bits = (values + 0.0).view(torch.int32)  # + 0.0 makes -0.0 equal to 0.0
    bits ^= (bits >> 31) & _SIGN
    return bits.to(torch.int64).bitwise_left_shift_(32).bitwise_or_(_ROW - rows)


def _get_values(keys: Tensor) -> Tensor:
    """The values that `_make_keys` packed."""
    ordered = (keys >> 32).to(torch.int32)
    return (ordered ^ ((ordered >> 31) & _SIGN)).view(torch.float32)


def _get_rows(keys: Tensor) -> Tensor:
    """The rows that `_make_keys` packed."""
    return _ROW - (keys & _ROW)


def _select_largest(keys: Tensor, count: int) -> Tensor:
    """The `count` largest of every row, or all where there are no more, in no order."""
    if keys.shape[1] <= count:
        return keys
    if on_cpu(keys.device):  # several times faster than `torch.topk`
        first = keys.shape[1] - count
        return torch.from_numpy(np.partition(keys.numpy(), first, axis=1)[:, first:])
    return keys.topk(count, sorted=False).values


def _count(wanted: Tensor) -> Tensor:
    """How many are true in each row, int64."""
    if on_cpu(wanted.device):  # several times faster than `Tensor.sum`
        return torch.from_numpy(np.count_nonzero(wanted.numpy(), axis=1))
    return wanted.sum(1)


def _find(wanted: Tensor, total: int) -> tuple[Tensor, Tensor]:
    """Rows and columns of the `total` true ones, row by row: int64 [total] each."""
    if on_cpu(wanted.device):  # the same
        places = torch.from_numpy(np.flatnonzero(wanted.numpy()))
        return places // wanted.shape[1], places % wanted.shape[1]
    rows, columns = torch.nonzero_static(wanted, size=total).unbind(1)
    return rows, columns


class TopK:
    """The k sentences with the largest values of every neuron, ties to the lower row, and the value that comes next.

    Keys are appended to a table of 2 (k + 1) columns; when it is full, the best k + 1 of every neuron stay. Once these
    are few beside the rows seen, only values that reach the least of them are appended. How many those are is known on
    the CPU, so on other devices, which are not to wait for it, they are appended by the next `update`.
    """

    def __init__(self, neurons: int, k: int, device: torch.device | str = "cpu") -> None:
        self.k = k
        self._kept = k + 1
        self._keys = torch.empty(neurons, 0, dtype=torch.int64, device=device)
        self._filled, self._seen = 0, 0  # columns, rows
        self._ordered = True  # whether every neuron's keys are, the largest first
        # The least of the best keys of every neuron, once there are k + 1, and its value.
        self._least: tuple[Tensor, Tensor] | None = None
        self._staged: _Staged | None = None

    def update(self, values: Tensor, rows: Tensor) -> None:
        """values: float32 [sentences, neurons], finite, which outside the CPU must stay as they are until the next call
        of a method; rows: int64 [sentences], each seen once. Cheapest in batches of a thousand sentences."""
        self._take_staged()
        self._seen += len(rows)
        if self._least is None or self._seen <= _RARE * self._kept:
            self._append_best(values, rows)
            return
        self._staged = _Staged(values, rows, self._least[1])
        if on_cpu(values.device):
            self._take_staged()

    def _take_staged(self) -> None:
        """Append what the last `update` has found."""
        if self._staged is None:
            return
        staged, self._staged = self._staged, None
        widest, total = staged.numbers.get().tolist()
        if widest > self._kept or total * _RARE > staged.values.numel():
            self._append_best(staged.values, staged.rows)
        elif total:
            self._append(staged.pack(widest, total))

    def _append_best(self, values: Tensor, rows: Tensor) -> None:
        """Append the best of all values."""
        blocks = _cut_blocks(values.shape[1], len(rows), values.device)
        keys = [_select_largest(_make_keys(values[:, block].T.contiguous(), rows), self._kept) for block in blocks]
        self._append(torch.cat(keys))

    def _append(self, keys: Tensor) -> None:
        """Append at most k + 1 keys of every neuron."""
        if self._filled + keys.shape[1] > 2 * self._kept:
            self._shrink()
        if self._keys.shape[1] < 2 * self._kept:
            table = self._keys.new_empty(len(self._keys), 2 * self._kept)
            table[:, : self._filled], self._keys = self._keys, table
        self._ordered = False
        self._keys[:, self._filled : self._filled + keys.shape[1]] = keys
        self._filled += keys.shape[1]
        if self._least is None and self._filled >= self._kept:
            self._shrink()

    def _shrink(self) -> None:
        """Leave the best k + 1 keys of every neuron."""
        for block in _cut_blocks(len(self._keys), self._filled, self._keys.device):
            best = _select_largest(self._keys[block, : self._filled], self._kept)
            self._keys[block, : best.shape[1]] = best
        self._filled = min(self._filled, self._kept)
        if self._filled == self._kept:
            least = self._keys[:, : self._kept].amin(1)
            self._least = least, _get_values(least)

    def _sort(self) -> Tensor:
        """The best keys, [neurons, min(k + 1, rows seen)], largest first."""
        self._take_staged()
        if self._filled > self._kept:
            self._shrink()
        keys = self._keys[:, : self._filled]
        if not self._ordered:
            self._ordered = True
            keys.copy_(
                torch.from_numpy(np.sort(keys.numpy(), axis=1)[:, ::-1].copy())
                if on_cpu(keys.device)
                else keys.sort(dim=1, descending=True).values
            )
        return keys

    def merge(self, other: TopK) -> None:
        """Add the values of another accumulator over other rows."""
        self._take_staged()
        keys, width = other._sort(), 0
        least = torch.tensor(_LEAST) if self._least is None else self._least[0].to(keys.device)
        while width < keys.shape[1] and bool((keys[:, width] > least).any()):
            width = min(max(1, 2 * width), keys.shape[1])
        self._append(keys[:, :width].to(self._keys.device))

    def compute(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values float32 and rows int32, both [neurons, min(k, rows seen)], best first; and the largest value of a row
        that is not among them, float32 [neurons], or the smallest of all where there is none. At least one row seen."""
        keys = self._sort()
        best, beyond = keys[:, : self.k], keys[:, -1]
        rows = _get_rows(best).to(torch.int32)
        return _get_values(best).cpu().numpy(), rows.cpu().numpy(), _get_values(beyond).cpu().numpy()

    def state(self) -> State:
        return {"best": self._sort().cpu().numpy()}

    @classmethod
    def restore(cls, state: State, k: int, device: torch.device | str = "cpu") -> TopK:
        top = cls(len(state["best"]), k, device)
        with warnings.catch_warnings():  # the array may not be writable, and is never written: `_append` makes a table
            warnings.simplefilter("ignore", UserWarning)
            top._keys = torch.from_numpy(state["best"]).to(device)
        top._filled = top._keys.shape[1]
        return top


class _Staged:
    """Values of which those that reach `least`, float32 [neurons], are wanted; `numbers`: the most of them of a neuron,
    and how many they are."""

    def __init__(self, values: Tensor, rows: Tensor, least: Tensor) -> None:
        self.values, self.rows = values, rows
        self._wanted = (values >= least).T.contiguous()
        self._counts = _count(self._wanted)
        self.numbers = Arriving(torch.stack([self._counts.amax(), self._counts.sum()]))

    def pack(self, widest: int, total: int) -> Tensor:
        """The keys of the wanted values, [neurons, widest], filled up with _LEAST."""
        neurons, sentences = _find(self._wanted, total)
        places = torch.arange(total, device=neurons.device) - (self._counts.cumsum(0) - self._counts)[neurons]
        keys = self.values.new_full((len(self._wanted), widest), _LEAST, dtype=torch.int64)
        keys[neurons, places] = _make_keys(self.values[sentences, neurons], self.rows[sentences])
        return keys


class Moments:
    """Count, mean, standard deviation and maximum of every neuron, of values rounded to multiples of 2**-24.

    In those units a value is high * 2**22 + low, where |low| is at most 2**21 and |high| at most 2**22: float32 holds
    both. The sums of high, low, low**2, 2 high * low and high**2 over 256 values are whole numbers below 2**53, which
    float64 holds exactly; they are added as integers, with carries between limbs of 22 bits, so that `merge` is
    associative to the last bit.
    """

    _SCALE = 24
    _LIMB = 22
    _ROWS = 256
    _ADDED = 2**9  # sums below 2**53 that an int64 holds besides what a carry leaves

    def __init__(self, neurons: int, device: torch.device | str = "cpu") -> None:
        self.count = 0
        self._sums = torch.zeros(2, neurons, dtype=torch.int64, device=device)
        self._squares = torch.zeros(3, neurons, dtype=torch.int64, device=device)
        self._max = torch.full((neurons,), -torch.inf, device=device)
        self._min = torch.full((neurons,), torch.inf, device=device)
        self._added = 0  # since the last carry

    def update(self, values: Tensor) -> None:
        """values: float32 [batch, neurons], finite and below 2**20 in absolute value, or `compute` raises an error."""
        whole = len(values) // self._ROWS * self._ROWS
        for part in (values[:whole].view(-1, self._ROWS, values.shape[1]), values[whole:].unsqueeze(0)):
            if part.numel():
                self._add(part)
        self.count += len(values)
        self._max = torch.maximum(self._max, values.amax(0))
        self._min = torch.minimum(self._min, values.amin(0))

    def _add(self, parts: Tensor) -> None:
        """parts: float32 [parts, at most 256, neurons]."""
        if self._added + len(parts) > self._ADDED:
            self._carry()
        self._added += len(parts)
        for block in _cut_blocks(parts.shape[2], len(parts) * self._ROWS, parts.device):
            part = parts[:, :, block]
            high = (part * 2.0 ** (self._SCALE - self._LIMB)).round_()
            low = part.sub(high, alpha=2.0 ** (self._LIMB - self._SCALE)).mul_(2.0**self._SCALE).round_()
            low, high = low.to(torch.float64), high.to(torch.float64)
            sums = low.sum(1), high.sum(1), (low * low).sum(1), 2 * (low * high).sum(1), (high * high).sum(1)
            limbs = torch.stack(sums).sum(1, dtype=torch.int64)
            self._sums[:, block] += limbs[:2]
            self._squares[:, block] += limbs[2:]

    def _carry(self) -> None:
        for limbs in (self._sums, self._squares):
            for lower, upper in pairwise(limbs):
                upper += lower >> self._LIMB
                lower &= 2**self._LIMB - 1
        self._added = 0

    def merge(self, other: Moments) -> None:
        """Add the values of another accumulator over other sentences."""
        device = self._sums.device
        self.count += other.count
        self._sums += other._sums.to(device)
        self._squares += other._squares.to(device)
        self._added += other._added
        self._carry()
        self._max = torch.maximum(self._max, other._max.to(device))
        self._min = torch.minimum(self._min, other._min.to(device))

    def _check(self) -> None:
        self._carry()
        if self.count and not bool(((self._max < 2.0**20) & (self._min > -(2.0**20))).all()):
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
        arrays = {"sums": self._sums, "squares": self._squares, "max": self._max, "min": self._min}
        return {name: array.cpu().numpy() for name, array in arrays.items()} | {"count": np.array(self.count)}

    @classmethod
    def restore(cls, state: State, device: torch.device | str = "cpu") -> Moments:
        moments = cls(len(state["max"]), device)
        moments.count = int(state["count"])
        moments._sums, moments._squares, moments._max, moments._min = (
            torch.tensor(state[name], device=device) for name in ("sums", "squares", "max", "min")
        )
        return moments


class Probe:
    """Every activation of a bounded, fixed sample of sentences, as float16, on the CPU."""

    def __init__(self, neurons: int, rows: np.ndarray) -> None:
        """rows: of the sampled sentences, ascending."""
        self.rows = np.asarray(rows, dtype=np.int32)
        self._values = torch.zeros(len(rows), neurons, dtype=torch.float16)
        self._seen = np.zeros(len(rows), dtype=bool)
        self._arriving: tuple[np.ndarray, Arriving] | None = None

    def _find_slots(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of `rows` are in the sample, bool, and the positions of those in it."""
        if not len(self.rows):
            return np.zeros(len(rows), dtype=bool), np.zeros(0, dtype=np.int64)
        slots = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
        hits = self.rows[slots] == rows
        return hits, slots[hits]

    def update(self, values: Tensor, rows: np.ndarray) -> None:
        """values: float32 [batch, neurons]; rows: int [batch]; rows outside the sample are ignored."""
        self._take_arriving()
        hits, slots = self._find_slots(rows)
        if len(slots):
            limit = torch.finfo(torch.float16).max
            wanted = values[send(np.flatnonzero(hits), values.device)]
            self._arriving = slots, Arriving(wanted.clamp_(-limit, limit).to(torch.float16))
            self._seen[slots] = True

    def _take_arriving(self) -> None:
        """Take what the last `update` has sent."""
        if self._arriving is not None:
            slots, values = self._arriving
            self._values[slots], self._arriving = values.get(), None

    def merge(self, other: Probe) -> None:
        """Add the values that another accumulator has of this sample; its own sample may be a part of it."""
        self._take_arriving()
        other._take_arriving()
        hits, slots = self._find_slots(other.rows)
        seen = other._seen[hits]
        self._values[slots[seen]] = other._values[np.flatnonzero(hits)[seen]]
        self._seen[slots[seen]] = True

    def compute(self) -> np.ndarray:
        """float16 [sampled rows, neurons]. Errors: ValueError if a sampled row was never seen."""
        if not self._seen.all():
            raise ValueError(f"{int((~self._seen).sum())} sampled rows were never seen")
        self._take_arriving()
        return self._values.numpy()

    def state(self) -> State:
        self._take_arriving()
        return {"probe_rows": self.rows, "probe": self._values.numpy(), "seen": self._seen}

    @classmethod
    def restore(cls, state: State) -> Probe:
        probe = cls(state["probe"].shape[1], state["probe_rows"])
        probe._values, probe._seen = torch.tensor(state["probe"]), state["seen"].copy()
        return probe
