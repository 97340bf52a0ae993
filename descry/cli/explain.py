"""`descry explain TEXT`: what a sentence's neurons say of it, and on which of its words."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.text import Text

from descry.cli import _common
from descry.errors import InputError
from descry.results import layout
from descry.results.columns import Folder

if TYPE_CHECKING:
    from descry.activations.record import Activations
    from descry.evaluation.voting import Electorate
    from descry.models.target import Target

DRIVING = 0.5
"""A token is marked where it casts at least so much of what the strongest one casts."""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = _common.parser(commands, "explain", "what the neurons say of a sentence, and on which words", run)
    parser.add_argument("text", metavar="TEXT", help="one sentence or several")
    parser.add_argument("--descriptors", type=_common.positive, default=3, help="shown (%(default)s)")
    parser.add_argument("--neurons", type=_common.positive, default=4, help="shown of each (%(default)s)")
    parser.add_argument("--device", help="to run the target on (where the run did)")


def run(chosen: argparse.Namespace) -> int:
    """Run the command."""
    folder = Folder.of(chosen.folder)
    texts = sentences(chosen.text, folder.parameters("split")["split"]["language"])
    listener = Listener.of(folder, chosen.device)
    found = [listener.explain(text, chosen.descriptors, chosen.neurons) for text in texts]
    return _common.tell(chosen, {"sentences": found}, show)


def sentences(text: str, language: str) -> list[str]:
    """The sentences of a text, cut as reviews are. Errors: InputError where there is none."""
    from descry.corpus.segmentation import normalise, segment

    found = segment(normalise(text), language)
    if not found:
        raise InputError("explain: the text is empty; give a sentence, in quotes")
    return found


@dataclass(frozen=True)
class Listener:
    """What hears the neurons of any sentence: the target, and how calibration taught its neurons to vote."""

    target: Target
    active: Activations
    electorate: Electorate
    known: np.ndarray
    names: list[str]

    @classmethod
    def of(cls, folder: Folder, device: str | None = None) -> Listener:
        """device: None: where the run was made. Errors: InputError where the target does not load."""
        from descry.activations.record import read_activations
        from descry.assignment import assign, gather_evidence
        from descry.evaluation.voting import Electorate, measure_firing

        active = read_activations(folder.activations("calibration"))
        labels, names = folder.labels("calibration")
        found = assign(gather_evidence(active.exemplars(folder.rule.exemplars), labels), folder.rule)
        fired = measure_firing(active, active)
        electorate = Electorate.of(fired, found)
        return cls(_target(folder, device), active, electorate, electorate.scores(fired), names)

    def explain(self, text: str, descriptors: int, neurons: int) -> dict[str, Any]:
        """One sentence explained. Errors: InputError where the target's tokenizer knows no token of it."""
        from descry.activations.tokens import locate_tokens, pool_tokens, read_tokens
        from descry.evaluation.explanation import explain
        from descry.evaluation.voting import standardise

        tokens = read_tokens(self.target, text)
        whole = pool_tokens(tokens, self.active.pooling).astype(np.float16)  # as the probe keeps it
        z = [standardise(part, self.active) for part in (whole, tokens)]
        found = explain(self.electorate, self.known, *z, descriptors=descriptors, neurons=neurons)
        places = locate_tokens(self.target, [text])
        speakers = [
            [
                {
                    "layer": int(self.active.layer[neuron]),
                    "index": int(self.active.index[neuron]),
                    "z": float(height),
                    "contribution": float(part),
                }
                for neuron, height, part in zip(own.neuron, own.z, own.contribution, strict=True)
            ]
            for own in found.speakers
        ]
        return {
            "text": text,
            "tokens": [
                {"start": start, "stop": stop, "text": text[start:stop]}
                for start, stop in zip(places.start.tolist(), places.stop.tolist(), strict=True)
            ],
            "unread": len(text) - int(places.stop.max()) if places.stop.any() else 0,
            "descriptors": [
                {
                    "descriptor": self.names[d],
                    "score": float(found.score[d]),
                    "chance": float(found.chance[d]),
                    "prevalence": float(found.prevalence[d]),
                    "neurons": speakers[place] if place < len(speakers) else [],
                    "tokens": found.tokens[:, d].tolist(),
                }
                for place, d in enumerate(found.order.tolist())
                if d in self.electorate.spoken
            ],
        }


def _target(folder: Folder, device: str | None) -> Target:
    """The target as the run read it."""
    from descry.models.target import TargetLoader

    recorded = folder.parameters("extract@calibration")
    neurons = {name: recorded["extract"][name] for name in ("site", "stack", "layers", "modules")}
    neurons["layers"] = neurons["layers"] and tuple(neurons["layers"])
    path = (folder.root / layout.MODELS / "target").absolute()
    source = TargetLoader(path, device or recorded["runtime.device"], recorded["runtime.dtype"], tuple(neurons.items()))
    with redirect_stdout(sys.stderr):  # where it says that it will be slow
        return source.load()


def driving(sentence: dict[str, Any], votes: list[float]) -> Iterator[tuple[int, int]]:
    """Where the words lie whose tokens cast most for a descriptor: from the first character up to the second; tokens
    that touch lie together."""
    least = DRIVING * max(votes)
    chosen = [
        (token["start"], token["stop"])
        for token, vote in zip(sentence["tokens"], votes, strict=True)
        if vote >= least > 0 and token["stop"] > token["start"]
    ]
    while chosen:
        start, stop = chosen.pop(0)
        while chosen and chosen[0][0] <= stop:
            stop = chosen.pop(0)[1]
        yield start, stop


def marked(sentence: dict[str, Any], votes: list[float]) -> Text:
    """A sentence with its driving words in brackets, which stay where colours do not."""
    text, done = Text(), 0
    for start, stop in driving(sentence, votes):
        text += _common.plain(sentence["text"][done:start])
        text += _common.plain(f"[{sentence['text'][start:stop]}]", _common.STRONG)
        done = stop
    return text + _common.plain(sentence["text"][done:])


def show(console: Console, answer: dict[str, Any]) -> None:
    """Print an answer."""
    for place, sentence in enumerate(answer["sentences"]):
        if place:
            console.print()
        _show_sentence(console, sentence)
    chance = "by chance: the share of calibration's sentences that score as high; common: that bear the descriptor"
    console.print(Text(f"{chance}. [ ]: the words that drive it", style=_common.WEAK))


def _show_sentence(console: Console, sentence: dict[str, Any]) -> None:
    console.print(_common.plain(sentence["text"], "bold"))
    if sentence["unread"]:
        console.print(
            Text(f"the last {sentence['unread']} characters are beyond what the target reads", style="yellow")
        )
    rows = []
    for said in sentence["descriptors"]:
        if said["neurons"]:
            neurons = [f"{one['layer']}:{one['index']} ({one['z']:+.1f})" for one in said["neurons"]]
            rows.append(
                [
                    _common.plain(said["descriptor"], _common.STRONG),
                    _common.number(said["score"], 2),
                    _common.chance(said["chance"]),
                    _common.chance(said["prevalence"]),
                    Text(" ".join(neurons)),
                    marked(sentence, said["tokens"]),
                ]
            )
    columns = ("descriptor", "score", _common.BY_CHANCE, "common", "neurons (z)", "words")
    _common.show_table(console, columns, rows, words=(0, 4, 5))
