"""`descry explain TEXT`: the descriptors of a sentence by the vote of its neurons, and the words that drive them."""

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

LEGEND = (
    "probability: that the sentence has the descriptor, by the vote of its neurons; common: share of calibration "
    "sentences that have it; [ ]: words that drive it"
)
DRIVING = 0.5
"""A token is marked if its vote is at least this share of the strongest token's."""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = _common.add_command(commands, "explain", "the descriptors of a sentence by the vote of its neurons", run)
    parser.add_argument("text", metavar="TEXT", help="one or more sentences, in quotes")
    parser.add_argument(
        "--descriptors",
        type=_common.parse_positive,
        default=3,
        help="descriptors to explain by their neurons (default: %(default)s)",
    )
    parser.add_argument(
        "--neurons", type=_common.parse_positive, default=4, help="neurons to show of each (default: %(default)s)"
    )
    parser.add_argument("--device", help="device to run the target on (default: the run's)")


def run(chosen: argparse.Namespace) -> int:
    """Run the command."""
    folder = Folder.of(chosen.folder)
    texts = read_sentences(chosen.text, folder.parameters("split")["split"]["language"])
    explainer = Explainer.of(folder, chosen.device)
    explained = [explainer.explain(text, chosen.descriptors, chosen.neurons) for text in texts]
    return _common.print_answer(chosen, {"sentences": explained}, show)


def read_sentences(text: str, language: str) -> list[str]:
    """Cut a text into sentences as reviews are. Errors: InputError if there is none."""
    from descry.corpus.segmentation import normalise, segment

    sentences = segment(normalise(text), language)
    if not sentences:
        raise InputError("explain: the text is empty; give a sentence, in quotes")
    return sentences


@dataclass(frozen=True)
class Explainer:
    """Explains any sentence: the target that reads it, and how its neurons vote, as learned on calibration.

    active: the calibration activations; names: of the descriptors.
    """

    target: Target
    active: Activations
    electorate: Electorate
    names: list[str]

    @classmethod
    def of(cls, folder: Folder, device: str | None = None) -> Explainer:
        """Open the explainer of a run. device: None for the run's. Errors: InputError if the target does not load."""
        from descry.activations.record import read_activations
        from descry.assignment.evidence import gather_evidence
        from descry.assignment.rules import assign
        from descry.evaluation.voting import fit_electorate

        active = read_activations(folder.activations("calibration"))
        labels, names = folder.labels("calibration")
        findings = assign(gather_evidence(active.exemplars(folder.rule.exemplars), labels), folder.rule)
        reviews = folder.sentences("calibration")["review_id"]
        electorate = fit_electorate(active, findings, labels, reviews)
        return cls(_load_target(folder, device), active, electorate, names)

    def explain(self, text: str, descriptors: int, neurons: int) -> dict[str, Any]:
        """Explain one sentence. Errors: InputError if the target's tokenizer knows no token of it."""
        from descry.activations.tokens import locate_tokens, pool_tokens, read_tokens
        from descry.evaluation.explanation import explain
        from descry.evaluation.voting import standardise

        tokens = read_tokens(self.target, text)
        pooled = pool_tokens(tokens, self.active.pooling).astype(np.float16)  # as the probe keeps it
        z = [standardise(values, self.active) for values in (pooled, tokens)]
        explanation = explain(self.electorate, *z, descriptors=descriptors, neurons=neurons)
        places = locate_tokens(self.target, [text])
        speakers = [
            [
                {
                    "layer": int(self.active.layer[neuron]),
                    "index": int(self.active.index[neuron]),
                    "z": float(z_score),
                    "contribution": float(contribution),
                }
                for neuron, z_score, contribution in zip(of.neuron, of.z, of.contribution, strict=True)
            ]
            for of in explanation.speakers
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
                    "probability": float(explanation.probability[d]),
                    "prevalence": float(explanation.prevalence[d]),
                    "neurons": speakers[place] if place < len(speakers) else [],
                    "tokens": explanation.tokens[:, d].tolist(),
                }
                for place, d in enumerate(explanation.order.tolist())
                if d in self.electorate.spoken
            ],
        }


def _load_target(folder: Folder, device: str | None) -> Target:
    """Load the target as the run did."""
    from descry.models.target import TargetLoader

    recorded = folder.parameters("extract@calibration")
    device, dtype = device or recorded["runtime.device"], recorded["runtime.dtype"]
    loader = TargetLoader.of(folder.root / layout.MODELS, recorded["extract"], device, dtype)
    with redirect_stdout(sys.stderr):  # it may warn that it will be slow
        return loader.load()


def find_driving(sentence: dict[str, Any], votes: list[float]) -> Iterator[tuple[int, int]]:
    """The spans (start, stop), in characters, of the tokens with the strongest votes for a descriptor, joined if they
    touch."""
    least = DRIVING * max(votes)
    spans = [
        (token["start"], token["stop"])
        for token, vote in zip(sentence["tokens"], votes, strict=True)
        if vote >= least > 0 and token["stop"] > token["start"]
    ]
    while spans:
        start, stop = spans.pop(0)
        while spans and spans[0][0] <= stop:
            stop = spans.pop(0)[1]
        yield start, stop


def mark(sentence: dict[str, Any], votes: list[float]) -> Text:
    """Mark the driving words of a sentence by brackets, which show without colours too."""
    text, done = Text(), 0
    for start, stop in find_driving(sentence, votes):
        text += _common.quote(sentence["text"][done:start])
        text += _common.quote(f"[{sentence['text'][start:stop]}]", _common.STRONG)
        done = stop
    return text + _common.quote(sentence["text"][done:])


def show(console: Console, answer: dict[str, Any]) -> None:
    """Print an answer."""
    for place, sentence in enumerate(answer["sentences"]):
        if place:
            console.print()
        _show_sentence(console, sentence)
    console.print(Text(LEGEND, style=_common.WEAK))


def _show_sentence(console: Console, sentence: dict[str, Any]) -> None:
    console.print(_common.quote(sentence["text"], "bold"))
    if sentence["unread"]:
        console.print(
            Text(f"the target does not read the last {sentence['unread']} characters: too long for it", style="yellow")
        )
    rows = []
    for row in sentence["descriptors"]:
        if row["neurons"]:
            neurons = [f"{neuron['layer']}:{neuron['index']} ({neuron['z']:+.1f})" for neuron in row["neurons"]]
            rows.append(
                [
                    _common.quote(row["descriptor"], _common.STRONG),
                    _common.format_number(row["probability"], 2),
                    _common.format_chance(row["prevalence"]),
                    Text(" ".join(neurons)),
                    mark(sentence, row["tokens"]),
                ]
            )
    columns = ("descriptor", "probability", "common", "neurons (z)", "words")
    _common.show_table(console, columns, rows, words=(0, 3, 4))
