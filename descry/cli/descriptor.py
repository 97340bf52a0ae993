"""`descry descriptor refund`: how common a descriptor is, which neurons carry it, sentences that bear it."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from descry.cli import _common
from descry.errors import InputError
from descry.results import columns
from descry.results.columns import Columns, Folder
from descry.splits import REPLICATES, SPLITS


def add_parser(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = _common.parser(commands, "descriptor", "a descriptor's neurons and sentences", run)
    parser.add_argument("descriptor", metavar="NAME", help="as the vocabulary has it")
    parser.add_argument("--count", type=_common.positive, default=10, help="neurons shown (%(default)s)")
    parser.add_argument("--sentences", type=_common.positive, default=3, help="of each split (%(default)s)")


def run(chosen: argparse.Namespace) -> int:
    """Run the command."""
    folder = Folder.of(chosen.folder)
    return _common.tell(chosen, answer(folder, chosen.descriptor, chosen.count, chosen.sentences), show)


def known(folder: Folder, name: str) -> dict[str, Any]:
    """A descriptor of the vocabulary. Errors: InputError where there is none of that name, with the nearest names."""
    vocabulary = {descriptor["name"]: descriptor for descriptor in columns.read_descriptors(folder)}
    if name not in vocabulary:
        near = difflib.get_close_matches(name, vocabulary, n=3, cutoff=0.5)
        near += [other for other, found in vocabulary.items() if name in found["members"] and other not in near]
        hint = f"did you mean {', '.join(near)}" if near else f"there are {', '.join(list(vocabulary)[:10])}, ..."
        raise InputError(f"no descriptor '{name}' in {folder.root}; {hint}")
    return vocabulary[name]


def answer(folder: Folder, name: str, count: int, sentences: int) -> dict[str, Any]:
    """What is known of a descriptor. Errors: InputError where there is none of that name."""
    found = known(folder, name)
    pairs = columns.join_validation(folder, _carrying(columns.read_assigned(folder, "calibration"), name))
    best = columns.take_rows(pairs, np.argsort(pairs["p"], kind="stable")[:count])
    layer = columns.read_neurons(folder)["layer"]
    carried = len(pairs["layer"])
    return {
        "descriptor": name,
        "members": found["members"],
        "sentences": found["sentences"],
        "splits": {split: _split(folder, split, name, sentences) for split in SPLITS},
        "neurons": carried,
        "first": int((pairs["place"] == 1).sum()),
        "replicates": float(pairs["replicates"].mean()) if carried else None,
        "layers": [
            {"layer": int(one), "neurons": int((pairs["layer"] == one).sum()), "of": int((layer == one).sum())}
            for one in np.unique(layer)
        ],
        "best": columns.list_records(best),
        **{key: columns.find_further_row(folder, key, descriptor=name) for key in ("depth", "transfer", "ablation")},
    }


def _carrying(pairs: Columns, name: str) -> Columns:
    return columns.take_rows(pairs, pairs["descriptor"] == name)


def _split(folder: Folder, split: str, name: str, most: int) -> dict[str, Any]:
    """How common the descriptor is in a split, and the sentences that bear it most clearly."""
    labels, names = folder.labels(split)
    own, score = labels[:, names.index(name)], folder.label_scores(split)[:, names.index(name)]
    rows = np.argsort(np.where(own == 1, -score, np.inf), kind="stable")[: min(most, int((own == 1).sum()))]
    texts = columns.take_rows(folder.sentences(split), rows)
    return {
        "prevalence": float((own == 1).sum() / max((own >= 0).sum(), 1)),
        "examples": columns.list_records({key: texts[key] for key in ("sentence_id", "review_id", "product", "text")}),
    }


def _further(answer: dict[str, Any]) -> Iterator[str]:
    """What is known of the descriptor beyond the reviews' sentences."""
    depth, there, off = (answer[name] for name in ("depth", "transfer", "ablation"))
    if there is not None and there["replication"] is not None:
        again, other = 100 * there["replication"], 100 * there["unassigned"]
        yield f"{again:.0f} % of them in the other corpus ({other:.0f} % of the other neurons)"
    if depth is not None:
        yield f"their depth is {depth['depth']:.2f} of 1 ({depth['low']:.2f} to {depth['high']:.2f} by chance)"
    if off is not None and off["separation_own"] is not None:
        own, random = 100 * off["separation_own"], 100 * off["separation_random_own"]
        yield (
            f"without {off['neurons']:,} of them the model tells it apart {own:.0f} % less ({random:.0f} % without as "
            "many random ones)"
        )


def show(console: Console, answer: dict[str, Any]) -> None:
    """Print an answer."""
    shares = [answer["splits"][split]["prevalence"] for split in SPLITS]
    console.print(
        _common.plain(answer["descriptor"], "bold")
        + _common.plain(f"  {', '.join(answer['members'])}  ", _common.WEAK)
        + Text(f"{100 * shares[0]:.1f} % of calibration's sentences, {100 * shares[1]:.1f} % of validation's")
    )
    if not answer["neurons"]:
        console.print("no neuron carries it")
    else:
        again, by_chance = 100 * answer["replicates"], 100 * REPLICATES
        console.print(f"{answer['neurons']:,} neurons carry it, {answer['first']:,} of them first")
        console.print(f"{again:.0f} % of them are found again on validation ({by_chance:.0f} % by chance)")
        for line in _further(answer):
            console.print(line)
        console.print()
        longest = max(row["neurons"] / row["of"] for row in answer["layers"])
        bars = (
            (str(row["layer"]), str(row["neurons"]), Text("█" * round(20 * row["neurons"] / row["of"] / longest)))
            for row in answer["layers"]
        )
        _common.show_table(console, ("layer", "neurons", ""), bars, words=(2,))
        console.print()
        named = (
            [Text(f"{row['layer']}:{row['index']}", style=_common.STRONG), *_common.pair_cells(row)[1:]]
            for row in answer["best"]
        )
        _common.show_table(console, ("neuron", *_common.PAIR[1:]), named)
        console.print(Text(_common.LEGEND, style=_common.WEAK))
    for split in SPLITS:
        cells = [
            (_common.plain(row["text"]), _common.plain(row["product"], _common.WEAK))
            for row in answer["splits"][split]["examples"]
        ]
        console.print()
        _common.show_table(console, (f"clearest sentences of {split}", "product"), cells, words=(0, 1))
