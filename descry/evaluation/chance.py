"""Chance levels: a measure's values over random draws, and the table of measures with their nulls."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from descry.storage.nesting import flatten

ERRORS = ("brier_score", "calibration_error")
"""Measures of which less is better."""
UNSCORED = ("coverage", "ratio", *ERRORS)
"""Endings of the names of measures that do not lie between chance and 1."""
THREADS = 4
"""Repeats that run at the same time, at most."""


@dataclass(frozen=True)
class Draws:
    """The number of random draws behind each chance level, and their seed."""

    repeats: int
    seed: int


Draw = Callable[[np.random.Generator], Mapping[str, Any]]
"""Makes one random draw and measures it."""


def repeat(measure: Draw, draws: Draws) -> dict[str, np.ndarray]:
    """Measure independent random draws: dotted name -> float64 [repeats].

    Repeats run in as many threads as there are cores, but at most THREADS, to save memory. Each multiplies matrices in
    one thread, since nested threads slow each other down.
    """
    generators = [np.random.default_rng(child) for child in np.random.SeedSequence(draws.seed).spawn(draws.repeats)]
    with threadpool_limits(1), ThreadPoolExecutor(min(os.cpu_count() or 1, THREADS)) as threads:
        runs = list(threads.map(lambda generator: flatten(measure(generator)), generators))
    return {name: np.array([run[name] for run in runs], dtype=np.float64) for name in runs[0]}


def adjust(value: float, null: float) -> float:
    """Rescale a score so that chance is 0 and perfection 1: (value - null) / (1 - null); 0.0 if the null is 1."""
    return (value - null) / (1 - null) if null < 1 else 0.0


def tabulate_measures(measures: Mapping[str, Any], chance: Mapping[str, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """Tabulate measures with their nulls, one row per measure and null.

    measures: nested, by name; chance: null -> the values that `repeat` returns. Columns: measure, null, value, chance
    (the null's mean), low and high (its 95 % interval over the repeats), repeats, adjusted (see `adjust`; missing for
    counts, coverage, ratios and errors, which are no scores). A measure without a null has one row, with null empty and
    chance missing.
    """
    rows: list[tuple[Any, ...]] = []
    for measure, value in flatten(measures).items():
        nulls = {null: runs[measure] for null, runs in chance.items() if measure in runs}
        if not nulls or measure.rpartition(".")[2].startswith("ceiling_"):
            rows.append((measure, "", float(value), np.nan, np.nan, np.nan, 0, np.nan))
            continue
        for null, values in nulls.items():
            low, high = np.quantile(values, [0.025, 0.975])
            mean = float(values.mean())
            scored = not isinstance(value, int) and not measure.endswith(UNSCORED)
            distance = adjust(value, mean) if scored else np.nan
            rows.append((measure, null, float(value), mean, low, high, len(values), distance))
    return pd.DataFrame(rows, columns=["measure", "null", "value", "chance", "low", "high", "repeats", "adjusted"])
