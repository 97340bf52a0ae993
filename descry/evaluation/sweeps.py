"""The measures as one setting varies and all else stays: no model runs, one extraction serves all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from descry.activations.record import Activations
from descry.assignment import RULES, Findings, Rule, assign_splits
from descry.evaluation.measures import Reference, measure_consistency, measure_predictions
from descry.evaluation.nulls import draw_random_exemplars, measure_most_common
from descry.evaluation.voting import measure_firing_pair
from descry.splits import Pair
from descry.storage.nesting import flatten

SHOWN = ("neuron.precision", "neuron.recall", "neuron.described", "sentence", "jaccard")

Row = tuple[str, str, str, str, float]
"""x, rule, whose (target, random_exemplars or most_common), measure, value."""


def raise_threshold(found: Pair[Findings], threshold: float) -> Pair[Findings]:
    """Findings less the pairs whose composition is below a threshold."""

    def one(split: Findings) -> Findings:
        return replace(split, assigned=split.assigned & (split.evidence.composition >= threshold))

    return found.map(one)


@dataclass(frozen=True)
class Sweeper:
    """What stays: labels int8 [sentences, descriptors] of both splits, what sentences are measured against (by
    name), the rule (whichever of RULES decides), ranks, the seed of chance."""

    labels: Pair[np.ndarray]
    references: Mapping[str, Reference]
    rule: Rule
    ks: Sequence[int]
    seed: int

    def thresholds(self, active: Pair[Activations], values: Sequence[float]) -> Iterator[Row]:
        """Rows for each composition threshold, which under `enrichment` comes on top of that rule."""
        seen = measure_firing_pair(active)
        for name in RULES:
            for whose, found in self._found(active, replace(self.rule, name=name, tau=min(values))).items():
                for value in values:
                    yield from self._rows(f"{value:g}", name, whose, raise_threshold(found, value), seen)

    def sizes(self, active: Pair[Activations], values: Sequence[int]) -> Iterator[Row]:
        """Rows for each size of the exemplar set."""
        seen = measure_firing_pair(active)
        for name in RULES:
            for size in values:
                rule = replace(self.rule, name=name, exemplars=size, min_count=min(size, self.rule.min_count))
                for whose, found in self._found(active, rule).items():
                    yield from self._rows(str(size), name, whose, found, seen)

    def poolings(self, active: Sequence[Pair[Activations]]) -> Iterator[Row]:
        """Rows for each pooling."""
        for one in active:
            seen = measure_firing_pair(one)
            for name in RULES:
                for whose, found in self._found(one, replace(self.rule, name=name)).items():
                    yield from self._rows(one.calibration.pooling, name, whose, found, seen)

    def layers(self, active: Mapping[str, Pair[Activations]]) -> Iterator[Row]:
        """Share of every layer's neurons that are described on calibration, whoever the neurons are."""
        for whose, by in active.items():
            sets = _sets(by, self.rule.exemplars)
            for name in RULES:
                found = assign_splits(sets, self.labels, replace(self.rule, name=name)).calibration
                for layer in np.unique(by.calibration.layer):
                    share = found.described[by.calibration.layer == layer].mean()
                    yield str(layer), name, whose, "neuron.described", float(share)

    def _found(self, active: Pair[Activations], rule: Rule) -> dict[str, Pair[Findings]]:
        sets = _sets(active, rule.exemplars)
        generator = np.random.default_rng(self.seed)
        return {
            "target": assign_splits(sets, self.labels, rule),
            "random_exemplars": draw_random_exemplars(sets, self.labels, rule, generator),
        }

    def _rows(self, x: str, rule: str, whose: str, found: Pair[Findings], seen: Pair[np.ndarray]) -> Iterator[Row]:
        measures = flatten(measure_predictions(found, seen, self.references, self.ks))
        measures["neuron.described"] /= len(found.calibration.assigned)
        measures["jaccard"] = measure_consistency(found)["jaccard"]
        yield from ((x, rule, whose, name, float(v)) for name, v in measures.items() if _shown(name))
        if whose == "target":
            common = flatten(measure_most_common(found, self.references, self.ks))
            yield from ((x, rule, "most_common", name, float(v)) for name, v in common.items() if _shown(name))


def _shown(measure: str) -> bool:
    return measure.startswith(SHOWN) and "ceiling" not in measure


def _sets(active: Pair[Activations], size: int) -> Pair[np.ndarray]:
    return active.map(lambda split: split.exemplars(size))


def tabulate_sweeps(sweeps: Mapping[str, Iterator[Row]]) -> pd.DataFrame:
    """Rows of several sweeps, by name: sweep, x, rule, neurons, measure, value."""
    rows = [(name, *row) for name, sweep in sweeps.items() for row in sweep]
    return pd.DataFrame(rows, columns=["sweep", "x", "rule", "neurons", "measure", "value"])
