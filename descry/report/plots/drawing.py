"""What every plot shares: size, style, colours that the colour-blind tell apart, and what marks whom."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from descry.report.measures import CONTROL_TEXTS

WIDTH = 8.0
DPI = 150
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#a0568a", "#6b6b6b"
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

CONTROL_STYLES: dict[str, dict[str, Any]] = {
    "random_directions": {"color": PURPLE, "marker": "o", "linestyle": "-."},
    "untrained_target": {"color": GREY, "marker": "D", "linestyle": ":"},
    "target_neurons": {"color": GREEN, "marker": "s", "linestyle": "--"},
}
"""Controls are hollow."""
for _name, _look in CONTROL_STYLES.items():
    _look |= {"markerfacecolor": "white", "markersize": 6, "label": CONTROL_TEXTS[_name][0]}
NULL_STYLES: dict[str, dict[str, Any]] = {
    "most_common": {"color": RED, "marker": "^", "linestyle": "--", "label": "null: most common"},
    "random_exemplars": {"color": RED, "marker": "v", "linestyle": ":", "label": "null: random exemplars"},
}
"""Nulls are red."""

PERCENT = FuncFormatter(lambda share, _: f"{100 * share:.3g} %")


@contextmanager
def use_style() -> Iterator[None]:
    """Draw in STYLE, whatever this machine's own settings are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE)
        yield


def save_png(figure: Figure) -> bytes:
    """The picture, WIDTH x DPI pixels wide; the same bytes for the same figure."""
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def start_figure(height: float) -> Figure:
    """An empty figure, height in inches."""
    return Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained", facecolor="white")


def shorten(name: str, longest: int = 28) -> str:
    """A name that fits beside an axis."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def add_legend(figure: Figure, axes: Axes, columns: int) -> None:
    """The axes' legend below the figure."""
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=columns)
