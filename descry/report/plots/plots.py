"""The plots: PNG pictures, each with its title, its units and its nulls; the same bytes for the same run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from descry.report.content import Content
from descry.report.plots import curves
from descry.report.plots.drawing import (
    BLUE,
    CONTROL_STYLES,
    GREEN,
    NULL_STYLES,
    ORANGE,
    PERCENT,
    RED,
    add_legend,
    save_png,
    shorten,
    start_figure,
    use_style,
)
from descry.report.plots.series import AT_K
from descry.report.words import format_percent

BARS, MAPPED = 30, 40
"""At most this many descriptors in the bar chart and in the map."""
SPLITS = {"calibration": {"color": BLUE, "marker": "o"}, "validation": {"color": ORANGE, "marker": "s"}}


def draw_described(layers: pd.DataFrame) -> Figure:
    """Share of each layer's neurons with a descriptor: the target's on both splits, the controls', and what random
    exemplars give."""
    figure = start_figure(4.2)
    axes = figure.subplots()
    places = np.arange(len(layers))
    looks: dict[str, dict[str, Any]] = SPLITS | CONTROL_STYLES
    for name, look in looks.items():
        if layers[name].notna().any():
            label = f"the target, {name}" if name in SPLITS else f"{look['label']}, calibration"
            axes.plot(places, layers[name], **(look | {"label": label}), clip_on=False, zorder=3)
    null = float(layers["random_exemplars"].iloc[0])
    if not np.isnan(null):
        label = f"null: random exemplars ({format_percent(null)})"
        axes.axhline(null, color=RED, linestyle="--", linewidth=2, clip_on=False, zorder=5, label=label)
    axes.set_title("Neurons with at least one descriptor, by layer")
    axes.set_xlabel("layer (1 = nearest the input)")
    axes.set_ylabel("share of the layer's neurons")
    axes.set_xticks(places, [str(number) for number in layers["layer"]])
    axes.set_ylim(0, max(float(layers[[*looks, "random_exemplars"]].max().max()) * 1.05, 0.01))
    axes.grid(axis="x", visible=False)
    axes.yaxis.set_major_formatter(PERCENT)
    add_legend(figure, axes, 2)
    return figure


MARKS: dict[str, dict[str, Any]] = {
    "oracle": {"color": GREEN, "marker": "s"},
    "": {"color": BLUE, "marker": "o"},
    **CONTROL_STYLES,
    **NULL_STYLES,
}


def draw_at_k(table: pd.DataFrame, reference: str) -> Figure:
    """Precision and recall of an unseen sentence's k best descriptors, with controls, nulls and the ceiling."""
    figure = start_figure(4.9)
    panels: Sequence[Axes] = figure.subplots(1, 2, sharey=True)
    at = np.arange(len(table))
    for panel, name in zip(panels, ("precision", "recall"), strict=True):
        for series, look in MARKS.items():
            values = table[f"{name}_{series}" if series else name]
            if values.notna().any():
                panel.plot(at, values, **(look | {"label": AT_K[series]}))
    panels[0].plot(at, table["ceiling"], color="black", linewidth=1, marker="_", label="ceiling")
    titles = ("Precision@k", "Recall@k")
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title)
        panel.set_xlabel("k, descriptors a sentence")
        panel.set_xticks(at, [str(k) for k in table["k"]])
        panel.set_ylim(0, 1.03)
        panel.margins(x=0.08)
        panel.yaxis.set_major_formatter(PERCENT)
    panels[0].set_ylabel(f"against {reference}")
    add_legend(figure, panels[0], 2)
    return figure


def draw_descriptors(table: pd.DataFrame) -> Figure:
    """Neurons and sentences of the descriptors that most neurons have, on calibration."""
    part = table.head(BARS).iloc[::-1]
    figure = start_figure(1.5 + 0.22 * len(part))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    places = np.arange(len(part))
    for axes, column, colour, title in (
        (left, "neurons", BLUE, "Neurons that have it"),
        (right, "sentences", ORANGE, "Sentences that bear it"),
    ):
        bars = axes.barh(places, part[column], 0.75, color=colour)
        axes.set_title(title)
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.16, y=0.5 / max(len(part), 1))
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axes.set_xlim(0, max(float(part[column].max()) * 1.3, 1.0))
        shares = [f"{n:,}" for n in part[column]]
        if column == "sentences":
            prevalence = part["prevalence"].tolist()
            shares = [f"{n:,} ({100 * p:.1f} %)" for n, p in zip(part[column], prevalence, strict=True)]
        axes.bar_label(bars, shares, fontsize=8, padding=3)
    left.set_yticks(places, [shorten(str(name)) for name in part["descriptor"]])
    more = len(table) - len(part)
    figure.supxlabel(f"calibration; {more} more descriptors not shown" if more else "calibration", fontsize=9)
    return figure


def draw_map(table: pd.DataFrame, layers: Sequence[int], sizes: np.ndarray) -> Figure:
    """Map of layers x descriptors: share of the layer's neurons that have the descriptor, those nearest
    the input first. sizes: int [layers], neurons of each."""
    part = table.head(MAPPED)
    counts = part[[f"layer_{layer}" for layer in layers]].to_numpy(dtype=np.float64)
    middle = (counts * np.arange(len(layers))).sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
    order = np.lexsort((part["descriptor"].to_numpy(), np.where(counts.sum(axis=1) > 0, middle, np.inf)))
    shares = (counts / sizes)[order]
    figure = start_figure(1.8 + 0.2 * len(part))
    axes = figure.subplots()
    scale = PowerNorm(0.5, vmin=0, vmax=max(float(shares.max(initial=0)), 1e-3))
    picture = axes.pcolormesh(shares, cmap="Blues", norm=scale, edgecolors="white", linewidth=0.5)
    if len(layers) <= 12:
        for row, column in np.argwhere(shares > 0):
            colour = "white" if scale(shares[row, column]) > 0.62 else "black"
            number = f"{counts[order][row, column]:,.0f}"
            axes.text(column + 0.5, row + 0.5, number, ha="center", va="center", fontsize=8, color=colour)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_xticks(np.arange(len(layers)) + 0.5, [str(layer) for layer in layers])
    axes.set_yticks(np.arange(len(part)) + 0.5, [shorten(str(part["descriptor"].iloc[i])) for i in order])
    axes.tick_params(length=0)
    axes.set_xlabel("layer (1 = nearest the input)")
    some = f" ({MAPPED} of {len(table)})" if len(table) > MAPPED else ""
    axes.set_title(f"Where the neurons of each descriptor lie{some}")
    bar = figure.colorbar(picture, ax=axes, aspect=40, format=PERCENT)
    bar.set_label("share of the layer's neurons that have it (calibration)")
    return figure


def draw_all(run: Content, tables: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
    """Every picture: name -> PNG. tables: those of `tabulate_series`, and `descriptors`."""
    descriptors, layers = tables["descriptors"], tables["layers"]
    reference = "gold aspects" if run.reference == "sentence.gold" else "the pipeline's own labels"
    rule = run.rule.name
    tau = run.rule.tau if rule == "composition" else None
    composition = "composition threshold"
    with use_style():
        drawn = {
            "layers": draw_described(layers),
            "at_k": draw_at_k(tables["at_k"], reference),
            "descriptors": draw_descriptors(descriptors),
            "map": draw_map(descriptors, run.layers, layers["neurons"].to_numpy()),
            "p_values": curves.draw_p_values(tables["p_values"]),
            "threshold": curves.draw_sweep(tables["threshold"], "threshold", composition, reference, tau, log=False),
            "exemplars": curves.draw_sweep(
                tables["exemplars"], "exemplars", "exemplars of a neuron", reference, run.rule.exemplars, log=True
            ),
        }
        if "pooling" in tables:
            drawn["pooling"] = curves.draw_poolings(tables["pooling"], rule)
        return {name: save_png(figure) for name, figure in drawn.items()}
