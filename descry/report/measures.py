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
        "Neurons are paired at random across the halves, or across the labellers: how often each descriptor is "
        "assigned stays the same, which neuron is which is lost.",
    ),
    "most_common": (
        "most common",
        "The most common descriptors are always predicted, whatever the sentence or the neuron.",
    ),
    "random_exemplars": (
        "random exemplars",
        "Every neuron gets random sentences in place of its exemplars; the rest of the pipeline is the same.",
    ),
    "shuffled_labels": (
        "shuffled labels",
        "Label rows are permuted between whole reviews; the rest of the pipeline is the same. For pairs: how many "
        "pass the threshold of this run.",
    ),
    "unassigned_pairs": ("unassigned pairs", "The pairs that were not assigned on calibration."),
    "other_pairs": ("other pairs", "The pairs of descriptors for which no relation was found."),
    "permuted_descriptors": ("permuted descriptors", "Validation's descriptors are permuted."),
    "dealt_descriptors": (
        "dealt descriptors",
        "Every neuron is dealt as many random descriptors as it has; how often each occurs in a layer stays the same.",
    ),
    "permuted_firing": (
        "permuted firing",
        "Every neuron's values are permuted among the sentences of its descriptor, for each neuron alone.",
    ),
    "shuffled_tokens": ("shuffled tokens", "A neuron's values are permuted among the tokens of each sentence."),
    "shuffled_layers": ("shuffled layers", "The described neurons are permuted among the layers."),
    "permuted_rows": ("permuted rows", "The neurons of a layer exchange their output weights."),
    "swapped_descriptions": (
        "swapped descriptions",
        "Every neuron is judged by the descriptions of the layer's other described neurons.",
    ),
    "random_sentences": ("random sentences", "Random calibration sentences stand for descriptions."),
    "random_neurons": (
        "random neurons",
        "As many random neurons of the same layers are ablated in place of the descriptor's.",
    ),
    "exchangeable_sets": (
        "exchangeable sets",
        "A descriptor's neurons are no different from random ones: above them in one case of two, clearly above in one "
        "of 40.",
    ),
}
"""What each null is called on the page, and what it does. Which of them is chance for a measure is said by
descry.results.measures alone."""

CONTROL_TEXTS = {
    "random_directions": (
        "random directions",
        "As many random directions of the target's own representation as it has neurons, through the whole pipeline.",
    ),
    "untrained_target": (
        "untrained model",
        "The target's architecture with random weights, through the whole pipeline.",
    ),
    "target_neurons": (
        "neurons",
        "The neurons of the same layers in place of the latents, drawn anew in the same number.",
    ),
}
"""What each control is called, and what it is: not chance, but other units that went the same way."""

BLOCKS = {
    "sentence.gold": "Precision and recall on held-out sentences, against gold aspects",
    "oracle": "Gold aspects as labels (oracle)",
    "": "Replication and consistency between the two halves",
    "neuron": "Precision and recall of a neuron's descriptors on validation",
    "sentence.labels": "Precision and recall on held-out sentences, against the pipeline's own labels",
    "second_opinion": "Second labeller",
    "descriptors": "Descriptor recovery: what the vocabulary can express",
    "labels": "Label quality",
    "tokens": "Lexical triggers",
    "relations": "Relations between descriptors and between the neurons of each, and polysemanticity",
    "depth": "Localization in depth",
    "transfer": "Transfer to another corpus",
    "ablation": "Ablation",
    "writes": "What neurons write: their descriptors' words among the tokens that they promote",
    "ends": "Both ends of a neuron",
    "judge": "Descriptions in free text: do they fit the sentences on which their neurons fire?",
}
"""The tables of measures, in order: the start of their dotted names (empty: names without a dot), and the heading."""


class Level(NamedTuple):
    """What a null gives: its mean, its 95 % interval, and how far the measure lies from the mean towards 1 (None
    for what is no score)."""

    mean: float
    low: float
    high: float
    adjusted: float | None = None

    def divide(self, size: float) -> Level:
        """The same as a share of `size`."""
        return Level(self.mean / size, self.low / size, self.high / size)


@dataclass(frozen=True)
class Score:
    """A measure's value, what each null gives, the highest value possible (None where 1 or unknown), and its standard
    deviation over splits (None where unknown)."""

    name: str
    value: float
    levels: Mapping[str, Level]
    ceiling: float | None = None
    std: float | None = None

    @property
    def title(self) -> str:
        """The measure in plain words, empty for one of a family."""
        return find_measure(self.name).title

    @property
    def counts(self) -> bool:
        """Whether it counts something."""
        return find_measure(self.name).counts

    @property
    def null(self) -> str:
        """The null that is chance for this measure, empty where none is."""
        return find_measure(self.name).chance

    @property
    def chance(self) -> Level | None:
        """What that null gives; None where it was not measured."""
        return self.levels.get(self.null)

    @property
    def adjusted(self) -> float | None:
        """Its distance from chance towards 1; None without a chance, and for what is no score."""
        return None if self.chance is None else self.chance.adjusted

    @property
    def controls(self) -> dict[str, Level]:
        """What the controls give, by name."""
        return {name: self.levels[name] for name in CONTROL_TEXTS if name in self.levels}


def collect_scores(table: pd.DataFrame, stds: Mapping[str, float]) -> dict[str, Score]:
    """Measures by dotted name, in order. table: that of `measures`; its ceilings join what they bound; stds: over
    splits, by dotted name."""
    values: dict[str, float] = {}
    levels: dict[str, dict[str, Level]] = {}
    columns = ["measure", "null", "value", "chance", "low", "high", "adjusted"]
    for name, null, value, mean, low, high, adjusted in table[columns].itertuples(index=False):
        values[name] = float(value)
        of_measure = levels.setdefault(name, {})
        if null:
            of_measure[null] = Level(mean, low, high, None if math.isnan(adjusted) else adjusted)
    ceilings = {name for name in values if name.rpartition(".")[2].startswith("ceiling_")}
    scores = {}
    for name in values:
        if name not in ceilings:
            above, dot, last = name.rpartition(".")
            ceiling = values.get(f"{above}{dot}ceiling_{last}")
            scores[name] = Score(name, values[name], levels[name], ceiling, stds.get(name))
    return scores


class Block(NamedTuple):
    """Measures that belong together: the nulls and the controls that any of them has, and whether any has a ceiling."""

    title: str
    rows: Sequence[Score]
    nulls: Sequence[str]
    controls: Sequence[str]
    ceiling: bool


def group_scores(measures: Mapping[str, Score]) -> Iterator[Block]:
    """The measures in the order of BLOCKS; a block without measures is left out."""
    for prefix, title in BLOCKS.items():
        rows = [m for name, m in measures.items() if (name.startswith(f"{prefix}.") if prefix else "." not in name)]
        measured = {null for row in rows for null in row.levels}
        if rows:
            nulls, controls = ([null for null in names if null in measured] for names in (NULL_TEXTS, CONTROL_TEXTS))
            yield Block(title, rows, nulls, controls, any(row.ceiling is not None for row in rows))


def compare_levels(value: float, level: Level) -> int:
    """Whether a value is above (1), below (-1) or level with (0) another's, as far as neurons drawn anew would
    tell: the other's interval, for two alike, is wider by the root of 2."""
    room = level.high - level.mean if value > level.mean else level.mean - level.low
    distance = value - level.mean
    return 0 if abs(distance) <= math.sqrt(2) * room else int(math.copysign(1, distance))
