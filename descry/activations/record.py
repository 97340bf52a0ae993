"""The record of a target's activations on a split: a fixed number of values per neuron, whatever the corpus's size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from descry.assignment.exemplars import select_exemplars
from descry.schemas.extract import ACTIVATION_ARRAYS
from descry.storage.arrays import read_arrays, write_arrays


@dataclass(frozen=True)
class Activations:
    """The record of a target's activations on one split; neurons are in order of layer, then index.

    values float32 [neurons, K] and rows int32 [neurons, K]: the K sentences with the largest activation, best
    first; beyond float32 [neurons]: the largest activation on a sentence that is not among them, or the smallest of all
    if all are; mean, std, maximum float32 [neurons] over the `count` sentences; probe float16 [sampled, neurons]
    and probe_rows int32 [sampled], ascending; layer int16 [neurons] from 1, index int32 [neurons] from 0; units: what
    the neurons are, in words ("inputs of encoder.layer.*.output.dense"), empty if that is not known.
    """

    count: int
    layer: np.ndarray
    index: np.ndarray
    values: np.ndarray
    rows: np.ndarray
    beyond: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    maximum: np.ndarray
    probe_rows: np.ndarray
    probe: np.ndarray
    pooling: str
    units: str = ""

    def exemplars(self, k: int) -> np.ndarray:
        """Exemplar sets: int32 [neurons, min(k, K)], best first, -1 for none; see `select_exemplars`."""
        return select_exemplars(self.values, self.rows, self.beyond, k)


def write_activations(path: Path, activations: Activations) -> None:
    """Write the record of one split."""
    meta = {"count": activations.count, "pooling": activations.pooling, "units": activations.units}
    write_arrays(path, vars(activations), ACTIVATION_ARRAYS, meta)


def read_activations(path: Path, *, probe: bool = True) -> Activations:
    """Read what `write_activations` wrote. probe: False leaves out the probe, by far its largest part."""
    arrays, meta = read_arrays(path, ACTIVATION_ARRAYS, without=() if probe else ("probe", "probe_rows"))
    if not probe:
        arrays |= {"probe": np.zeros((0, len(arrays["layer"])), np.float16), "probe_rows": np.zeros(0, np.int32)}
    return Activations(count=meta["count"], pooling=meta["pooling"], units=meta.get("units", ""), **arrays)
