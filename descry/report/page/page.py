"""The page: one HTML file that needs nothing else; everything from the data is escaped."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import pandas as pd
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from descry.report import words
from descry.report.content import Content
from descry.report.figures import quality
from descry.report.figures.headlines import make_headlines
from descry.report.figures.yardsticks import compare_controls, describe_directions
from descry.report.measures import CONTROL_TEXTS, NULL_TEXTS, Level, group_scores
from descry.report.page.csv import write_csv
from descry.report.page.pieces import pack, pack_all

PLOTS = {
    "layers": "How many neurons of each layer have a description, beside what random exemplars would give.",
    "at_k": "How often an unseen sentence's first guesses are right, and how much they find, beside chance.",
    "descriptors": "The descriptors that most neurons carry, and how many sentences bear them.",
    "threshold": "The same measures as the least composition rises: the share of a neuron's sentences that must bear "
    "the descriptor. Under enrichment it comes on top of that rule. A curve ends where no neuron is described; "
    "sentences then get the most common. Marks of chance are filled under enrichment, open under composition.",
    "exemplars": "The same measures for fewer and more sentences a neuron.",
    "p_values": "How unlikely each pair of a neuron and a descriptor is. Without any tie between them the bars would "
    "all reach the dotted line; a bar on the left are pairs too frequent for chance, on the right too rare.",
    "pooling": "The same measures for each way of pooling a sentence's tokens; red marks: chance.",
}
"""The plots of the page in order, each with its caption; those that were not drawn are left out."""

SHOWN = 3
"""Plots that are shown without asking."""

SCRIPTS = (
    *(f"vendor/{name}.js" for name in ("preact", "hooks", "htm")),
    *(f"app/{name}.js" for name in ("data", "parts", "neurons", "descriptors", "map", "beyond", "examples", "page")),
)
"""The page's script in order: Preact and htm (their licences lie beside them), then our own."""


def _text(name: str) -> str:
    return files("descry.report").joinpath(name).read_text(encoding="utf-8")


def _bounds(level: Level, count: bool = False) -> str:
    """The interval of a level, where it is one."""
    return words.format_interval(level.low, level.high, lambda bound: words.format_measure(bound, count))


def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(_text),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "whole": words.format_count,
        "percent": words.format_percent,
        "chance": words.format_p,
        "times": words.format_ratio,
        "measure": words.format_measure,
        "signed": words.format_signed,
        "bounds": _bounds,
    }
    return environment


def _overview(run: Content) -> dict[str, Any]:
    sides = {"calibration": run.calibration, "validation": run.validation}
    return {
        "reviews": {name: int(side.sentences["review_id"].nunique()) for name, side in sides.items()},
        "sentences": {name: len(side.sentences) for name, side in sides.items()},
        "target": run.target,
        "neurons": len(run.layer),
        "layers": len(run.layers),
        "descriptors": len(run.names),
        "pooling": run.pooling,
        "exemplars": run.calibration.rows.shape[1],
        "when": words.describe_rule(run.rule),
    }


def _picture(name: str, caption: str, png: bytes) -> tuple[str, str, str, int, int]:
    """A plot with its caption, as base64, with its width and height in pixels."""
    width, height = struct.unpack(">II", png[16:24])
    return name, caption, base64.b64encode(png).decode(), width, height


def _had(run: Content, names: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Those of NULLS or CONTROLS that stand beside any measure."""
    drawn = {null for measure in run.figures.values() for null in measure.levels}
    return {name: text for name, text in names.items() if name in drawn}


def _downloads(run: Content, tables: Mapping[str, pd.DataFrame]) -> str:
    """The tables that are part of the page itself, as CSV, in a piece."""
    found = {
        "layers": tables["layers"],
        "measures": pd.concat([run.consistency, run.evaluation]),
        "aspects": run.aspects,
        "confusion": run.confusion,
        "agreement": run.agreement,
    }
    return pack({}, {name: write_csv(table).decode() for name, table in found.items()})


def render_page(
    run: Content, tables: Mapping[str, pd.DataFrame], pictures: Mapping[str, bytes], *, exemplars: int
) -> str:
    """The page as HTML. tables: those of content; pictures: name -> PNG, embedded as they are; exemplars: sentences
    shown of each neuron and split."""
    script = "\n".join(map(_text, SCRIPTS))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    compared = compare_controls(run)
    matched = quality.list_aspect_rows(run.aspects)
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            style=Markup(_text("page.css")),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            script_hash=digest,
            run=_overview(run),
            beyond=any(len(table) for table in (run.beyond.triggers, run.beyond.transfer, run.beyond.ablation)),
            groups=make_headlines(run),
            compared=compared,
            directions=describe_directions(compared),
            plots=[_picture(name, caption, pictures[name]) for name, caption in PLOTS.items() if name in pictures],
            layers=tables["layers"].to_dict("records"),
            shown_plots=SHOWN,
            pieces=pack_all(run, exemplars) | {"tables": _downloads(run, tables)},
            aspects=matched,
            confusion=quality.arrange_confusion(run.confusion, matched),
            agreement=run.agreement.sort_values("positives", ascending=False, kind="stable").to_dict("records"),
            blocks=list(group_scores(run.figures)),
            nulls=_had(run, NULL_TEXTS),
            controls=_had(run, CONTROL_TEXTS),
        )
    )
