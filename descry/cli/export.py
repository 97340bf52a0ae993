"""`descry export --to TOOL FOLDER`: the run's descriptions as files that other tools read."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from descry.cli import _common
from descry.results.columns import Folder

TARGETS = ("csv", "delphi", "neuronpedia", "circuit-tracer")


def add_parser(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = _common.add_command(commands, "export", "the run's descriptions as files of other tools", run)
    parser.add_argument("--to", choices=TARGETS, required=True, help="whose files to write")
    parser.add_argument("out", type=Path, metavar="OUT", help="a new folder; nothing is uploaded")


def run(chosen: argparse.Namespace) -> int:
    """Run the command."""
    from descry.judging.export import export

    files = export(Folder.of(chosen.folder), chosen.to, chosen.out)
    return _common.print_answer(chosen, {"to": chosen.to, "files": [str(file) for file in files]}, show)


def show(console: Console, answer: dict[str, Any]) -> None:
    """Print an answer."""
    files = answer["files"]
    console.print(_common.quote(f"{len(files):,} file{'s' if len(files) != 1 else ''} for {answer['to']}: {files[0]}"))
