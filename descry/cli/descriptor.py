"""`descry descriptor refund`: how common a descriptor is, its neurons, and sentences that have it."""

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

DETAILS = ("depth", "transfer", "ablation", "cofiring")
"""What further stages say of a descriptor: tables with a row for it."""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = _common.add_command(commands, "descriptor", "a descriptor's neurons and sentences", run)
    parser.add_argument("descriptor", metavar="NAME", help="a descriptor of the vocabulary")
    parser.add_argument(
        "--count", type=_common.parse_positive, default=10, help="neurons to show (default: %(default)s)"
    )
    parser.add_argument(
        "--sentences",
        type=_common.parse_positive,
        default=3,
        help="sentences of each split to show (default: %(default)s)",
    )


def run(chosen: argparse.Namespace) -> int:
    """Run the command."""
    folder = Folder.of(chosen.folder)
    return _common.print_answer(chosen, answer(folder, chosen.descriptor, chosen.count, chosen.sentences), show)


def find_descriptor(folder: Folder, name: str) -> dict[str, Any]:
    """Find a descriptor of the vocabulary. Errors: InputError with the nearest names if there is none of that name."""
    vocabulary = {descriptor["name"]: descriptor for descriptor in columns.read_descriptors(folder)}
    if name not in vocabulary:
        near = difflib.get_close_matches(name, vocabulary, n=3, cutoff=0.5)
        near += [other for other, entry in vocabulary.items() if name in entry["members"] and other not in near]
        hint = f"did you mean {', '.join(near)}" if near else f"there are {', '.join(list(vocabulary)[:10])}, ..."
        raise InputError(f"no descriptor '{name}' in {folder.root}; {hint}")
    return vocabulary[name]


def answer(folder: Folder, name: str, count: int, sentences: int) -> dict[str, Any]:
    """Gather what the run says of a descriptor. Errors: InputError if there is none of that name."""
    descriptor = find_descriptor(folder, name)
    pairs = columns.join_validation(folder, _select(columns.read_assigned(folder, "calibration"), name))
    best = columns.take_rows(pairs, np.argsort(pairs["p"], kind="stable")[:count])
    layer = columns.read_neurons(folder)["layer"]
    neurons = len(pairs["layer"])
    return {
        "descriptor": name,
        "gloss": (columns.find_further_row(folder, "glosses", descriptor=name) or {}).get("description"),
        "members": descriptor["members"],
        "sentences": descriptor["sentences"],
        "splits": {split: _describe_split(folder, split, name, sentences) for split in SPLITS},
        "neurons": neurons,
        "first": int((pairs["place"] == 1).sum()),
        "replicates": float(pairs["replicates"].mean()) if neurons else None,
        "layers": [
            {"layer": int(n), "neurons": int((pairs["layer"] == n).sum()), "of": int((layer == n).sum())}
            for n in np.unique(layer)
        ],
        "best": columns.list_records(best),
        **{key: columns.find_further_row(folder, key, descriptor=name) for key in DETAILS},
        "exclusive": columns.find_further_rows(folder, "exclusive", descriptor=name),
    }


def _select(pairs: Columns, name: str) -> Columns:
    return columns.take_rows(pairs, pairs["descriptor"] == name)


def _describe_split(folder: Folder, split: str, name: str, most: int) -> dict[str, Any]:
    """How common the descriptor is in a split, and the sentences that have it most clearly."""
    labels, names = folder.labels(split)
    label, score = labels[:, names.index(name)], folder.label_scores(split)[:, names.index(name)]
    rows = np.argsort(np.where(label == 1, -score, np.inf), kind="stable")[: min(most, int((label == 1).sum()))]
    texts = columns.take_rows(folder.sentences(split), rows)
    return {
        "prevalence": float((label == 1).sum() / max((label >= 0).sum(), 1)),
        "examples": columns.list_records({key: texts[key] for key in ("sentence_id", "review_id", "product", "text")}),
    }


def _describe_further(answer: dict[str, Any]) -> Iterator[str]:
    """A line each for the other corpus, depth, ablation and co-firing, as far as those stages ran."""
    depth, transfer, ablation, cofiring = (answer[name] for name in DETAILS)
    if transfer is not None and transfer["replication"] is not None:
        again, other = 100 * transfer["replication"], 100 * transfer["unassigned"]
        yield f"{again:.0f} % of them are found again in the other corpus ({other:.0f} % of all other neurons)"
    if depth is not None:
        yield f"their mean depth is {depth['depth']:.2f} of 1 ({depth['low']:.2f} to {depth['high']:.2f} by chance)"
    if ablation is not None and ablation["separation_own"] is not None:
        loss, random = 100 * ablation["separation_own"], 100 * ablation["separation_random_own"]
        yield (
            f"with {ablation['neurons']:,} of them switched off the model tells it apart {loss:.0f} % less "
            f"({random:.0f} % with as many random ones off)"
        )
    if cofiring is not None and cofiring["ratio"] is not None:
        ratio, split, absorbed = (cofiring[name] for name in ("ratio", "split", "absorbed"))
        yield (
            f"{cofiring['compared']:,} that have it first fire together {ratio:.1f} times as often as by chance; "
            f"pairs split: {split:,}, absorbed: {absorbed:,} (by chance {cofiring['chance']:.1f})"
        )
    for pair in answer["exclusive"]:
        one, other = f"{pair['layer']}:{pair['index']}", f"{pair['other_layer']}:{pair['other_index']}"
        verb = "splits it with" if pair["kind"] == "split" else "is absorbed by"
        yield (
            f"{one} {verb} {other}: on {pair['fired']:,} and {pair['other_fired']:,} of {pair['sentences']:,} "
            f"sentences, on {pair['both']:,} together ({pair['expected']:.1f} by chance)"
        )


def show(console: Console, answer: dict[str, Any]) -> None:
    """Print an answer."""
    shares = [answer["splits"][split]["prevalence"] for split in SPLITS]
    console.print(
        _common.quote(answer["descriptor"], "bold")
        + _common.quote(f"  {', '.join(answer['members'])}  ", _common.WEAK)
        + Text(f"in {100 * shares[0]:.1f} % of calibration sentences, {100 * shares[1]:.1f} % of validation sentences")
    )
    if answer["gloss"]:
        console.print(_common.quote(f"in free text: {answer['gloss']}"))
    if not answer["neurons"]:
        console.print("no neuron has this descriptor")
    else:
        again, unrelated = 100 * answer["replicates"], 100 * REPLICATES
        console.print(f"{answer['neurons']:,} neurons have this descriptor, {answer['first']:,} as their first")
        console.print(
            f"{again:.0f} % of them are found again on validation (without any association: {unrelated:.0f} %)"
        )
        for line in _describe_further(answer):
            console.print(line)
        console.print()
        longest = max(row["neurons"] / row["of"] for row in answer["layers"])
        bars = (
            (str(row["layer"]), str(row["neurons"]), Text("█" * round(20 * row["neurons"] / row["of"] / longest)))
            for row in answer["layers"]
        )
        _common.show_table(console, ("layer", "neurons", ""), bars, words=(2,))
        console.print()
        rows = (
            [Text(f"{row['layer']}:{row['index']}", style=_common.STRONG), *_common.pair_cells(row)[1:]]
            for row in answer["best"]
        )
        _common.show_table(console, ("neuron", *_common.PAIR[1:]), rows)
        console.print(Text(_common.LEGEND, style=_common.WEAK))
    for split in SPLITS:
        cells = [
            (_common.quote(row["text"]), _common.quote(row["product"], _common.WEAK))
            for row in answer["splits"][split]["examples"]
        ]
        console.print()
        _common.show_table(console, (f"clearest sentences of {split}", "product"), cells, words=(0, 1))
