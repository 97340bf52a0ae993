"""The measures of a run, each beside every null that it has."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from descry.results.measures import find_measure

NULL_TEXTS = {
    "permuted_neurons": (
        "permuted neurons",
        "Neurons are paired at random, across the halves or the labellers: how often each descriptor is assigned "
        "stays, which neuron is which is lost.",
    ),
    "most_common": (
        "most common",
        "Always the most common descriptors, whatever the sentence or the neuron.",
    ),
    "random_exemplars": (
        "random exemplars",
        "Every neuron gets random sentences in place of its strongest ones, then the whole path.",
    ),
    "shuffled_labels": (
        "shuffled labels",
        "Whole reviews change places among the labels, which then belong to other texts; then the whole path. "
        "Beside pairs: how many pass the run's own threshold.",
    ),
    "unassigned_pairs": ("unassigned pairs", "The pairs that calibration did not assign."),
    "other_pairs": ("other pairs", "The pairs of descriptors that were not found to go together."),
    "permuted_descriptors": ("permuted descriptors", "Validation's descriptors change places."),
    "dealt_descriptors": (
        "dealt descriptors",
        "Every neuron is dealt as many descriptors as it has, as often as its layer carries each.",
    ),
    "shuffled_tokens": ("shuffled tokens", "A neuron's values change places among a sentence's tokens."),
    "shuffled_layers": ("shuffled layers", "The described neurons change places among the layers."),
    "random_neurons": (
        "random neurons",
        "As many random neurons of the same layers are switched off in place of a descriptor's.",
    ),
    "exchangeable_sets": (
        "exchangeable sets",
        "A descriptor's neurons are no others than random ones: above them in one of two cases, clearly in one of 40.",
    ),
}
"""What chance is, by name: what it is called, and what it does; which is chance for a measure says descry.results.measures."""

CONTROL_TEXTS = {
    "random_directions": (
        "random directions",
        "As many random directions of the target's own representation as it has neurons, through the whole path.",
    ),
    "untrained_target": (
        "untrained model",
        "The target's build with random weights, through the whole path.",
    ),
}
"""Yardsticks, as NULLS: not chance, but other neurons."""

BLOCKS = {
    "sentence.gold": "Descriptors found, on sentences, against annotated aspects",
    "oracle": "Annotated aspects in place of the labels (oracle)",
    "": "The two halves: does validation say of each neuron what calibration said",
    "neuron": "A neuron's descriptors on calibration, against validation",
    "sentence.labels": "Descriptors found, on sentences, against the pipeline's own labels",
    "second_opinion": "The second opinion",
    "descriptors": "The vocabulary",
    "labels": "The labels",
    "tokens": "Words that drive neurons",
    "relations": "Descriptors that go together",
    "depth": "Descriptors in depth",
    "transfer": "Another corpus: the same vocabulary, nothing assigned anew",
    "ablation": "Neurons switched off",
}
"""What measures are called together, by the start of their dotted names (the empty one: no dot), in order."""


class Level(NamedTuple):
    """What a null gives: its mean, its 95 % interval, and how far the measure lies from the mean towards 1 (None
    for what is no score)."""

    mean: float
    low: float
    high: float
    adjusted: float | None = None

    def over(self, size: float) -> Level:
        """The same of shares in place of counts."""
        return Level(self.mean / size, self.low / size, self.high / size)


@dataclass(frozen=True)
class Score:
    """A measure's value, what each null gives, and the highest value possible (None where 1 or unknown)."""

    name: str
    value: float
    levels: Mapping[str, Level]
    ceiling: float | None = None

    @property
    def counts(self) -> bool:
        """Whether it counts something."""
        return find_measure(self.name).counts

    @property
    def adjusted(self) -> float | None:
        """Its distance from chance towards 1; None without a chance, and for what is no score."""
        level = self.levels.get(find_measure(self.name).chance)
        return None if level is None else level.adjusted

    def among(self, names: Mapping[str, tuple[str, str]]) -> dict[str, Level]:
        """Its levels of NULLS or of CONTROLS, in their order."""
        return {null: self.levels[null] for null in names if null in self.levels}


def collect_scores(table: pd.DataFrame) -> dict[str, Score]:
    """Measures by dotted name, in order. table: that of `measures`; its ceilings join what they bound."""
    values: dict[str, float] = {}
    levels: dict[str, dict[str, Level]] = {}
    columns = ["measure", "null", "value", "chance", "low", "high", "adjusted"]
    for name, null, value, mean, low, high, adjusted in table[columns].itertuples(index=False):
        values[name] = float(value)
        own = levels.setdefault(name, {})
        if null:
            own[null] = Level(mean, low, high, None if math.isnan(adjusted) else adjusted)
    ceilings = {name for name in values if name.rpartition(".")[2].startswith("ceiling_")}
    out = {}
    for name in values:
        if name not in ceilings:
            above, dot, last = name.rpartition(".")
            out[name] = Score(name, values[name], levels[name], values.get(f"{above}{dot}ceiling_{last}"))
    return out


class Block(NamedTuple):
    """Measures that belong together, and the nulls, the controls and whether the ceilings that any of them has."""

    title: str
    rows: Sequence[Score]
    nulls: Sequence[str]
    controls: Sequence[str]
    ceiling: bool


def group_scores(measures: Mapping[str, Score]) -> Iterator[Block]:
    """The measures in BLOCKS; empty ones are left out."""
    for prefix, title in BLOCKS.items():
        rows = [m for name, m in measures.items() if (name.startswith(f"{prefix}.") if prefix else "." not in name)]
        had = {null for row in rows for null in row.levels}
        if rows:
            nulls, controls = ([null for null in names if null in had] for names in (NULL_TEXTS, CONTROL_TEXTS))
            yield Block(title, rows, nulls, controls, any(row.ceiling is not None for row in rows))


def compare_levels(value: float, level: Level) -> int:
    """Whether a value is above (1), below (-1) or level with (0) another's, as far as neurons drawn anew would
    tell: the other's interval, for two alike, is wider by the root of 2."""
    room = level.high - level.mean if value > level.mean else level.mean - level.low
    distance = value - level.mean
    return 0 if abs(distance) <= math.sqrt(2) * room else int(math.copysign(1, distance))
