"""`descry compare OTHER`: what changed between two runs; or the measures of several, side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from descry.cli import _common
from descry.errors import InputError
from descry.results.changes import compare_many, compare_runs
from descry.results.columns import Folder

RUNS = {"here": "this run", "there": "other run"}
"""What the two runs are called in an answer, and in print."""
SHOWN = 10
"""Rows of a list that are printed; --json gives all."""
LEGEND = (
    "depth: mean of a descriptor's neurons, from 0 (first layer) to 1 (last); by chance: 95 % of it if the layers "
    "of the described neurons were shuffled."
)
VERDICTS = (
    "ahead, behind: by at least three standard deviations of the measure over other splits of the corpus; else tied."
)


def add_parser(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = _common.add_command(
        commands, "compare", "what changed between this run and another; or its measures beside several", run
    )
    parser.add_argument("others", type=Path, nargs="+", metavar="OTHER", help="the folder of another run")


def run(chosen: argparse.Namespace) -> int:
    """Run the command."""
    for number, other in enumerate(chosen.others):
        if other.resolve() == chosen.folder.resolve():
            raise InputError(f"{other}: this very run; name the folder of another one")
        if other.resolve() in [earlier.resolve() for earlier in chosen.others[:number]]:
            raise InputError(f"{other}: named twice; name every run once")
    here, *there = (Folder.of(folder) for folder in (chosen.folder, *chosen.others))
    if len(there) > 1:
        return _common.print_answer(chosen, compare_many([here, *there]), show_many)
    return _common.print_answer(chosen, compare_runs(here, *there), show)


def show(console: Console, answer: dict[str, Any]) -> None:
    """Print an answer."""
    if answer["settings"]:
        rows = [
            [_common.quote(row["key"]), *(_common.quote(repr(row[run])) for run in RUNS)] for row in answer["settings"]
        ]
        _common.show_table(console, ("setting", *RUNS.values()), rows, words=(0, 1, 2))
    else:
        console.print("same settings")
    console.print()
    _show_descriptors(console, answer["descriptors"])
    _show_neurons(console, answer["neurons"], answer["descriptors"]["carried"])
    rows = [
        [
            _common.quote(row["measure"]),
            _common.format_number(row["here"]),
            _common.format_chance(row["here_chance"]),
            _common.format_number(row["there"]),
            _common.format_chance(row["there_chance"]),
            _format_verdict(row["verdict"]),
        ]
        for row in answer["measures"]
    ]
    console.print()
    columns = ("measure", "this\nrun", _common.BY_CHANCE, "other\nrun", _common.BY_CHANCE, "this run is")
    _common.show_table(console, columns, rows)
    console.print(Text(VERDICTS, style=_common.WEAK))


def show_many(console: Console, answer: dict[str, Any]) -> None:
    """Print the measures of several runs."""
    runs = answer["runs"]
    for number, run in enumerate(runs):
        name = "this run" if number == 0 else f"run {number + 1}, {run['run']}"
        console.print(_common.quote(f"{name}: {run['described']:,} of {run['count']:,} neurons described"))
    console.print()
    rows = []
    for row in answer["measures"]:
        cells = [_common.quote(row["measure"])]
        for number, figures in enumerate(row["runs"]):
            cells += [_common.format_number(figures["value"]), _common.format_chance(figures["chance"])]
            cells += [_format_verdict(figures["verdict"])] if number else []
        rows.append(cells)
    columns = ["measure", "this\nrun", _common.BY_CHANCE]
    for number in range(2, len(runs) + 1):
        columns += [f"run {number}", _common.BY_CHANCE, "this\nrun is"]
    _common.show_table(console, columns, rows)
    console.print(Text(VERDICTS, style=_common.WEAK))


def _format_verdict(verdict: str | None) -> Text:
    """Whether the difference of a measure is more than the split's luck."""
    if verdict is None:
        return Text("–", style=_common.WEAK)
    return Text(verdict, style=_common.WEAK if verdict == "tied" else "bold")


def _show_descriptors(console: Console, descriptors: dict[str, Any]) -> None:
    console.print(f"{len(descriptors['kept'])} descriptors in both runs")
    for key, sign, style in (("lost", "-", "red"), ("gained", "+", "green")):
        if descriptors[key]:
            console.print(_common.quote(f"{sign} {key}: {', '.join(descriptors[key])}", style))
    console.print()


def _show_neurons(console: Console, neurons: dict[str, Any], carried: list[dict[str, Any]]) -> None:
    for run, name in RUNS.items():
        counts = [f"{neurons[f'{key}_{run}']:,}" for key in ("described", "count", "layers")]
        console.print("{}: {} of {} neurons described, in {} layers".format(name, *counts))
    if not neurons["matched"]:
        console.print("the runs have different neurons, which cannot be matched; their descriptors are compared\n")
        _show_carried(console, carried)
        return
    console.print(
        f"{len(neurons['only_here']):,} described only in this run, {len(neurons['only_there']):,} only in the other, "
        f"{len(neurons['renamed']):,} with different first descriptors"
    )
    for key, name in (("jaccard", "agreement of pairs (Jaccard)"), ("same_first", "same first descriptor")):
        figures = [f"{neurons[figure]:.3f}" for figure in (key, f"{key}_chance")]
        console.print(Text.assemble(f"{name}: ", (figures[0], "bold"), (f"  by chance {figures[1]}", _common.WEAK)))
    if neurons["renamed"]:
        rows = [
            [Text(f"{row['layer']}:{row['index']}"), _common.quote(row["here"]), _common.quote(row["there"])]
            for row in neurons["renamed"][:SHOWN]
        ]
        console.print()
        _common.show_table(console, ("neuron", *RUNS.values()), rows, words=(0, 1, 2))
        _show_more(console, len(neurons["renamed"]))


def _show_carried(console: Console, carried: list[dict[str, Any]]) -> None:
    """Print descriptors by how much the share of neurons with them differs, and how deep those neurons lie."""
    ordered = sorted(carried, key=lambda row: -abs(row["neurons_here"] - row["neurons_there"]))
    rows = [
        [
            _common.quote(row["descriptor"]),
            *(_common.format_number(row[f"neurons_{run}"]) for run in RUNS),
            *(cell for run in RUNS for cell in _make_depth_cells(row, run)),
        ]
        for row in ordered[:SHOWN]
    ]
    columns = ("share of\nneurons", "other\nrun", "depth", _common.BY_CHANCE, "depth\nother run", _common.BY_CHANCE)
    _common.show_table(console, ("descriptor", *columns), rows)
    _show_more(console, len(carried))
    console.print(Text(LEGEND, style=_common.WEAK))


def _make_depth_cells(row: dict[str, Any], run: str) -> tuple[Text, Text]:
    """A descriptor's depth in a run, and its range by chance."""
    low, high = row[f"depth_low_{run}"], row[f"depth_high_{run}"]
    known = low is not None and high is not None
    return _common.format_number(row[f"depth_{run}"], 2), Text(f"{low:.2f}–{high:.2f}" if known else "–", _common.WEAK)


def _show_more(console: Console, count: int) -> None:
    if count > SHOWN:
        console.print(Text(f"and {count - SHOWN:,} more; --json gives all", style=_common.WEAK))
