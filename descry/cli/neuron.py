"""`descry neuron 4:812`: a neuron's descriptors and its strongest sentences."""

from __future__ import annotations

import argparse
import re
from typing import Any

from rich.console import Console
from rich.text import Text

from descry.cli import _common
from descry.errors import InputError
from descry.results import columns
from descry.results.columns import Folder
from descry.splits import SPLITS


def add_parser(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = _common.parser(commands, "neuron", "a neuron's descriptors and its strongest sentences", run)
    parser.add_argument("neuron", metavar="LAYER:INDEX", help="layers count from 1, indices from 0")
    parser.add_argument("--count", type=_common.positive, default=5, help="sentences of each split (%(default)s)")


def run(chosen: argparse.Namespace) -> int:
    """Run the command."""
    found = re.fullmatch(r"(\d{1,6}):(\d{1,9})", chosen.neuron)
    if not found:
        raise InputError(f"neuron '{chosen.neuron}': not LAYER:INDEX; write it as 4:812")
    layer, index = map(int, found.groups())
    return _common.tell(chosen, answer(Folder.of(chosen.folder), layer, index, chosen.count), show)


def answer(folder: Folder, layer: int, index: int, count: int) -> dict[str, Any]:
    """What is known of a neuron. Errors: InputError where there is no such neuron."""
    place = columns.find_neuron(folder, layer, index)
    pairs = columns.read_pairs(folder, lambda found: (found["layer"] == layer) & (found["index"] == index))
    sentences = columns.list_records(columns.read_exemplars(folder, layer, index, count))
    return {
        "layer": layer,
        "index": index,
        **{name: float(folder.part("calibration", name, place)) for name in ("mean", "std", "maximum")},
        "descriptors": columns.list_records(pairs),
        "driven": columns.find_further_row(folder, "triggers", layer=layer, index=index),
        "exemplars": {split: [row for row in sentences if row["split"] == split] for split in SPLITS},
    }


def show(console: Console, answer: dict[str, Any]) -> None:
    """Print an answer."""
    said = len(answer["descriptors"])
    title = f"neuron {answer['layer']}:{answer['index']}"
    told = f"{said} descriptor{'' if said == 1 else 's'}" if said else "no descriptor"
    console.print(Text.assemble((title, "bold"), f"  {told}; mean {answer['mean']:.3f}, std {answer['std']:.3f}"))
    if said:
        console.print()
        _common.show_table(console, _common.PAIR, map(_common.pair_cells, answer["descriptors"]))
        console.print(Text(_common.LEGEND, style=_common.WEAK))
    if answer["driven"] is not None:
        console.print()
        console.print(_driven(answer["driven"]))
    for split, rows in answer["exemplars"].items():
        cells = [
            (_common.number(row["activation"]), _common.plain(row["text"]), _common.plain(row["product"], _common.WEAK))
            for row in rows
        ]
        console.print()
        _common.show_table(console, ("fires", f"strongest sentences of {split}", "product"), cells, words=(1, 2))


def _driven(found: dict[str, Any]) -> Text:
    """Which words drive a neuron."""
    named = [f"{word} ({share:.0%})" for word, share in zip(found["words"], found["shares"], strict=True)]
    bound = found["class"] != "contextual"
    told = f"driven by {', '.join(named)}" if bound else f"driven by no word; most is carried by {', '.join(named)}"
    if found["pattern"]:
        told += f"; by words as {found['pattern']} ({found['pattern_share']:.0%})"
    same = "too" if found["class"] == found["validation_class"] else f": {found['validation_class']}"
    beside = f"  {found['class']}, on validation {same}; there the words tell with correlation {found['pearson']:.2f}"
    return _common.plain(told) + _common.plain(beside, _common.WEAK)
