"""`descry neuron 4:812`: a neuron's descriptors and its strongest sentences."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from descry.cli import _common
from descry.errors import InputError
from descry.results import columns
from descry.results.columns import Columns, Folder
from descry.splits import SPLITS

JUDGED = ("whose", "description", "auroc", "auroc_swapped", "auroc_descriptor")
"""Columns of the table `judged` that are shown of a neuron."""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = _common.add_command(commands, "neuron", "a neuron's descriptors and its strongest sentences", run)
    parser.add_argument("neuron", metavar="LAYER:INDEX", help="layer, from 1, and index, from 0")
    parser.add_argument(
        "--count", type=_common.parse_positive, default=5, help="sentences of each split to show (default: %(default)s)"
    )


def run(chosen: argparse.Namespace) -> int:
    """Run the command."""
    match = re.fullmatch(r"(\d{1,6}):(\d{1,9})", chosen.neuron)
    if not match:
        raise InputError(f"neuron '{chosen.neuron}': not LAYER:INDEX; write it as 4:812")
    layer, index = map(int, match.groups())
    return _common.print_answer(chosen, answer(Folder.of(chosen.folder), layer, index, chosen.count), show)


def answer(folder: Folder, layer: int, index: int, count: int) -> dict[str, Any]:
    """Gather what the run says of a neuron. Errors: InputError if there is no such neuron."""
    row = columns.find_neuron(folder, layer, index)
    negative = columns.read_further(folder, "negative") is not None
    return {
        "layer": layer,
        "index": index,
        **{name: float(folder.part("calibration", name, row)) for name in ("mean", "std", "maximum")},
        **_gather_end(folder, layer, index, count, "positive"),
        "driven": columns.find_further_row(folder, "triggers", layer=layer, index=index),
        "writes": columns.find_further_row(folder, "writes", layer=layer, index=index),
        "negative": _gather_end(folder, layer, index, count, "negative") if negative else None,
        "judged": [
            {name: row[name] for name in JUDGED}
            for row in columns.find_further_rows(folder, "judged", layer=layer, index=index)
        ],
    }


def _gather_end(folder: Folder, layer: int, index: int, count: int, end: str) -> dict[str, Any]:
    """The descriptors and exemplars of an end of a neuron, and `written`: for each descriptor the AUROC of its words
    among the tokens that the neuron promotes there (None without any such token), empty if the target writes none."""

    def choose(table: Columns) -> np.ndarray:
        return np.asarray((table["layer"] == layer) & (table["index"] == index))

    pairs = columns.list_records(columns.read_pairs(folder, choose, end))
    table = columns.read_further(folder, "written_pairs")
    own = {} if table is None else columns.take_rows(table, choose(table) & (table["end"] == end))
    written = {row["descriptor"]: row["auroc"] for row in columns.list_records(own)} if own else {}
    sentences = columns.list_records(columns.read_exemplars(folder, layer, index, count, end))
    return {
        "descriptors": pairs,
        "written": written,
        "exemplars": {split: [row for row in sentences if row["split"] == split] for split in SPLITS},
    }


def show(console: Console, answer: dict[str, Any]) -> None:
    """Print an answer."""
    count = len(answer["descriptors"])
    title = f"neuron {answer['layer']}:{answer['index']}"
    descriptors = f"{count} descriptor{'' if count == 1 else 's'}" if count else "no descriptor"
    if answer["negative"] is not None:
        descriptors += f", {len(answer['negative']['descriptors'])} at its negative end"
    console.print(
        Text.assemble((title, "bold"), f"  {descriptors}; mean {answer['mean']:.3f}, std {answer['std']:.3f}")
    )
    _show_descriptors(console, answer["descriptors"])
    if answer["driven"] is not None:
        console.print()
        console.print(_describe_words(answer["driven"]))
    if answer["judged"]:
        console.print()
        for row in answer["judged"]:
            console.print(_describe_judged(row))
    if answer["writes"] is not None:
        console.print()
        for line in _describe_tokens(answer):
            console.print(line)
    _show_exemplars(console, answer["exemplars"], "strongest")
    if answer["negative"] is not None:
        console.print()
        console.print(Text("negative end", style="bold"))
        _show_descriptors(console, answer["negative"]["descriptors"])
        _show_exemplars(console, answer["negative"]["exemplars"], "most negative")


def _show_descriptors(console: Console, descriptors: list[dict[str, Any]]) -> None:
    if descriptors:
        console.print()
        _common.show_table(console, _common.PAIR, map(_common.pair_cells, descriptors))
        console.print(Text(_common.LEGEND, style=_common.WEAK))


def _show_exemplars(console: Console, exemplars: dict[str, list[dict[str, Any]]], which: str) -> None:
    for split, rows in exemplars.items():
        cells = [
            (
                _common.format_number(row["activation"]),
                _common.quote(row["text"]),
                _common.quote(row["product"], _common.WEAK),
            )
            for row in rows
        ]
        console.print()
        _common.show_table(console, ("activation", f"{which} sentences of {split}", "product"), cells, words=(1, 2))


def _describe_tokens(answer: dict[str, Any]) -> Iterator[Text]:
    """Which tokens a neuron promotes and suppresses, and how far its descriptors' words are among them."""
    for title, which in (("promotes  ", "promoted"), ("suppresses", "suppressed")):
        yield Text(f"{title} ") + _common.quote(" ".join(f'"{token}"' for token in answer["writes"][which]))
    ends = [("", answer["written"]), (" at its negative end", (answer["negative"] or {}).get("written", {}))]
    for where, written in ends:
        named = ", ".join(f"{name} {auroc:.2f}" for name, auroc in written.items() if auroc is not None)
        if named:
            text = f"words of its descriptors among the tokens that it promotes{where} (AUROC, by chance 0.5): {named}"
            yield _common.quote(text, _common.WEAK)


def _describe_judged(row: dict[str, Any]) -> Text:
    """A description in free text, beside others'."""
    beside = [f"{row['auroc']:.2f}", f"of other neurons' texts {row['auroc_swapped']:.2f}"]
    if row["auroc_descriptor"] is not None:
        beside.append(f"of its descriptor's name {row['auroc_descriptor']:.2f}")
    figures = f"  {row['whose']}; AUROC on validation {', '.join(beside)}"
    return _common.quote(f"in free text: {row['description']}") + _common.quote(figures, _common.WEAK)


def _describe_words(row: dict[str, Any]) -> Text:
    """Which words drive a neuron, from its row of the table of triggers."""
    words = ", ".join(f"{word} ({share:.0%})" for word, share in zip(row["words"], row["shares"], strict=True))
    text = (
        f"driven by {words}" if row["class"] != "contextual" else f"driven by no word; those that carry most: {words}"
    )
    if row["pattern"]:
        text += f"; by words like {row['pattern']} ({row['pattern_share']:.0%})"
    validation = "too" if row["class"] == row["validation_class"] else f": {row['validation_class']}"
    correlation = f"there the words correlate with the activation at {row['pearson']:.2f}"
    classes = f"  {row['class']}, on validation {validation}; {correlation}"
    return _common.quote(text) + _common.quote(classes, _common.WEAK)
