"""What a difference means: how much a measure varies with the split of the corpus, and whether a gap is more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

DEVIATIONS = 3.0
"""A difference of at least this many standard deviations over splits is more than the split's luck."""

Verdict = Literal["ahead", "tied", "behind"]


TARGET, RANDOM_DIRECTIONS = "target", "random_directions"
"""The sets of neurons that are measured on other splits."""


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of a measure over splits."""

    mean: float
    std: float


Spreads = dict[str, dict[str, Spread]]
"""Set of neurons -> measure -> its spread."""


def summarise_splits(table: Mapping[str, Any] | pd.DataFrame) -> Spreads:
    """The spread of every measure for each set of neurons. table: columns of RESPLIT_TABLE."""
    neurons, measure, value = (np.asarray(table[name]) for name in ("neurons", "measure", "value"))
    spreads: Spreads = {}
    for whose in dict.fromkeys(neurons.tolist()):
        chosen = neurons == whose
        names, values = measure[chosen], value[chosen]
        spreads[whose] = {
            name: Spread(float(values[names == name].mean()), float(values[names == name].std(ddof=1)))
            for name in dict.fromkeys(names.tolist())
        }
    return spreads


def select_stds(spreads: Spreads) -> dict[str, float]:
    """The standard deviation of every measure of the target's neurons."""
    return {name: spread.std for name, spread in spreads.get(TARGET, {}).items()}


def judge_gap(value: float | None, other: float | None, std: float | None) -> Verdict | None:
    """Whether a value is ahead of another or behind it by at least DEVIATIONS of `std`, or the two are tied; None if
    one of the three is unknown."""
    if value is None or other is None or std is None:
        return None
    gap = value - other
    if gap == 0 or abs(gap) < DEVIATIONS * std:
        return "tied"
    return "ahead" if gap > 0 else "behind"
