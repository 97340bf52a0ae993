"""The cards of the page: every descriptor, its best neurons, the sentences that they fire on."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from descry.assignment import gather, log_p
from descry.report.content import Run, Side, descriptor_table

REPLICATES = 0.05
"""A pair of calibration replicates where its p on validation is at most this."""
ASSOCIATIONS = {"pearson": "correlation", "auprc": "AUPRC", "cosine": "cosine", "f1": "F1", "iou": "IoU"}
"""How strongly a pair goes together, and what that is called."""


@dataclass(frozen=True)
class Bearing:
    """How many of a neuron's known exemplars bear a descriptor on one split: count, share, share over
    prevalence, and the chance of as many at random."""

    count: int
    known: int
    composition: float
    lift: float
    p: float


@dataclass(frozen=True)
class Exemplar:
    """A sentence of an exemplar set; label 1, 0 or -1 (missing) for the descriptor it is shown under."""

    text: str
    product: str
    value: float
    label: int


class Strength(NamedTuple):
    """How strongly a neuron and a descriptor go together on validation, and the 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class NeuronCard:
    """A neuron as one of a descriptor's best; strengths: by the names of ASSOCIATIONS, empty where unknown; others:
    (name, anchor) of its further descriptors."""

    layer: int
    index: int
    q: float
    strengths: Mapping[str, Strength]
    calibration: Bearing
    validation: Bearing
    exemplars: Mapping[str, Sequence[Exemplar]]
    others: Sequence[tuple[str, str]]
    first: bool

    @property
    def anchor(self) -> str:
        """Its address on the page, carried by its first card."""
        return f"neuron-{self.layer}-{self.index}"

    @property
    def replicates(self) -> bool:
        """Whether validation shows the same."""
        return self.validation.p <= REPLICATES


@dataclass(frozen=True)
class DescriptorCard:
    """A descriptor with its counts (calibration, validation) and best neurons; layers: neurons in each;
    replicates, correlation: the share found again and the median over all its neurons, None without any."""

    name: str
    anchor: str
    members: Sequence[str]
    sentences: tuple[int, int]
    prevalence: tuple[float, float]
    neurons: tuple[int, int]
    replicates: float | None
    correlation: float | None
    layers: Sequence[int]
    examples: Sequence[str]
    best: Sequence[NeuronCard]


def anchors(names: Sequence[str]) -> list[str]:
    """An address for each name, no two alike: `descriptor-` and what ASCII can say of the name."""
    taken: dict[str, int] = {}
    out = []
    for name in names:
        plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
        slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "x"
        while slug in taken:
            taken[slug] += 1
            slug = f"{slug}-{taken[slug]}"
        taken[slug] = 1
        out.append(f"descriptor-{slug}")
    return out


def bearings(side: Side, neurons: np.ndarray, column: int) -> list[Bearing]:
    """What a split says of some neurons (int [n]) and one descriptor."""
    found = gather(side.rows[neurons], side.labels[:, [column]])
    columns = (found.counts, found.known, found.composition, found.lift, np.exp(log_p(found)))
    return [Bearing(*row) for row in zip(*(values[:, 0].tolist() for values in columns), strict=True)]


def _exemplars(side: Side, neuron: int, column: int, count: int) -> list[Exemplar]:
    rows = side.rows[neuron, :count]
    shown = side.sentences.iloc[rows]
    columns = (shown["text"], shown["product"], side.activations[neuron, :count], side.labels[rows, column])
    return [Exemplar(str(t), str(m or ""), float(v), int(b)) for t, m, v, b in zip(*columns, strict=True)]


def _strengths(pair: Mapping[Any, Any]) -> dict[str, Strength]:
    found = {m: Strength(*(float(pair[f"{m}{bound}"]) for bound in ("", "_low", "_high"))) for m in ASSOCIATIONS}
    return {measure: strength for measure, strength in found.items() if not math.isnan(strength.value)}


def _ordered(pairs: pd.DataFrame) -> pd.DataFrame:
    """A descriptor's pairs, best first."""
    keys = ["p", "composition", "layer", "index"]
    return pairs.sort_values(keys, ascending=[True, False, True, True], kind="stable")


class _Deck:
    """What is looked up again and again while the cards are dealt."""

    def __init__(self, run: Run, neurons: int, exemplars: int) -> None:
        self.run, self.neurons, self.exemplars = run, neurons, exemplars
        self.addresses = anchors(run.names)
        self.neuron = run.found.calibration["neuron"].to_numpy()
        self.column = run.found.calibration["column"].to_numpy()
        self.again = np.bincount(run.found.validation["column"], minlength=len(run.names))
        self.seen: set[int] = set()

    def others(self, neuron: int, column: int) -> list[tuple[str, str]]:
        start, stop = np.searchsorted(self.neuron, [neuron, neuron + 1])
        mine = self.column[start:stop]
        return [(self.run.names[c], self.addresses[c]) for c in mine[mine != column]]

    def neuron_card(self, pair: Mapping[Any, Any], column: int, own: Bearing, other: Bearing) -> NeuronCard:
        run, neuron = self.run, int(pair["neuron"])
        first = neuron not in self.seen
        self.seen.add(neuron)
        sides = {"calibration": run.calibration, "validation": run.validation}
        shown = {name: _exemplars(side, neuron, column, self.exemplars) for name, side in sides.items()}
        return NeuronCard(
            layer=int(pair["layer"]),
            index=int(pair["index"]),
            q=float(pair["q"]),
            strengths=_strengths(pair),
            calibration=own,
            validation=other,
            exemplars=shown,
            others=self.others(neuron, column),
            first=first,
        )

    def descriptor_card(self, column: int, pairs: pd.DataFrame) -> DescriptorCard:
        run = self.run
        best = _ordered(pairs)
        neurons = best["neuron"].to_numpy()
        again = bearings(run.validation, neurons, column)
        own = bearings(run.calibration, neurons[: self.neurons], column)
        records = best.head(self.neurons).to_dict("records")
        correlation = float(best["pearson"].median())
        layers = np.bincount(np.searchsorted(run.layers, best["layer"]), minlength=len(run.layers))
        rows = run.examples[column]
        return DescriptorCard(
            name=run.names[column],
            anchor=self.addresses[column],
            members=[str(member) for member in run.descriptors[column]["members"]],
            sentences=(int(run.calibration.positives[column]), int(run.validation.positives[column])),
            prevalence=(float(run.calibration.prevalence[column]), float(run.validation.prevalence[column])),
            neurons=(len(best), int(self.again[column])),
            replicates=float(np.mean([b.p <= REPLICATES for b in again])) if again else None,
            correlation=None if math.isnan(correlation) else correlation,
            layers=[int(number) for number in layers],
            examples=run.calibration.sentences["text"].iloc[rows[rows >= 0]].tolist(),
            best=[
                self.neuron_card(record, column, mine, theirs)
                for record, mine, theirs in zip(records, own, again, strict=False)
            ],
        )


def cards(run: Run, *, neurons: int, exemplars: int) -> list[DescriptorCard]:
    """Every descriptor with its best neurons (smallest p on calibration), in the order of descriptor_table.

    neurons: how many of them; exemplars: how many sentences of each split for each of those.
    """
    deck = _Deck(run, neurons, exemplars)
    found = run.found.calibration.merge(run.associations, on=["layer", "index", "descriptor"], how="left")
    pairs = dict(tuple(found.groupby("column")))
    nothing = found.head(0)
    columns = [int(column) for column in descriptor_table(run).index]
    return [deck.descriptor_card(column, pairs.get(column, nothing)) for column in columns]
