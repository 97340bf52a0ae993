"""How much of a measure is the split's luck: the same on other splits of the same sentences.

What a sentence's activations, labels and gold are does not depend on its split, so no model runs: only counting is
repeated. Definitions: docs/method.md, section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from descry.activations.record import Activations
from descry.assignment.rules import Rule
from descry.corpus.sampling import choose_split
from descry.evaluation.chance import Draws, repeat
from descry.evaluation.evaluate import Evaluation, Opinion
from descry.results.noise import RANDOM_DIRECTIONS, TARGET
from descry.splits import Pair

KS = (1, 2)
"""The k of precision and recall at k."""
CHUNK = 512
"""Neurons that are read at a time."""


def find_strongest(values: np.ndarray, count: int) -> np.ndarray:
    """Find the sentences on which each neuron is most active: int32 [neurons, count], the most active first.

    values: float16 [sentences, neurons], at least `count` sentences; ties go to the lower row.
    """
    order = np.empty((values.shape[1], count), np.int32)
    for start in range(0, len(order), CHUNK):
        bits = np.ascontiguousarray(values[:, start : start + CHUNK].T).view(np.int16)
        falling = np.where(bits < 0, bits & 0x7FFF, -bits)  # orders as the values do, but the largest first
        order[start : start + CHUNK] = np.argsort(falling, axis=1, kind="stable")[:, :count]  # a radix sort
    return order


@dataclass(frozen=True)
class Reading:
    """The probe sentences of both splits in one table, as one set of neurons reads them.

    layer, index: of the neurons; values: float16 [sentences, neurons]; order: int32 [neurons, n], the n most active
    sentences of each neuron, see `find_strongest`.
    """

    layer: np.ndarray
    index: np.ndarray
    pooling: str
    values: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, active: Pair[Activations], exemplars: int) -> Reading:
        """Join the probes of both splits; exemplars: as for `select`, which sorts again for neurons of whose n
        sentences a split holds fewer: a quarter more than it should hold."""
        values = np.concatenate([split.probe for split in active])
        smaller = min(len(split.probe) for split in active)
        count = min(5 * (exemplars + 1) * len(values) // (4 * max(smaller, 1)), len(values))
        known = active.calibration
        return cls(known.layer, known.index, known.pooling, values, find_strongest(values, count))

    def select(self, rows: np.ndarray, exemplars: int) -> Activations:
        """The record of some sentences, int [n], ascending, as if they were a split, with all of them as its probe."""
        place = np.full(len(self.values), -1, np.int32)
        place[rows] = np.arange(len(rows))
        probe, count = self.values[rows], min(exemplars + 1, len(rows))
        here = np.flatnonzero((place >= 0)[self.order])
        ends = np.searchsorted(here, np.arange(1, len(self.order) + 1) * self.order.shape[1])
        first = np.append(0, ends[:-1])
        enough = ends - first >= count
        best = np.empty((len(self.order), count), np.int32)
        best[enough] = place[self.order.ravel()[here[first[enough, None] + np.arange(count)]]]
        best[~enough] = find_strongest(probe[:, ~enough], count)
        values = probe[best, np.arange(len(best))[:, None]].astype(np.float32)
        mean, std = _measure_moments(probe)
        return Activations(
            count=len(rows),
            layer=self.layer,
            index=self.index,
            values=values[:, :exemplars],
            rows=best[:, :exemplars],
            beyond=values[:, -1],
            mean=mean,
            std=std,
            maximum=values[:, 0],
            probe_rows=np.arange(len(rows), dtype=np.int32),
            probe=probe,
            pooling=self.pooling,
        )


def _measure_moments(values: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of each neuron: float32 [2, neurons]; values: float16 [sentences, neurons]."""
    moments = np.empty((2, values.shape[1]), np.float32)
    for start in range(0, values.shape[1], CHUNK):
        part = values[:, start : start + CHUNK].astype(np.float32)
        mean = part.mean(axis=0, keepdims=True)
        moments[:, start : start + CHUNK] = mean[0], part.std(axis=0, mean=mean)
    return moments


def draw_sides(reviews: np.ndarray, validation: float, generator: np.random.Generator) -> Pair[np.ndarray]:
    """Split sentences by review as the stage `split` does, under a key drawn anew: the rows of each side, ascending.

    reviews: of every sentence, at least two different ones. Keys that leave a side empty are drawn again.
    """
    names, review = np.unique(reviews, return_inverse=True)
    while True:
        key = str(generator.integers(2**63))
        inside = np.array([choose_split(name, key=key, validation=validation) == "validation" for name in names])
        if inside.any() and not inside.all():
            return Pair(np.flatnonzero(~inside[review]), np.flatnonzero(inside[review]))


def measure_resplits(
    evaluation: Evaluation,
    rule: Rule,
    draws: Draws,
) -> pd.DataFrame:
    """Tabulate `Evaluation.measure` on other splits of the probe's sentences, as even or uneven as its own.

    Columns: neurons, measure, split (from 0), value. neurons: TARGET; RANDOM_DIRECTIONS, if they are among the
    controls, with `measure_neurons` on the same splits. If the probe holds only a part of a large corpus, its splits
    are smaller than the corpus's own, and the measures vary more.
    """
    whole, validation = _join(evaluation), _find_share(evaluation.reviews)
    readings: dict[str, Callable[[], Pair[Activations]]] = {TARGET: lambda: evaluation.active}
    readings |= {name: read for name, read in evaluation.controls.items() if name == RANDOM_DIRECTIONS}
    parts = []
    for name, read in readings.items():
        reading = Reading.of(read(), rule.exemplars)

        def measure(generator: np.random.Generator, name: str = name, reading: Reading = reading) -> Mapping[str, Any]:
            sides = draw_sides(np.asarray(whole.reviews.calibration), validation, generator)
            active = sides.map(lambda rows: reading.select(rows, rule.exemplars))
            split = _divide(whole, sides, active)
            return split.measure(rule, KS) if name == TARGET else split.measure_neurons(rule, KS)

        for measured, values in repeat(measure, draws).items():
            split = np.arange(len(values))
            parts.append(pd.DataFrame({"neurons": name, "measure": measured, "split": split, "value": values}))
    return pd.concat(parts, ignore_index=True)


def _find_share(reviews: Pair[Sequence[str]]) -> float:
    """The share of the reviews that are in validation."""
    calibration, validation = (len(set(ids)) for ids in reviews)
    return validation / (calibration + validation)


def _convert(evaluation: Evaluation, convert: Callable[[Pair[Any]], Pair[Any]]) -> dict[str, Any]:
    """Convert every part of an evaluation that has a row for each sentence."""
    opinions = tuple(
        Opinion(convert(opinion.labels), convert(opinion.scores), opinion.taught) for opinion in evaluation.opinions
    )
    reviews = convert(evaluation.reviews.map(np.asarray))
    return {"opinions": opinions, "gold": convert(evaluation.gold), "reviews": reviews}


def _join(evaluation: Evaluation) -> Evaluation:
    """The same with the probe's sentences of both splits in both."""
    rows = evaluation.active.map(lambda split: split.probe_rows)

    def join(arrays: Pair[np.ndarray]) -> Pair[np.ndarray]:
        joined = np.concatenate([array[chosen] for array, chosen in zip(arrays, rows, strict=True)])
        return Pair(joined, joined)

    return replace(evaluation, **_convert(evaluation, join))


def _divide(whole: Evaluation, sides: Pair[np.ndarray], active: Pair[Activations]) -> Evaluation:
    """The same with the sentences of each side in its split."""

    def divide(arrays: Pair[np.ndarray]) -> Pair[np.ndarray]:
        return Pair(arrays.calibration[sides.calibration], arrays.calibration[sides.validation])

    return replace(whole, active=active, **_convert(whole, divide))
