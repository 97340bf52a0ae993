"""What is kept of a pass over a corpus: the accumulators of every pooling, merged over shards, and their checkpoint."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from descry.activations.accumulators import Moments, Probe, State, TopK, on_cpu, send
from descry.activations.record import Activations
from descry.schemas.extract import KEPT_ARRAYS
from descry.storage.arrays import read_arrays, write_arrays

WAITING, WAITING_ELSEWHERE = 1024, 4096
"""Sentences whose pooled values wait until the accumulators take them at once, on a CPU and on other devices."""
LARGEST = 2**27
"""Values of a pooling that wait at most, so that it is fewer sentences if there are very many neurons."""


class Kept:
    """What is kept of a pass over some sentences: the accumulators of every pooling, and the neurons they belong to.

    layer int16 and index int32, both [neurons]; poolings: names, in the order in which `update` gets their values;
    units: what the neurons are, in words. Pooled values wait until there are enough of them that keeping costs little
    beside the model's own pass; their memory is allocated once, since tensors that outlive a batch fragment the heap.
    """

    def __init__(
        self,
        layer: np.ndarray,
        index: np.ndarray,
        poolings: Sequence[str],
        top_k: int,
        probe_rows: np.ndarray,
        device: torch.device | str = "cpu",
        units: str = "",
    ) -> None:
        self.layer, self.index, self.poolings, self.top_k, self.units = layer, index, tuple(poolings), top_k, units
        self.device = torch.device(device)
        neurons = len(layer)
        self._parts = [
            (TopK(neurons, top_k, device), Moments(neurons, device), Probe(neurons, probe_rows)) for _ in poolings
        ]
        self._buffers: deque[Tensor] = (
            deque()
        )  # the first is filled now; on other devices the accumulators read another
        self._rows, self._waiting = np.empty(0, np.int64), 0

    def empty(self, probe_rows: np.ndarray) -> Kept:
        """Empty accumulators of the same neurons and poolings, with another sample, for others to be merged into."""
        same = self.layer, self.index, self.poolings, self.top_k, probe_rows, self.device
        return Kept(*same, units=self.units)

    def to(self, device: torch.device) -> Kept:
        """The same on a device."""
        return (
            self if device == self.device else Kept.restore(self.state(), self.poolings, self.top_k, self.units, device)
        )

    def update(self, pooled: Tensor, rows: np.ndarray) -> None:
        """pooled: float32 [poolings, sentences, neurons], on this device; rows: int64 [sentences]."""
        if not len(self._rows):
            most = LARGEST // max(1, len(self.layer))
            waiting = WAITING if on_cpu(self.device) else WAITING_ELSEWHERE
            self._rows = np.empty(max(1, min(most, waiting)), np.int64)
            size = len(self._parts), len(self._rows), len(self.layer)
            buffers = 1 if on_cpu(self.device) else 2
            self._buffers.extend(torch.empty(size, device=self.device) for _ in range(buffers))
        while len(rows):
            now = slice(self._waiting, min(self._waiting + len(rows), len(self._rows)))
            count = now.stop - now.start
            self._buffers[0][:, now], self._rows[now] = pooled[:, :count], rows[:count]
            pooled, rows, self._waiting = pooled[:, count:], rows[count:], now.stop
            if self._waiting == len(self._rows):
                self._take()

    def _take(self) -> None:
        """Hand the values that wait to the accumulators."""
        if not self._waiting:
            return
        rows, self._waiting = self._rows[: self._waiting], 0
        device_rows = send(rows, self.device)
        for (top, moments, probe), values in zip(self._parts, self._buffers[0][:, : len(rows)], strict=True):
            moments.update(values)
            top.update(values, device_rows)
            probe.update(values, rows)
        self._buffers.rotate()

    def merge(self, other: Kept) -> None:
        """Add what was kept of other sentences."""
        self._take()
        other._take()
        for (top, moments, probe), others in zip(self._parts, other._parts, strict=True):
            top.merge(others[0])
            moments.merge(others[1])
            probe.merge(others[2])

    def compute(self) -> list[Activations]:
        """One Activations for each pooling. Errors: InputError, see `Moments.compute`."""
        self._take()
        activations = []
        for pooling, (top, moments, probe) in zip(self.poolings, self._parts, strict=True):
            values, rows, beyond = top.compute()
            mean, std, maximum = moments.compute()
            activations.append(
                Activations(
                    count=moments.count,
                    layer=self.layer,
                    index=self.index,
                    values=values,
                    rows=rows,
                    beyond=beyond,
                    mean=mean,
                    std=std,
                    maximum=maximum,
                    probe_rows=probe.rows,
                    probe=probe.compute(),
                    pooling=pooling,
                    units=self.units,
                )
            )
        return activations

    def state(self) -> State:
        """Arrays from which `restore` rebuilds this; the accumulators' have the poolings as first dimension. Errors:
        InputError, see `Moments.compute`."""
        self._take()
        states = [{**top.state(), **moments.state(), **probe.state()} for top, moments, probe in self._parts]
        stacked = {name: np.stack([state[name] for state in states]) for name in states[0]}
        return stacked | {"layer": self.layer, "index": self.index}

    @classmethod
    def restore(
        cls, state: State, poolings: Sequence[str], top_k: int, units: str = "", device: torch.device | str = "cpu"
    ) -> Kept:
        kept = cls(state["layer"], state["index"], poolings, top_k, np.zeros(0, np.int32), device, units=units)
        for number in range(len(kept.poolings)):
            part = {name: array[number] for name, array in state.items() if name not in ("layer", "index")}
            kept._parts[number] = (
                TopK.restore(part, top_k, device),
                Moments.restore(part, device),
                Probe.restore(part),
            )
        return kept

    def __reduce__(self) -> tuple[Callable[..., Kept], tuple[Any, ...]]:  # pickled as arrays, to go to another machine
        return Kept.restore, (self.state(), self.poolings, self.top_k, self.units)


def write_kept(path: Path, kept: Kept, done: Mapping[int, int]) -> None:
    """Write a checkpoint: what is kept so far, and of which shards. done: number of sentences by first row. Errors:
    InputError, see `Moments.compute`."""
    meta = {"poolings": kept.poolings, "top_k": kept.top_k, "units": kept.units, "done": sorted(done.items())}
    write_arrays(path, kept.state(), KEPT_ARRAYS, meta)


def read_kept(path: Path) -> tuple[Kept, dict[int, int]]:
    """Read a checkpoint that `write_kept` wrote."""
    arrays, meta = read_arrays(path, KEPT_ARRAYS)
    return Kept.restore(arrays, meta["poolings"], meta["top_k"], meta["units"]), dict(meta["done"])
