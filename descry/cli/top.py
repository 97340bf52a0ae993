"""`descry top --layer 5`: the strongest pairs of a neuron and a descriptor."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from descry.cli import _common
from descry.cli.descriptor import known
from descry.errors import InputError
from descry.results import columns
from descry.results.columns import Columns, Folder

KEYS = {"p": "p", "q": "q", "lift": "lift", "composition": "composition", "correlation": "pearson"}
SMALLEST_FIRST = ("p", "q")


def add_parser(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = _common.parser(commands, "top", "the strongest pairs of a neuron and a descriptor", run)
    parser.add_argument("--layer", type=int, help="of this layer alone")
    parser.add_argument("--descriptor", metavar="NAME", help="with this descriptor alone")
    parser.add_argument("--by", choices=KEYS, default="p", help="what is strong (%(default)s)")
    parser.add_argument("--count", type=_common.positive, default=20, help="pairs shown (%(default)s)")


def run(chosen: argparse.Namespace) -> int:
    """Run the command."""
    folder = Folder.of(chosen.folder)
    return _common.tell(chosen, answer(folder, chosen.layer, chosen.descriptor, chosen.by, chosen.count), show)


def answer(folder: Folder, layer: int | None, descriptor: str | None, by: str, count: int) -> dict[str, Any]:
    """The strongest pairs. Errors: InputError where there is no such layer or descriptor."""
    found = columns.read_assigned(folder, "calibration")
    chosen = np.ones(len(found["layer"]), dtype=bool)
    if layer is not None:
        layers = np.unique(columns.read_neurons(folder)["layer"]).tolist()
        if layer not in layers:
            raise InputError(f"layer {layer}: there is none in {folder.root}; there are {', '.join(map(str, layers))}")
        chosen &= found["layer"] == layer
    if descriptor is not None:
        chosen &= found["descriptor"] == known(folder, descriptor)["name"]
    found = columns.take_rows(found, chosen)
    if by == "correlation":
        found = columns.join_validation(folder, found)
    best = columns.take_rows(found, _strongest(found, KEYS[by])[:count])
    shown = best if by == "correlation" else columns.join_validation(folder, best)
    return {"by": by, "of": len(found["layer"]), "pairs": columns.list_records(shown)}


def _strongest(found: Columns, key: str) -> np.ndarray:
    return np.argsort(found[key] if key in SMALLEST_FIRST else -found[key], kind="stable")


def show(console: Console, answer: dict[str, Any]) -> None:
    """Print an answer."""
    order = "smallest" if answer["by"] in SMALLEST_FIRST else "largest"
    console.print(f"{len(answer['pairs']):,} of {answer['of']:,} pairs, {order} {answer['by']} first\n")
    cells = (
        [Text(f"{row['layer']}:{row['index']}"), *_common.pair_cells({**row, "place": 1})] for row in answer["pairs"]
    )
    _common.show_table(console, ("neuron", *_common.PAIR), cells, words=(0, 1))
    console.print(Text(_common.LEGEND, style=_common.WEAK))
