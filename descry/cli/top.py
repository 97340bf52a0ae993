"""`descry top --layer 5`: the strongest pairs of a neuron and a descriptor."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from descry.cli import _common
from descry.cli.descriptor import find_descriptor
from descry.errors import InputError
from descry.results import columns
from descry.results.columns import Columns, Folder

KEYS = {"p": "p", "q": "q", "lift": "lift", "composition": "composition", "correlation": "pearson"}
SMALLEST_FIRST = ("p", "q")


def add_parser(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = _common.add_command(commands, "top", "the strongest pairs of a neuron and a descriptor", run)
    parser.add_argument("--layer", type=int, help="only pairs of this layer")
    parser.add_argument("--descriptor", metavar="NAME", help="only pairs with this descriptor")
    parser.add_argument("--by", choices=KEYS, default="p", help="what to rank pairs by (default: %(default)s)")
    parser.add_argument("--count", type=_common.parse_positive, default=20, help="pairs to show (default: %(default)s)")


def run(chosen: argparse.Namespace) -> int:
    """Run the command."""
    folder = Folder.of(chosen.folder)
    return _common.print_answer(chosen, answer(folder, chosen.layer, chosen.descriptor, chosen.by, chosen.count), show)


def answer(folder: Folder, layer: int | None, descriptor: str | None, by: str, count: int) -> dict[str, Any]:
    """Gather the strongest pairs. Errors: InputError if there is no such layer or descriptor."""
    pairs = columns.read_assigned(folder, "calibration")
    chosen = np.ones(len(pairs["layer"]), dtype=bool)
    if layer is not None:
        layers = np.unique(columns.read_neurons(folder)["layer"]).tolist()
        if layer not in layers:
            raise InputError(f"layer {layer}: there is none in {folder.root}; there are {', '.join(map(str, layers))}")
        chosen &= pairs["layer"] == layer
    if descriptor is not None:
        chosen &= pairs["descriptor"] == find_descriptor(folder, descriptor)["name"]
    pairs = columns.take_rows(pairs, chosen)
    if by == "correlation":
        pairs = columns.join_validation(folder, pairs)
    best = columns.take_rows(pairs, _rank(pairs, KEYS[by])[:count])
    shown = best if by == "correlation" else columns.join_validation(folder, best)
    return {"by": by, "of": len(pairs["layer"]), "pairs": columns.list_records(shown)}


def _rank(pairs: Columns, key: str) -> np.ndarray:
    """Rows, the strongest first."""
    return np.argsort(pairs[key] if key in SMALLEST_FIRST else -pairs[key], kind="stable")


def show(console: Console, answer: dict[str, Any]) -> None:
    """Print an answer."""
    order = "smallest" if answer["by"] in SMALLEST_FIRST else "largest"
    console.print(f"{len(answer['pairs']):,} of {answer['of']:,} pairs, {order} {answer['by']} first\n")
    cells = (
        [Text(f"{row['layer']}:{row['index']}"), *_common.pair_cells({**row, "place": 1})] for row in answer["pairs"]
    )
    _common.show_table(console, ("neuron", *_common.PAIR), cells, words=(0, 1))
    console.print(Text(_common.LEGEND, style=_common.WEAK))
