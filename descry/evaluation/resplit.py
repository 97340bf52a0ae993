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
from descry.corpus.sentences import choose_split
from descry.evaluation.chance import Draws, repeat
from descry.evaluation.evaluate import Evaluation, Opinion
from descry.splits import Pair

KS = (1, 2)
"""The k of precision and recall at k."""
TARGET, RANDOM_DIRECTIONS = "target", "random_directions"
CHUNK = 512
"""Neurons whose sentences are ordered at a time."""


@dataclass(frozen=True)
class Reading:
    """The probe sentences of both splits in one table, as one set of neurons reads them.

    layer, index: of the neurons; values: float16 [sentences, neurons]; order: int [neurons, sentences], the most
    active sentence first.
    """

    layer: np.ndarray
    index: np.ndarray
    pooling: str
    values: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, active: Pair[Activations]) -> Reading:
        """Join the probes of both splits."""
        values = np.concatenate([split.probe for split in active])
        order = np.empty(values.shape[::-1], np.int16 if len(values) < 2**15 else np.int32)
        for start in range(0, len(order), CHUNK):
            part = values[:, start : start + CHUNK].T.astype(np.float32)
            order[start : start + CHUNK] = np.argsort(-part, axis=1, kind="stable")
        known = active.calibration
        return cls(known.layer, known.index, known.pooling, values, order)

    def select(self, rows: np.ndarray, exemplars: int) -> Activations:
        """The record of some sentences, int [n], ascending, as if they were a split, with all of them as its probe."""
        place = np.full(len(self.values), -1, np.int32)
        place[rows] = np.arange(len(rows))
        inside = place[self.order] >= 0
        best = self.order[inside].reshape(len(self.order), len(rows))[:, : exemplars + 1]
        probe = self.values[rows]
        values = self.values[best, np.arange(len(best))[:, None]].astype(np.float32)
        return Activations(
            count=len(rows),
            layer=self.layer,
            index=self.index,
            values=values[:, :exemplars],
            rows=place[best[:, :exemplars]],
            beyond=values[:, -1],
            mean=probe.mean(axis=0, dtype=np.float32),
            std=probe.std(axis=0, dtype=np.float32),
            maximum=values[:, 0],
            probe_rows=np.arange(len(rows), dtype=np.int32),
            probe=probe,
            pooling=self.pooling,
        )


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

    Columns: neurons (TARGET, or `random_directions`, which are measured on the same splits if they are among the
    evaluation's controls), measure, split (from 0), value. If the probe holds only a part of a large corpus, its splits
    are smaller than the corpus's own, and the measures vary more.
    """
    whole, validation = _join(evaluation), _find_share(evaluation.reviews)
    readings: dict[str, Callable[[], Pair[Activations]]] = {TARGET: lambda: evaluation.active}
    readings |= {name: read for name, read in evaluation.controls.items() if name == RANDOM_DIRECTIONS}
    parts = []
    for name, read in readings.items():
        reading = Reading.of(read())

        def measure(generator: np.random.Generator, reading: Reading = reading) -> Mapping[str, Any]:
            sides = draw_sides(np.asarray(whole.reviews.calibration), validation, generator)
            active = sides.map(lambda rows: reading.select(rows, rule.exemplars))
            return _divide(whole, sides, active).measure(rule, KS)

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
