"""The page: one HTML file that needs nothing else; everything from the data is escaped."""

from __future__ import annotations

import base64
import hashlib
import struct
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from descry.report import words
from descry.report.content import Content, tabulate_carriers, tabulate_pairs
from descry.report.figures import quality
from descry.report.figures.controls import JUDGED, compare_controls, describe_controls
from descry.report.figures.headline import format_bounds, list_controls
from descry.report.figures.headlines import is_circular, make_headlines
from descry.report.figures.layers import list_bands
from descry.report.figures.strongest import select_strongest
from descry.report.figures.trust import select_trusted, summarize_trust
from descry.report.measures import NULL_TEXTS, Level, group_scores
from descry.report.page.csv import write_csv
from descry.report.page.pieces import pack, pack_all

PLOTS = {
    "layers": "Neurons of each layer that have a descriptor, beside the controls and random exemplars.",
    "at_k": "Precision@k and recall@k on unseen sentences, beside the controls and the nulls.",
    "descriptors": "The descriptors that most neurons have, and how many sentences bear them.",
    "threshold": "The measures as the composition threshold rises: the share of a neuron's exemplars that must bear "
    "the descriptor. Under enrichment it comes on top of that rule. A curve ends where no neuron is described; votes "
    "on sentences then fall back on the most common descriptors. Marks of the nulls are filled under enrichment, open "
    "under composition.",
    "exemplars": "The measures for fewer and more exemplars a neuron.",
    "p_values": "The p values of all pairs of a neuron and a descriptor. Without any association the bars would all "
    "reach the dotted line; bars on the left are pairs that co-occur more often than by chance, on the right less "
    "often.",
    "pooling": "The measures for each pooling of a sentence's tokens; red marks: the nulls.",
}
"""The plots of the page in order, each with its caption; those that were not drawn are left out."""

SHOWN = 3
"""Plots that are shown at once; the others unfold."""

SCRIPTS = (
    *(f"vendor/{name}.js" for name in ("preact", "hooks", "htm")),
    *(f"app/{name}.js" for name in ("data", "parts", "neurons", "descriptors", "map", "beyond", "examples", "page")),
)
"""The page's script in order: Preact and htm (their licences lie beside them), then our own."""


def _read_template(name: str) -> str:
    return files("descry.report.page").joinpath(name).read_text(encoding="utf-8")


def _read_script(name: str) -> str:
    return files("descry.report").joinpath(name).read_text(encoding="utf-8")


def _format_bounds(level: Level, count: bool = False) -> str:
    """The interval of a level, where it is one."""
    return words.format_interval(level.low, level.high, lambda bound: words.format_measure(bound, count))


def _make_environment() -> Environment:
    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(_read_template),
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
        "bounds": _format_bounds,
        "share_bounds": format_bounds,
    }
    return environment


def _summarize_run(run: Content) -> dict[str, Any]:
    """What was described, and how."""
    splits = {"calibration": run.calibration, "validation": run.validation}
    sizes = {int(np.sum(run.layer == layer)) for layer in run.layers}
    return {
        "reviews": {name: int(split.sentences["review_id"].nunique()) for name, split in splits.items()},
        "sentences": {name: len(split.sentences) for name, split in splits.items()},
        "target": run.target,
        "neurons": len(run.layer),
        "units": run.units,
        "layers": len(run.layers),
        "width": sizes.pop() if len(sizes) == 1 else None,
        "descriptors": len(run.names),
        "labeller": words.describe_labeller(run.labellers[0]),
        "circular": is_circular(run),
        "when": words.describe_rule(run.rule, run.pooling),
    }


def _summarize_findings(run: Content) -> dict[str, float]:
    """How many neurons have a descriptor, how many pairs there are, and the median of their correlations (NaN without
    any)."""
    pairs = tabulate_pairs(run)
    neurons = pairs["neuron"].nunique()
    share = neurons / max(len(run.layer), 1)
    return {"neurons": neurons, "share": share, "pairs": len(pairs), "median": float(pairs["pearson"].median())}


def _embed_picture(name: str, caption: str, png: bytes) -> tuple[str, str, str, int, int]:
    """A plot with its caption, as base64, with its width and height in pixels."""
    width, height = struct.unpack(">II", png[16:24])
    return name, caption, base64.b64encode(png).decode(), width, height


def _pack_downloads(run: Content, tables: Mapping[str, pd.DataFrame]) -> str:
    """The tables that are part of the page itself, as CSV, in a piece."""
    downloads = {
        "layers": tables["layers"],
        "measures": pd.concat([run.consistency, run.evaluation, run.beyond.measures]),
        "aspects": run.aspects,
        "confusion": run.confusion,
        "agreement": run.agreement,
    }
    return pack({}, {name: write_csv(table).decode() for name, table in downloads.items()})


def render_page(
    run: Content, tables: Mapping[str, pd.DataFrame], pictures: Mapping[str, bytes], *, exemplars: int
) -> str:
    """The page as HTML. tables: those of `tabulate_series`; pictures: name -> PNG, embedded as they are; exemplars:
    sentences shown of each neuron and split."""
    script = "\n".join(map(_read_script, SCRIPTS))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    compared, trusted = compare_controls(run), select_trusted(run)
    matched = quality.list_aspect_rows(run.aspects)
    measured = {null for score in run.scores.values() for null in score.levels}
    return (
        _make_environment()
        .get_template("page.html.jinja")
        .render(
            style=Markup(_read_template("page.css")),  # noqa: S704 - our own file
            script=Markup(script),  # noqa: S704 - our own file
            script_hash=digest,
            run=_summarize_run(run),
            described=_summarize_findings(run),
            units=select_strongest(run),
            bands=list_bands(tables["layers"], tabulate_carriers(run)),
            trust=trusted,
            summary=summarize_trust(trusted),
            beyond=any(len(table) for table in (run.beyond.triggers, run.beyond.transfer, run.beyond.ablation)),
            groups=make_headlines(run),
            compared=compared,
            findings=describe_controls(compared),
            judged=[name for name in JUDGED if any(name in row.verdicts for row in compared)],
            plots=[_embed_picture(name, text, pictures[name]) for name, text in PLOTS.items() if name in pictures],
            layers=tables["layers"].to_dict("records"),
            shown_plots=SHOWN,
            pieces=pack_all(run, exemplars) | {"tables": _pack_downloads(run, tables)},
            aspects=matched,
            confusion=quality.arrange_confusion(run.confusion, matched),
            agreement=run.agreement.sort_values("positives", ascending=False, kind="stable").to_dict("records"),
            blocks=list(group_scores(run.scores)),
            nulls={name: text for name, text in NULL_TEXTS.items() if name in measured},
            controls=list_controls(run),
        )
    )
