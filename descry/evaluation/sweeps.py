"""Sweeps: the measures as one setting varies and all others stay. No model runs; one extraction serves them all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from descry.activations.record import Activations
from descry.assignment.rules import RULES, Findings, Rule, assign_splits
from descry.evaluation.chance import ERRORS
from descry.evaluation.measures import Reference, measure_consistency, measure_predictions
from descry.evaluation.nulls import draw_random_exemplars, measure_most_common
from descry.evaluation.voting import Firing
from descry.splits import Pair
from descry.storage.nesting import flatten

SHOWN = ("neuron.precision", "neuron.recall", "neuron.described", "sentence", "jaccard")
"""Prefixes of the measures that sweeps keep."""

Row = tuple[str, str, str, str, float]
"""x, rule, neurons (target, random_exemplars, most_common or a control), measure, value."""


def raise_threshold(found: Pair[Findings], threshold: float) -> Pair[Findings]:
    """Unassign the pairs whose composition is below a threshold, on each split."""

    def raise_one(split: Findings) -> Findings:
        return replace(split, assigned=split.assigned & (split.evidence.composition >= threshold))

    return found.map(raise_one)


@dataclass(frozen=True)
class Sweeper:
    """The settings that a sweep holds fixed.

    labels: int8 [sentences, descriptors] of both splits; reviews: of calibration's sentences; references: by name;
    rule: the thresholds, its name being varied over RULES; ks: the ranks of precision@k and recall@k; seed: of the
    random exemplars.
    """

    labels: Pair[np.ndarray]
    reviews: Sequence[str]
    references: Mapping[str, Reference]
    rule: Rule
    ks: Sequence[int]
    seed: int

    def thresholds(self, active: Pair[Activations], values: Sequence[float]) -> Iterator[Row]:
        """Rows for each threshold of composition; under `enrichment` it applies in addition to that rule."""
        seen = Firing.of(active, self.reviews)
        for name in RULES:
            for whose, found in self._assign(active, replace(self.rule, name=name, tau=min(values))).items():
                for value in values:
                    yield from self._measure(f"{value:g}", name, whose, raise_threshold(found, value), seen)

    def sizes(self, active: Pair[Activations], values: Sequence[int]) -> Iterator[Row]:
        """Rows for each size of the exemplar set."""
        seen = Firing.of(active, self.reviews)
        for name in RULES:
            for size in values:
                rule = replace(self.rule, name=name, exemplars=size, min_count=min(size, self.rule.min_count))
                for whose, found in self._assign(active, rule).items():
                    yield from self._measure(str(size), name, whose, found, seen)

    def poolings(self, active: Sequence[Pair[Activations]]) -> Iterator[Row]:
        """Rows for each pooling; active: one pair per pooling."""
        for pooled in active:
            seen = Firing.of(pooled, self.reviews)
            for name in RULES:
                for whose, found in self._assign(pooled, replace(self.rule, name=name)).items():
                    yield from self._measure(pooled.calibration.pooling, name, whose, found, seen)

    def layers(self, active: Mapping[str, Pair[Activations]]) -> Iterator[Row]:
        """Rows for each layer: the share of its neurons described on calibration, of the target and of each control."""
        for whose, activations in active.items():
            sets = _select_exemplars(activations, self.rule.exemplars)
            for name in RULES:
                found = assign_splits(sets, self.labels, replace(self.rule, name=name)).calibration
                for layer in np.unique(activations.calibration.layer):
                    share = found.described[activations.calibration.layer == layer].mean()
                    yield str(layer), name, whose, "neuron.described", float(share)

    def _assign(self, active: Pair[Activations], rule: Rule) -> dict[str, Pair[Findings]]:
        """Assign descriptors to the target's neurons and to as many with random exemplars."""
        sets = _select_exemplars(active, rule.exemplars)
        generator = np.random.default_rng(self.seed)
        return {
            "target": assign_splits(sets, self.labels, rule),
            "random_exemplars": draw_random_exemplars(sets, self.labels, rule, generator),
        }

    def _measure(self, x: str, rule: str, whose: str, found: Pair[Findings], seen: Firing) -> Iterator[Row]:
        """Rows of one setting; seen: of the activations."""
        measures = flatten(measure_predictions(found, self.labels.calibration, seen, self.references, self.ks))
        measures["neuron.described"] /= len(found.calibration.assigned)
        measures["jaccard"] = measure_consistency(found)["jaccard"]
        yield from ((x, rule, whose, name, float(v)) for name, v in measures.items() if _is_shown(name))
        if whose == "target":
            common = flatten(measure_most_common(found, self.references, self.ks))
            yield from ((x, rule, "most_common", name, float(v)) for name, v in common.items() if _is_shown(name))


def _is_shown(measure: str) -> bool:
    return measure.startswith(SHOWN) and "ceiling" not in measure and not measure.endswith(ERRORS)


def _select_exemplars(active: Pair[Activations], size: int) -> Pair[np.ndarray]:
    return active.map(lambda split: split.exemplars(size))


def tabulate_sweeps(sweeps: Mapping[str, Iterator[Row]]) -> pd.DataFrame:
    """Tabulate the rows of several sweeps, given by name: columns sweep, x, rule, neurons, measure, value."""
    rows = [(name, *row) for name, sweep in sweeps.items() for row in sweep]
    return pd.DataFrame(rows, columns=["sweep", "x", "rule", "neurons", "measure", "value"])
