"""The plots of what varies with a setting, and of the p values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from descry.report.plots.drawing import BLUE, GREEN, GREY, NULL_STYLES, ORANGE, PERCENT, RED, add_legend, start_figure
from descry.report.plots.series import BY_RULE, SWEPT
from descry.report.words import format_percent

PANELS = (
    "Sentences: precision@1",
    "Sentences: recall@2",
    "Neurons: precision@1",
    "Neurons with a descriptor",
)
"""Titles of the measures of SWEPT."""
RULES: dict[str, dict[str, Any]] = {
    "enrichment": {"color": BLUE, "marker": "o", "markersize": 8, "linewidth": 2.5},
    "composition": {"color": ORANGE, "marker": "s", "markersize": 5, "linestyle": "--"},
}
ENDS = {"_most_common": NULL_STYLES["most_common"], "_random_exemplars": NULL_STYLES["random_exemplars"]}


def _draw_nulls(axes: Axes, table: pd.DataFrame, setting: str, column: str, rule: str) -> None:
    """The nulls under one rule: marks are filled under enrichment, open under composition."""
    marks = {} if rule == "enrichment" else {"markerfacecolor": "white", "label": None}
    for end, look in ENDS.items():
        if f"{column}{end}" in table:
            axes.plot(table[setting], table[f"{column}{end}"], **(look | marks), markersize=4, linewidth=1)


def draw_sweep(table: pd.DataFrame, setting: str, label: str, reference: str, used: float | None, log: bool) -> Figure:
    """The measures of SWEPT against a setting, a panel each, for both rules and beside the nulls.

    label: of the setting; reference: what sentences are measured against; used: the run's own setting, None where
    it has none; log: whether the axis is logarithmic.
    """
    figure = start_figure(6.4)
    panels: Sequence[Axes] = list(figure.subplots(2, 2, sharex=True, sharey=True).flat)
    for axes, measure, title in zip(panels, SWEPT, PANELS, strict=True):
        for rule in BY_RULE:
            axes.plot(table[setting], table[f"{measure}_{rule}"], label=f"rule: {rule}", **RULES[rule])
        for rule in BY_RULE:
            _draw_nulls(axes, table, setting, f"{measure}_{rule}", rule)
        if used is not None:
            axes.axvline(used, color="black", linestyle=(0, (1, 3)), zorder=0.5, label=f"this run: {used:g}")
        axes.set_title(title)
    panels[0].set_ylim(0, 1.05)
    panels[0].yaxis.set_major_formatter(PERCENT)
    panels[0].set_ylabel(f"against {reference}")
    panels[2].set_ylabel("share of the neurons")
    if log and len(table):
        panels[0].set_xscale("log")
        panels[0].xaxis.set_minor_locator(NullLocator())
        panels[0].xaxis.set_major_locator(FixedLocator(table[setting].tolist()))
        panels[0].xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for axes in panels[2:]:
        axes.set_xlabel(label, fontsize=9)
    add_legend(figure, panels[0], 2)
    return figure


def draw_poolings(table: pd.DataFrame, rule: str) -> Figure:
    """The measures of SWEPT for each pooling as bars, the nulls drawn across them."""
    figure = start_figure(4.2)
    axes = figure.subplots()
    colours = (BLUE, ORANGE, GREEN, GREY)
    width = 0.8 / len(table)
    for number, row in enumerate(table.to_dict("records")):
        places = np.arange(len(SWEPT)) + (number - (len(table) - 1) / 2) * width
        values = [float(row[measure]) for measure in SWEPT]
        bars = axes.bar(places, values, width * 0.94, color=colours[number % 4], label=str(row["pooling"]))
        axes.bar_label(bars, [format_percent(value) for value in values], fontsize=8, padding=2)
        for end, look in ENDS.items():
            levels = [float(row.get(f"{measure}{end}", np.nan)) for measure in SWEPT]
            shown = look["label"] if not number else None
            edged = look | {"linestyle": "", "markeredgecolor": "white", "label": shown}
            axes.plot(places, levels, **edged, markersize=9, clip_on=False, zorder=5)
    axes.set_title(f"Pooling of a sentence's tokens (rule: {rule})")
    names = [name.replace(": ", ":\n").replace(" with a ", "\nwith a ") for name in PANELS]
    axes.set_xticks(range(len(SWEPT)), names, fontsize=9)
    axes.grid(axis="x", visible=False)
    axes.set_ylim(0, 1.08)
    axes.yaxis.set_major_formatter(PERCENT)
    add_legend(figure, axes, 2)
    return figure


def draw_p_values(table: pd.DataFrame) -> Figure:
    """Histograms of the p values of both splits, beside those under shuffled labels and a flat line."""
    figure = start_figure(3.9)
    panels: Sequence[Axes] = figure.subplots(1, 2, sharey=True)
    for axes, split in zip(panels, ("calibration", "validation"), strict=True):
        edges = np.append(table["p"], 1.0)
        if f"{split}_observed" in table:
            axes.stairs(table[f"{split}_observed"], edges, fill=True, color=BLUE, alpha=0.75, label="observed")
            shuffled = table[f"{split}_shuffled_labels"]
            axes.stairs(shuffled, edges, baseline=None, color=RED, linewidth=2, label="null: shuffled labels")
        axes.axhline(1 / max(len(table), 1), color="black", linewidth=1, linestyle=":", label="flat: no association")
        axes.set_title(split.capitalize())
        axes.set_xlabel("p of a neuron and a descriptor")
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter("{x:g}")
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("share of the pairs")
    panels[0].yaxis.set_major_formatter(PERCENT)
    add_legend(figure, panels[0], 3)
    return figure
