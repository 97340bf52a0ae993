"""Quality of descriptors, labels and neurons, with their chance levels: the tables of the `evaluate` stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from descry.activations.record import Activations
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import Findings, Rule, assign, assign_splits
from descry.evaluation import nulls
from descry.evaluation.chance import Draws, repeat, tabulate_measures
from descry.evaluation.gold import (
    match_aspects,
    measure_label_quality,
    measure_quality,
    tabulate_aspects,
    tabulate_confusion,
)
from descry.evaluation.measures import (
    Assessment,
    Reference,
    measure_confirmation,
    measure_consistency,
    measure_label_shares,
)
from descry.evaluation.metrics import replication
from descry.evaluation.voting import Firing
from descry.splits import Pair
from descry.storage.nesting import flatten

Chance = dict[str, dict[str, np.ndarray]]
"""Null -> dotted measure -> its values, float64 [repeats]."""


@dataclass(frozen=True)
class Opinion:
    """The labels of one labeller.

    labels: int8 [sentences, descriptors]; scores: float32, same shape, NaN where missing; taught: its agreement with
    the teacher that it was distilled from (see `distil.measure_teacher_agreement`), without rows if it was not.
    """

    labels: Pair[np.ndarray]
    scores: Pair[np.ndarray]
    taught: pd.DataFrame


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated.

    active: the target's activations; controls: by name, a function that reads the control's; names: the descriptors';
    opinions: of the first and the second labeller; aspects, gold: the gold aspects' names and labels, int8 [sentences,
    aspects], none if the corpus has no gold; reviews: of each sentence.
    """

    active: Pair[Activations]
    controls: Mapping[str, Callable[[], Pair[Activations]]]
    names: Sequence[str]
    opinions: tuple[Opinion, Opinion]
    aspects: Sequence[str]
    gold: Pair[np.ndarray]
    reviews: Pair[Sequence[str]]

    def tables(self, rule: Rule, ks: Sequence[int], draws: Draws) -> dict[str, pd.DataFrame]:
        """Tabulate `measures`, each with every null that it has, and `aspects` and `confusion` against gold."""
        first, second = self.opinions
        sets = self.active.calibration.exemplars(rule.exemplars)
        by_first, by_second = (assign(gather_evidence(sets, by.labels.calibration), rule) for by in self.opinions)

        def confirm(other: Findings) -> dict[str, Any]:
            return {"second_opinion": measure_confirmation(by_first, other)}

        measures: dict[str, Any] = {
            "labels": measure_label_shares(np.concatenate([*first.labels])),
            "descriptors": {"count": len(self.names)},
            **confirm(by_second),
        }
        chance: Chance = {
            "permuted_neurons": repeat(lambda drawn: confirm(by_second.take(drawn.permutation(len(sets)))), draws)
        }
        if self.aspects:
            for name, block in self._measure_quality(lambda rows: rows).items():
                measures[name] |= block
            chance["shuffled_labels"] = repeat(
                lambda drawn: self._measure_quality(nulls.draw_move(self.reviews, drawn)), draws
            )
        for name, by in (("labels", first), ("second_opinion", second)):
            taught = by.taught[by.taught["positives"] > 0]
            if len(taught):
                measures[name]["agreement"] = taught["f1"].mean()
                chance.setdefault("shuffled_labels", {})[f"{name}.agreement"] = taught[["chance"]].mean().to_numpy()
        for assessment in self._list_assessments():
            assessed, runs = self._assess(assessment, rule, ks, draws)
            measures |= assessed
            for null, values in runs.items():
                chance.setdefault(null, {}).update(values)
        names = (self.aspects, self.names)
        return {
            "measures": tabulate_measures(measures, chance),
            "aspects": tabulate_aspects(names, first.scores, first.labels, self.gold),
            "confusion": tabulate_confusion(names, first.labels.validation, self.gold.validation),
        }

    def measure(self, rule: Rule, ks: Sequence[int]) -> dict[str, Any]:
        """`measure_neurons`, and the quality of labels and vocabulary against gold."""
        measures = self.measure_neurons(rule, ks)
        quality = self._measure_quality(lambda rows: rows) if self.aspects else {}
        return measures | {name: measures.get(name, {}) | block for name, block in quality.items()}

    def measure_neurons(self, rule: Rule, ks: Sequence[int]) -> dict[str, Any]:
        """Measure the target's neurons as `tables` and the stage `consistency` do, without chance levels."""
        fired = Firing.of(self.active, self.reviews.calibration)
        sets = self.active.map(lambda split: split.exemplars(rule.exemplars))
        found = assign_splits(sets, self.opinions[0].labels, rule)
        other = assign(gather_evidence(sets.calibration, self.opinions[1].labels.calibration), rule)
        measures: dict[str, Any] = dict(measure_consistency(found))
        measures["second_opinion"] = measure_confirmation(found.calibration, other)
        for assessment in self._list_assessments():
            by = assign_splits(sets, assessment.labels, rule) if assessment.oracle else found
            measures |= assessment.measures(by, assessment.labels.calibration, None, fired, ks)
        return measures

    def _measure_quality(self, move: nulls.Move) -> dict[str, Any]:
        """Measure labels and vocabulary against gold, with the rows reordered by `move`."""
        first, second = self.opinions
        measures = measure_quality(move(first.scores), move(first.labels), self.gold)
        return measures | {"second_opinion": measure_label_quality(move(second.scores), move(second.labels), self.gold)}

    def _list_assessments(self) -> list[Assessment]:
        """List what to assess: the first opinion's labels, against themselves and gold; gold as labels (`oracle`)."""
        first, probe = self.opinions[0], self.active.validation.probe_rows
        references = {"labels": Reference(first.labels.validation[probe])}
        if not self.aspects:
            return [Assessment(first.labels, references)]
        gold, aspect_of = self.gold.validation[probe], match_aspects(first.scores.calibration, self.gold.calibration)[1]
        oracle = Assessment(self.gold, {"gold": Reference(gold)}, oracle=True)
        return [Assessment(first.labels, references | {"gold": Reference(gold, aspect_of)}), oracle]

    def _assess(
        self, assessment: Assessment, rule: Rule, ks: Sequence[int], draws: Draws
    ) -> tuple[Mapping[str, Any], Chance]:
        """Measure the findings under the assessment's labels, and those under each null."""

        def measuring(by: Pair[Activations]) -> nulls.Scorer:
            return partial(assessment.measures, fired=Firing.of(by, self.reviews.calibration), ks=ks)

        found, measures, runs = nulls.measure_beside_chance(
            self.active, self.controls, assessment.labels, self.reviews, measuring, rule=rule, draws=draws
        )
        common = assessment.named(nulls.measure_most_common(found, assessment.references, ks))
        runs["most_common"] = {name: np.array([value]) for name, value in flatten(common).items()}
        if assessment.oracle:  # for the labels themselves, the `consistency` stage does it

            def permuted(generator: np.random.Generator) -> Mapping[str, Any]:
                drawn = nulls.permute_neurons(found, generator)
                return {"oracle": {"replication": replication(drawn.calibration.assigned, drawn.validation.log_p)}}

            runs["permuted_neurons"] = repeat(permuted, draws)
        return measures, runs
