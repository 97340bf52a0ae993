"""The measures of judged descriptions, beside other units' descriptions and random sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from descry.evaluation.chance import tabulate_measures
from descry.judging.judge import AMONG, correlate_swapped, draw_units
from descry.judging.scores import SCORES

NULLS = {"swapped_descriptions": "swapped", "random_sentences": "random"}
"""The nulls of every score, each with the end of its column in the table of `judge`."""


def tabulate_judged(table: pd.DataFrame, whose: str) -> pd.DataFrame:
    """Tabulate the measures of the units that `judge` scored, as `tabulate_measures` does, under `judge.<whose>`.

    A null's values are the measure less its lift over that null in bootstrap samples of units.
    """
    draws, of = draw_units(len(table)), f"judge.{whose}"
    measures: dict[str, Any] = {f"{of}.units": len(table)}
    chance: dict[str, dict[str, np.ndarray]] = {null: {} for null in NULLS}
    for name in SCORES:
        measures[f"{of}.{name}"] = own = float(table[name].mean())
        for null, beside in NULLS.items():
            lift = (table[name] - table[f"{name}_{beside}"]).to_numpy()
            chance[null][f"{of}.{name}"] = own - np.array([lift[rows].mean() for rows in draws])
    if table["first"].notna().any():
        measures[f"{of}.first_of_100"] = float(table["first"].mean())
        chance["swapped_descriptions"][f"{of}.first_of_100"] = np.full(len(draws), 1 / AMONG)
    if (correlation := correlate_swapped(table, "auroc")) is not None:
        measures[f"{of}.true_swapped_correlation"] = correlation
    return tabulate_measures(measures, chance)
