"""`descry judge FILE`: descriptions of units, scored on held-out sentences beside other units' descriptions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from descry.cli import _common
from descry.results.columns import Folder, list_records

LEGEND = (
    "own: the unit's own description; swapped: descriptions of other units of its layer; lift: own minus swapped, with "
    "95 % over units (0 if descriptions say nothing of their units); random: random sentences; descriptor: the run's "
    "best descriptor; r: correlation of own and swapped over units (near 1 if scores are the unit's, not the "
    "description's)"
)
TITLES = {
    "auroc": "AUROC",
    "average_precision": "average precision",
    "correlation": "correlation",
    "detection": "detection",
}


def add_parser(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = _common.add_command(commands, "judge", "descriptions of units, scored beside chance", run)
    parser.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="csv with layer, unit, description, or another tool's file or folder (default: the run's own)",
    )


def run(chosen: argparse.Namespace) -> int:
    """Run the command."""
    return _common.print_answer(chosen, answer(Folder.of(chosen.folder), chosen.file), show)


def answer(folder: Folder, file: Path | None) -> dict[str, Any]:
    """Judge a file's descriptions, or the run's own. Errors: InputError for a file that cannot be judged."""
    from descry.judging.descriptions import read_descriptions
    from descry.judging.held_out import describe_units, judge_run
    from descry.judging.judge import summarise

    descriptions = describe_units(folder) if file is None else read_descriptions(file)
    table = judge_run(folder, descriptions)
    units = list_records({str(name): values.to_numpy() for name, values in table.items()})
    return {"descriptions": len(descriptions.rows), "summary": summarise(table), "units": units}


def show(console: Console, answer: dict[str, Any]) -> None:
    """Print an answer."""
    summary = answer["summary"]
    console.print(f"{summary['units']:,} of {answer['descriptions']:,} descriptions judged on held-out sentences\n")
    cells = []
    for name, title in TITLES.items():
        score = summary[name]
        cells.append(
            [
                Text(title),
                _common.format_number(score["own"]),
                _common.format_chance(score["swapped"]),
                Text(f"{score['lift']:+.3f} [{score['low']:+.3f}, {score['high']:+.3f}]", style=_common.STRONG),
                _common.format_chance(score["random"]),
                _common.format_number(score["descriptor"]),
                _common.format_number(score["true_swapped_correlation"], 2),
            ]
        )
    _common.show_table(console, ("score", "own", "swapped", "lift", "random", "descriptor", "r"), cells)
    if summary["first_of_100"] is not None:
        share = 100 * summary["first_of_100"]
        console.print(f"\nown description first among 100 of its layer: {share:.1f} % of units (by chance 1 %)")
    console.print(Text(LEGEND, style=_common.WEAK))
