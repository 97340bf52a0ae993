"""What a difference means: how much a measure varies with the split of the corpus, and whether a gap is more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

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


def summarise_splits(neurons: np.ndarray, measure: np.ndarray, value: np.ndarray) -> Spreads:
    """The spread of every measure for each set of neurons.

    Columns of RESPLIT_TABLE, one row for each set, measure and split.
    """
    spreads: Spreads = {}
    for whose in dict.fromkeys(neurons.tolist()):
        chosen = neurons == whose
        names, values = measure[chosen], value[chosen]
        spreads[whose] = {
            name: Spread(float(values[names == name].mean()), float(values[names == name].std(ddof=1)))
            for name in dict.fromkeys(names.tolist())
        }
    return spreads


def judge_gap(value: float, other: float, std: float) -> Verdict:
    """Whether a value is ahead of another or behind it by at least DEVIATIONS of `std`, or the two are tied."""
    gap = value - other
    if gap == 0 or abs(gap) < DEVIATIONS * std:
        return "tied"
    return "ahead" if gap > 0 else "behind"
