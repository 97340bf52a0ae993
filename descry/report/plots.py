"""The plots: PNG pictures, each with its title, its units and chance; the same bytes for the same run."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from descry.report.content import Run, block
from descry.report.words import percent

WIDTH = 8.0
DPI = 150
BLUE, ORANGE, GREEN, RED, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#6b6b6b"
STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
}
BARS, MAPPED = 30, 40
"""At most this many descriptors in the bar chart and in the map."""


def _png(figure: Figure) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _figure(height: float) -> Figure:
    return Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained", facecolor="white")


def _shorter(name: str, longest: int = 28) -> str:
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.3g} %")


def described(layers: pd.DataFrame, chance: float | None) -> Figure:
    """Share of each layer's neurons with a descriptor, on both splits; chance: the same share under random
    exemplars, None where unknown."""
    figure = _figure(4.0)
    axes = figure.subplots()
    numbers = layers["layer"].unique()
    places = np.arange(len(numbers))
    for shift, split, colour in ((-0.2, "calibration", BLUE), (0.2, "validation", ORANGE)):
        part = layers[layers["split"] == split]
        bars = axes.bar(places + shift, part["share"], 0.38, color=colour, label=split)
        if len(numbers) <= 12:
            axes.bar_label(bars, [f"{n:,}" for n in part["described"]], fontsize=8, padding=2)
    if chance is not None:
        label = f"chance: random exemplars ({percent(chance)})"
        axes.axhline(chance, color=RED, linestyle="--", linewidth=2, clip_on=False, zorder=5, label=label)
    axes.set_title("Neurons with at least one descriptor, by layer")
    axes.set_xlabel("layer (1 = nearest the input)")
    axes.set_ylabel("share of the layer's neurons")
    axes.set_xticks(places, [str(number) for number in numbers])
    axes.set_ylim(0, max(float(layers["share"].max()) * 1.15, chance or 0, 0.01))
    axes.grid(axis="x", visible=False)
    axes.yaxis.set_major_formatter(PERCENT)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


MARKS = {
    "annotated aspects as labels": (GREEN, "s", "-"),
    "descriptors found": (BLUE, "o", "-"),
    "chance: always the most common": (RED, "^", "--"),
    "chance: random exemplars": (GREY, "v", ":"),
}


def at_k(table: pd.DataFrame, reference: str) -> Figure:
    """Precision and recall of an unseen sentence's k best descriptors beside chance and ceiling."""
    figure = _figure(4.2)
    panels: Sequence[Axes] = figure.subplots(1, 2, sharey=True)
    ks = sorted(table["k"].unique())
    places = {k: place for place, k in enumerate(ks)}
    for series, part in table.groupby("series", sort=False):
        colour, marker, line = MARKS[str(series)]
        at = part["k"].map(places)
        for panel, name in zip(panels, ("precision", "recall"), strict=True):
            label = str(series) if name == "precision" else None
            panel.plot(at, part[name], color=colour, marker=marker, linestyle=line, label=label)
    own = table[table["series"] == "descriptors found"]
    at = own["k"].map(places)
    panels[0].plot(at, own["ceiling"], color="black", linewidth=1, marker="_", label="ceiling")
    titles = ("Precision: guesses that are right", "Recall: what they find")
    for panel, title in zip(panels, titles, strict=True):
        panel.set_title(title)
        panel.set_xlabel("k, guesses a sentence")
        panel.set_xticks(range(len(ks)), [str(k) for k in ks])
        panel.set_ylim(0, 1.03)
        panel.margins(x=0.08)
        panel.yaxis.set_major_formatter(PERCENT)
    panels[0].set_ylabel(f"against {reference}")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def descriptors(table: pd.DataFrame) -> Figure:
    """Neurons and sentences of the descriptors that most neurons carry, on calibration."""
    part = table.head(BARS).iloc[::-1]
    figure = _figure(1.5 + 0.22 * len(part))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    places = np.arange(len(part))
    for axes, column, colour, title in (
        (left, "neurons", BLUE, "Neurons that carry it"),
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
    left.set_yticks(places, [_shorter(str(name)) for name in part["descriptor"]])
    more = len(table) - len(part)
    figure.supxlabel(f"calibration; {more} more descriptors not shown" if more else "calibration", fontsize=9)
    return figure


def depth(table: pd.DataFrame, layers: Sequence[int], sizes: np.ndarray) -> Figure:
    """Map of layers x descriptors: share of the layer's neurons that carry the descriptor, those that live
    nearest the input first. sizes: int [layers], neurons of each."""
    part = table.head(MAPPED)
    counts = part[[f"layer_{layer}" for layer in layers]].to_numpy(dtype=np.float64)
    middle = (counts * np.arange(len(layers))).sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
    order = np.lexsort((part["descriptor"].to_numpy(), np.where(counts.sum(axis=1) > 0, middle, np.inf)))
    shares = (counts / sizes)[order]
    figure = _figure(1.8 + 0.2 * len(part))
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
    axes.set_yticks(np.arange(len(part)) + 0.5, [_shorter(str(part["descriptor"].iloc[i])) for i in order])
    axes.tick_params(length=0)
    axes.set_xlabel("layer (1 = nearest the input)")
    some = f" ({MAPPED} of {len(table)})" if len(table) > MAPPED else ""
    axes.set_title(f"Where the neurons of each descriptor lie{some}")
    bar = figure.colorbar(picture, ax=axes, aspect=40, format=PERCENT)
    bar.set_label("share of the layer's neurons that carry it (calibration)")
    return figure


def plots(run: Run, tables: Mapping[str, pd.DataFrame]) -> dict[str, bytes]:
    """Every picture: name -> PNG, WIDTH x DPI pixels wide. tables: those of content."""
    layers, found = tables["layers"], tables["descriptors"]
    sizes = layers[layers["split"] == "calibration"]["neurons"].to_numpy()
    by_chance = block(run.evaluation, "null.random_exemplars.neuron").get("described")
    reference = "annotated aspects" if block(run.evaluation, "sentence.gold") else "the pipeline's own labels"
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        drawn = {
            "layers": described(layers, None if by_chance is None else by_chance / len(run.layer)),
            "at_k": at_k(tables["at_k"], reference),
            "descriptors": descriptors(found),
            "map": depth(found, run.layers, sizes),
        }
        return {name: _png(figure) for name, figure in drawn.items()}
