"""The measures as one setting varies and all else stays: no model runs, one extraction serves all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from descry.artifacts import Activations
from descry.assignment import Findings, Rule
from descry.evaluation import Pair, Reference, consistency_measures, fired, prediction_measures
from descry.nesting import flat
from descry.nulls import findings, most_common, random_exemplars

RULES: tuple[Rule, ...] = ("enrichment", "composition")
SHOWN = ("neuron.precision", "neuron.recall", "neuron.described", "sentence", "jaccard")

Row = tuple[str, str, str, str, float]
"""x, rule, whose (target, random_exemplars or most_common), measure, value."""


def raised(found: Pair[Findings], threshold: float) -> Pair[Findings]:
    """Findings less the pairs whose composition is below a threshold."""

    def one(split: Findings) -> Findings:
        return replace(split, assigned=split.assigned & (split.evidence.composition >= threshold))

    return found.map(one)


@dataclass(frozen=True)
class Sweeper:
    """What stays: labels int8 [sentences, descriptors] of both splits, what sentences are measured against (by
    name), the options of `assign` but for `rule`, the size of an exemplar set, ranks, the seed of chance."""

    labels: Pair[np.ndarray]
    references: Mapping[str, Reference]
    options: Mapping[str, Any]
    exemplars: int
    ks: Sequence[int]
    seed: int

    def thresholds(self, active: Pair[Activations], values: Sequence[float]) -> Iterator[Row]:
        """Rows for each composition threshold, which under `enrichment` comes on top of that rule."""
        seen = fired(active)
        for rule in RULES:
            options = {**self.options, "rule": rule, "tau": min(values)}
            for whose, found in self._found(active, self.exemplars, options).items():
                for value in values:
                    yield from self._rows(f"{value:g}", rule, whose, raised(found, value), seen)

    def sizes(self, active: Pair[Activations], values: Sequence[int]) -> Iterator[Row]:
        """Rows for each size of the exemplar set."""
        seen = fired(active)
        for rule in RULES:
            for size in values:
                options = {**self.options, "rule": rule, "min_count": min(size, self.options["min_count"])}
                for whose, found in self._found(active, size, options).items():
                    yield from self._rows(str(size), rule, whose, found, seen)

    def poolings(self, active: Sequence[Pair[Activations]]) -> Iterator[Row]:
        """Rows for each pooling."""
        for one in active:
            seen = fired(one)
            for rule in RULES:
                for whose, found in self._found(one, self.exemplars, {**self.options, "rule": rule}).items():
                    yield from self._rows(one.calibration.pooling, rule, whose, found, seen)

    def layers(self, active: Mapping[str, Pair[Activations]]) -> Iterator[Row]:
        """Share of every layer's neurons that are described on calibration, whoever the neurons are."""
        for whose, by in active.items():
            for rule in RULES:
                found = findings(_sets(by, self.exemplars), self.labels, {**self.options, "rule": rule}).calibration
                for layer in np.unique(by.calibration.layer):
                    share = found.described[by.calibration.layer == layer].mean()
                    yield str(layer), rule, whose, "neuron.described", float(share)

    def _found(self, active: Pair[Activations], size: int, options: Mapping[str, Any]) -> dict[str, Pair[Findings]]:
        sets = _sets(active, size)
        generator = np.random.default_rng(self.seed)
        return {
            "target": findings(sets, self.labels, options),
            "random_exemplars": random_exemplars(sets, self.labels, options, generator),
        }

    def _rows(self, x: str, rule: str, whose: str, found: Pair[Findings], seen: Pair[np.ndarray]) -> Iterator[Row]:
        measures = flat(prediction_measures(found, seen, self.references, self.ks))
        measures["neuron.described"] /= len(found.calibration.assigned)
        measures["jaccard"] = consistency_measures(found)["jaccard"]
        yield from ((x, rule, whose, name, float(v)) for name, v in measures.items() if _shown(name))
        if whose == "target":
            common = flat(most_common(found, self.references, self.ks))
            yield from ((x, rule, "most_common", name, float(v)) for name, v in common.items() if _shown(name))


def _shown(measure: str) -> bool:
    return measure.startswith(SHOWN) and "ceiling" not in measure


def _sets(active: Pair[Activations], size: int) -> Pair[np.ndarray]:
    return active.map(lambda split: split.exemplars(size))


def table(sweeps: Mapping[str, Iterator[Row]]) -> pd.DataFrame:
    """Rows of several sweeps, by name: sweep, x, rule, neurons, measure, value."""
    rows = [(name, *row) for name, sweep in sweeps.items() for row in sweep]
    return pd.DataFrame(rows, columns=["sweep", "x", "rule", "neurons", "measure", "value"])
