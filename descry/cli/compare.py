"""`descry compare OTHER`: what changed between two runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from descry.cli import _common
from descry.errors import InputError
from descry.results.changes import compare_runs
from descry.results.columns import Folder

SHOWN = 10
"""Rows of a list that are shown; --json gives all."""
DEPTH = (
    "depth: of a descriptor's neurons in the mean, 0 the first layer, 1 the last; by chance: 95 % of it were the "
    "described neurons' layers shuffled."
)


def add_parser(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = _common.parser(commands, "compare", "what changed between this run and another", run)
    parser.add_argument("other", type=Path, metavar="OTHER", help="the folder of another run")


def run(chosen: argparse.Namespace) -> int:
    """Run the command."""
    if chosen.other.resolve() == chosen.folder.resolve():
        raise InputError(f"{chosen.other}: this very run; name the folder of another one")
    return _common.tell(chosen, compare_runs(Folder.of(chosen.folder), Folder.of(chosen.other)), show)


def show(console: Console, answer: dict[str, Any]) -> None:
    """Print an answer."""
    if answer["settings"]:
        rows = [
            [_common.plain(one["key"]), *(_common.plain(repr(one[where])) for where in ("here", "there"))]
            for one in answer["settings"]
        ]
        _common.show_table(console, ("setting", "here", "there"), rows, words=(0, 1, 2))
    else:
        console.print("the same settings")
    console.print()
    _show_descriptors(console, answer["descriptors"])
    _show_neurons(console, answer["neurons"], answer["descriptors"]["carried"])
    rows = [
        [
            _common.plain(row["measure"]),
            _common.number(row["here"]),
            _common.chance(row["here_chance"]),
            _common.number(row["there"]),
            _common.chance(row["there_chance"]),
        ]
        for row in answer["measures"]
    ]
    console.print()
    _common.show_table(console, ("measure", "here", _common.BY_CHANCE, "there", _common.BY_CHANCE), rows)


def _show_descriptors(console: Console, found: dict[str, Any]) -> None:
    console.print(f"{len(found['kept'])} descriptors in both")
    for key, sign, style in (("lost", "-", "red"), ("gained", "+", "green")):
        if found[key]:
            console.print(_common.plain(f"{sign} {key}: {', '.join(found[key])}", style))
    console.print()


def _show_neurons(console: Console, found: dict[str, Any], carried: list[dict[str, Any]]) -> None:
    for where in ("here", "there"):
        counts = [f"{found[f'{name}_{where}']:,}" for name in ("described", "count", "layers")]
        console.print("{}: {} of {} neurons described, in {} layers".format(where, *counts))
    if not found["matched"]:
        console.print("the targets have other neurons, which cannot be matched: descriptors are compared\n")
        _show_carried(console, carried)
        return
    console.print(
        f"{len(found['only_here']):,} described here alone, {len(found['only_there']):,} there alone, "
        f"{len(found['renamed']):,} with another first descriptor"
    )
    for key, name in (("jaccard", "pairs that agree (Jaccard)"), ("same_first", "same first descriptor")):
        figures = [f"{found[other]:.3f}" for other in (key, f"{key}_chance")]
        console.print(Text.assemble(f"{name}: ", (figures[0], "bold"), (f"  by chance {figures[1]}", _common.WEAK)))
    if found["renamed"]:
        rows = [
            [Text(f"{row['layer']}:{row['index']}"), _common.plain(row["here"]), _common.plain(row["there"])]
            for row in found["renamed"][:SHOWN]
        ]
        console.print()
        _common.show_table(console, ("renamed", "here", "there"), rows, words=(0, 1, 2))
        _show_more(console, len(found["renamed"]))


def _show_carried(console: Console, carried: list[dict[str, Any]]) -> None:
    """Descriptors by what share of the neurons carries them in either run, and how deep those lie."""
    ordered = sorted(carried, key=lambda row: -abs(row["neurons_here"] - row["neurons_there"]))
    rows = [
        [
            _common.plain(row["descriptor"]),
            *(_common.number(row[f"neurons_{where}"]) for where in ("here", "there")),
            *(cell for where in ("here", "there") for cell in _depth_cells(row, where)),
        ]
        for row in ordered[:SHOWN]
    ]
    columns = ("share of\nneurons", "there", "depth", _common.BY_CHANCE, "depth\nthere", _common.BY_CHANCE)
    _common.show_table(console, ("descriptor", *columns), rows)
    _show_more(console, len(carried))
    console.print(Text(DEPTH, style=_common.WEAK))


def _depth_cells(row: dict[str, Any], where: str) -> tuple[Text, Text]:
    """How deep a descriptor lies in a run, and between what chance would put it."""
    low, high = row[f"depth_low_{where}"], row[f"depth_high_{where}"]
    known = low is not None and high is not None
    return _common.number(row[f"depth_{where}"], 2), Text(f"{low:.2f}–{high:.2f}" if known else "–", _common.WEAK)


def _show_more(console: Console, count: int) -> None:
    if count > SHOWN:
        console.print(Text(f"and {count - SHOWN:,} more; all with --json", style=_common.WEAK))
