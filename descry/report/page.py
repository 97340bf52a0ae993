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
from descry.report.cards import REPLICATES, cards
from descry.report.content import MEASURES, Run, measure_rows

PLOTS = {
    "layers": "How many neurons of each layer have a description, beside what random exemplars would give.",
    "at_k": "How often an unseen sentence's first guesses are right, and how much they find, beside chance.",
    "descriptors": "The descriptors that most neurons carry, and how many sentences bear them.",
    "map": "Which descriptors live in which layers; those nearest the input come first.",
}
"""The plots of the page in order, each with its caption."""


def _text(name: str) -> str:
    return files("descry.report").joinpath(name).read_text(encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(_text),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "whole": words.whole,
        "percent": words.percent,
        "chance": words.chance,
        "times": words.times,
        "measure": words.measure,
    }
    return environment


def _overview(run: Run) -> dict[str, Any]:
    sides = {"calibration": run.calibration, "validation": run.validation}
    return {
        "reviews": {name: int(side.sentences["review_id"].nunique()) for name, side in sides.items()},
        "sentences": {name: len(side.sentences) for name, side in sides.items()},
        "target": run.target,
        "neurons": len(run.layer),
        "layers": len(run.layers),
        "pooling": run.pooling,
        "exemplars": run.calibration.rows.shape[1],
        "when": words.assigned_when(run.rule),
    }


def _picture(name: str, caption: str, png: bytes) -> tuple[str, str, str, int, int]:
    """A plot with its caption, as base64, with its width and height in pixels."""
    width, height = struct.unpack(">II", png[16:24])
    return name, caption, base64.b64encode(png).decode(), width, height


def _by_layer(layers: pd.DataFrame) -> list[dict[str, Any]]:
    splits = {str(split): part for split, part in layers.groupby("split")}
    rows = splits["calibration"][["layer", "neurons"]].to_dict("records")
    for name, part in splits.items():
        for row, described, share in zip(rows, part["described"], part["share"], strict=True):
            row[name] = (described, share)
    return [{str(key): value for key, value in row.items()} for row in rows]


def render(
    run: Run,
    tables: Mapping[str, pd.DataFrame],
    pictures: Mapping[str, bytes],
    *,
    neurons: int,
    exemplars: int,
) -> str:
    """The page as HTML. tables: those of content; pictures: name -> PNG, embedded as they are.

    neurons: how many are shown for each descriptor; exemplars: sentences shown for each of those and split.
    """
    script = _text("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    dealt = cards(run, neurons=neurons, exemplars=exemplars)
    return (
        _environment()
        .get_template("page.html.jinja")
        .render(
            style=Markup(_text("page.css")),
            script=Markup(script),
            script_hash=digest,
            run=_overview(run),
            groups=words.headlines(run),
            plots=[_picture(name, caption, pictures[name]) for name, caption in PLOTS.items()],
            layers=_by_layer(tables["layers"]),
            layer_numbers=run.layers,
            cards=dealt,
            shown=neurons,
            level=REPLICATES,
            measures=[(title, measure_rows(run.evaluation, path)) for path, title in MEASURES.items()],
            consistency=run.consistency,
        )
    )
