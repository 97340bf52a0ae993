"""The figures that `dvc metrics` shows and the detail behind them, arranged out of the tables of all measures."""

from __future__ import annotations

from collections.abc import Iterable
from math import isnan
from typing import Any

import pandas as pd

from descry.results.measures import MEASURES, find_measure, is_registered
from descry.results.noise import RANDOM_DIRECTIONS, TARGET, Spreads, select_stds
from descry.storage.nesting import nest

CONTROLS = {"random_directions": "random_directions", "untrained": "untrained_target"}
"""Rows of DVC's table besides the neurons' and chance, each with the control that it shows."""
GUESSES = ("precision_at_1", "precision_at_2", "recall_at_1", "recall_at_2")

Values = dict[str, float]
"""Measure -> value."""
Levels = dict[tuple[str, str], dict[str, float]]
"""(measure, null) -> chance and adjusted."""


def read_levels(tables: Iterable[pd.DataFrame]) -> tuple[Values, Levels]:
    """The value of every measure in some tables of measures, and its chance level under each null."""
    values: Values = {}
    levels: Levels = {}
    for table in tables:
        for name, null, value, chance, adjusted in table[["measure", "null", "value", "chance", "adjusted"]].to_numpy():
            values[name] = int(value) if find_measure(name).counts else value
            levels[name, null] = {"chance": chance, "adjusted": adjusted}
    return values, levels


def arrange_rows(values: Values, levels: Levels) -> dict[str, Values]:
    """DVC's table: a row for the neurons, for chance and for each control; a column for each measure that has one.

    Where several measures share a column (sentences against gold aspects, or against labels), the first that was
    measured fills it.
    """
    rows: dict[str, Values] = {"neurons": {}, "chance": {}, **{row: {} for row in CONTROLS}}
    for measure in MEASURES:
        if measure.column and measure.name in values and measure.column not in rows["neurons"]:
            rows["neurons"][measure.column] = values[measure.name]
            for row, null in {"chance": measure.chance, **CONTROLS}.items():
                if (measure.name, null) in levels:
                    rows[row][measure.column] = levels[measure.name, null]["chance"]
    return rows


def arrange_split_std(spreads: Spreads) -> Values:
    """A row of DVC's table: the standard deviation of each column over splits, of the measure that `arrange_rows` takes
    for it; without other splits empty."""
    stds, row = select_stds(spreads), Values()
    for measure in MEASURES:
        if measure.column and measure.name in stds:
            row.setdefault(measure.column, stds[measure.name])
    return row


def arrange_resplits(values: Values, levels: Levels, spreads: Spreads) -> dict[str, Any]:
    """metrics/detail/resplits.json: of every measure the mean and standard deviation over splits, for the neurons and
    random directions, and by how many such deviations the neurons of this split are ahead of these (`deviations`)."""
    detail: dict[str, Any] = {}
    for whose, of_measures in spreads.items():
        for name, spread in of_measures.items():
            if is_registered(name):
                detail |= {f"{name}.{whose}.mean": spread.mean, f"{name}.{whose}.std": spread.std}
                level = levels.get((name, RANDOM_DIRECTIONS))
                if whose == TARGET and level is not None and spread.std > 0:
                    detail[f"{name}.deviations"] = (values[name] - level["chance"]) / spread.std
    return nest(detail)


def arrange_consistency(values: Values, levels: Levels) -> dict[str, Any]:
    """metrics/detail/consistency.json: how far both splits agree."""
    detail = {name: values[name] for name in ("coverage", "pairs", "calibrated_alpha")}
    for name in [name for name in values if is_registered(name) and not find_measure(name).counts]:
        level = levels[name, find_measure(name).chance]
        detail |= {name: values[name], f"{name}_null": level["chance"], f"{name}_adjusted": level["adjusted"]}
    detail["replication_unassigned"] = levels["replication", "unassigned_pairs"]["chance"]
    by_chance = levels["pairs", find_measure("pairs").chance]["chance"]
    detail["attained_error"] = min(1.0, by_chance / max(values["pairs"], 1))
    for (name, null), level in levels.items():
        if name in ("jaccard", "replication"):
            detail[f"null.{null}.{name}"] = level["chance"]
    return nest(detail)


def arrange_evaluation(values: Values, levels: Levels) -> dict[str, Any]:
    """metrics/detail/evaluation.json: what descriptors, labels and neurons are worth."""
    detail = {name: value for name, value in values.items() if "_at_" not in name or name.endswith(GUESSES)}
    for (name, null), level in levels.items():
        if null and is_registered(name):
            detail[f"null.{null}.{name}"] = level["chance"]
            if null == find_measure(name).chance == "most_common" and not isnan(level["adjusted"]):
                detail[f"adjusted.{name}"] = level["adjusted"]
    return nest(detail)


def arrange_beyond(values: Values, levels: Levels) -> dict[str, Any]:
    """metrics/detail/beyond.json: the analyses, each measure with its own chance; empty where all are switched off."""
    detail = {name: value for name, value in values.items() if is_registered(name)}
    for name in list(detail):
        if null := find_measure(name).chance:
            detail[f"null.{null}.{name}"] = levels[name, null]["chance"]
    if (chance := detail.get("null.unassigned_pairs.transfer.replication")) is not None:
        detail["transfer.chance"] = chance
    return nest(detail)
