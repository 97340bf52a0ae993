"""How a measure stands beside chance: its values over random draws, and the table of it with every null beside it."""

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

THREADS = 4


@dataclass(frozen=True)
class Draws:
    """How often chance is drawn, and from which seed."""

    repeats: int
    seed: int


Draw = Callable[[np.random.Generator], Mapping[str, Any]]
"""Measures of one random draw."""


def repeat(measure: Draw, draws: Draws) -> dict[str, np.ndarray]:
    """Every value that `measure` gives over independent generators: dotted name -> float64 [repeats].

    Repeats run side by side, in as many threads as there are cores but at most THREADS, for memory's sake; each
    multiplies matrices alone, since threads within threads wait for one another.
    """
    generators = [np.random.default_rng(child) for child in np.random.SeedSequence(draws.seed).spawn(draws.repeats)]
    with threadpool_limits(1), ThreadPoolExecutor(min(os.cpu_count() or 1, THREADS)) as threads:
        runs = list(threads.map(lambda generator: flatten(measure(generator)), generators))
    return {name: np.array([run[name] for run in runs], dtype=np.float64) for name in runs[0]}


def adjust(value: float, null: float) -> float:
    """How far a value lies from chance towards perfection: (value - null) / (1 - null); 0.0 where null is 1."""
    return (value - null) / (1 - null) if null < 1 else 0.0


def tabulate_measures(measures: Mapping[str, Any], chance: Mapping[str, Mapping[str, np.ndarray]]) -> pd.DataFrame:
    """Every measure beside every null that has it, one a row: measure, null, value, chance (the null's mean), low
    and high (its 95 % interval over the repeats), repeats, adjusted (missing for counts and coverage, which are no
    scores). A measure that no null has stands alone, its null empty, its chance missing.

    measures: nested; chance: null -> what `repeated` gave.
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
            scored = not isinstance(value, int) and not measure.endswith("coverage")
            distance = adjust(value, mean) if scored else np.nan
            rows.append((measure, null, float(value), mean, low, high, len(values), distance))
    return pd.DataFrame(rows, columns=["measure", "null", "value", "chance", "low", "high", "repeats", "adjusted"])
