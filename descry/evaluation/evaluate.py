"""What the descriptors, the labels and the neurons are worth beside chance: the tables of the `evaluate` stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from descry.activations.record import Activations
from descry.assignment import Findings, Rule, assign, gather_evidence
from descry.evaluation import nulls
from descry.evaluation.chance import Draws, repeat, tabulate_measures
from descry.evaluation.gold import (
    match_aspects,
    measure_label_quality,
    measure_quality,
    tabulate_aspects,
    tabulate_confusion,
)
from descry.evaluation.measures import Assessment, Reference, measure_confirmation, measure_label_shares
from descry.evaluation.metrics import replication
from descry.evaluation.voting import measure_firing_pair
from descry.splits import Pair
from descry.storage.nesting import flatten

Chance = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Opinion:
    """What one labeller says.

    labels: int8 [sentences, descriptors]; scores: float32 alike, NaN where missing; taught: its agreement with the
    teacher that it learnt from, without rows where none taught it.
    """

    labels: Pair[np.ndarray]
    scores: Pair[np.ndarray]
    taught: pd.DataFrame


@dataclass(frozen=True)
class Evaluation:
    """What is evaluated: the target's activations and what reads each control's, two opinions on the sentences, gold
    aspects (names, and int8 [sentences, aspects]; none where the corpus has no gold), and the reviews."""

    active: Pair[Activations]
    controls: Mapping[str, Callable[[], Pair[Activations]]]
    names: Sequence[str]
    opinions: tuple[Opinion, Opinion]
    aspects: Sequence[str]
    gold: Pair[np.ndarray]
    reviews: Pair[Sequence[str]]

    def tables(self, rule: Rule, ks: Sequence[int], draws: Draws) -> dict[str, pd.DataFrame]:
        """`measures`, every one beside each null that it has; `aspects` and `confusion` of gold."""
        first, second = self.opinions
        sets = self.active.calibration.exemplars(rule.exemplars)
        one, other = (assign(gather_evidence(sets, by.labels.calibration), rule) for by in self.opinions)

        def confirm(by: Findings) -> dict[str, Any]:
            return {"second_opinion": measure_confirmation(one, by)}

        measures: dict[str, Any] = {
            "labels": measure_label_shares(np.concatenate([*first.labels])),
            "descriptors": {"count": len(self.names)},
            **confirm(other),
        }
        chance: Chance = {
            "permuted_neurons": repeat(lambda drawn: confirm(other.take(drawn.permutation(len(sets)))), draws)
        }
        if self.aspects:
            for name, block in self._quality(lambda rows: rows).items():
                measures[name] |= block
            chance["shuffled_labels"] = repeat(lambda drawn: self._quality(nulls.draw_move(self.reviews, drawn)), draws)
        for name, by in (("labels", first), ("second_opinion", second)):
            given = by.taught[by.taught["positives"] > 0]
            if len(given):
                measures[name]["agreement"] = given["f1"].mean()
                chance.setdefault("shuffled_labels", {})[f"{name}.agreement"] = given[["chance"]].mean().to_numpy()
        for assessment in self._assessments():
            own, runs = self._assess(assessment, rule, ks, draws)
            measures |= own
            for null, values in runs.items():
                chance.setdefault(null, {}).update(values)
        called = (self.aspects, self.names)
        return {
            "measures": tabulate_measures(measures, chance),
            "aspects": tabulate_aspects(called, first.scores, first.labels, self.gold),
            "confusion": tabulate_confusion(called, first.labels.validation, self.gold.validation),
        }

    def _quality(self, move: nulls.Move) -> dict[str, Any]:
        """What the labels and the vocabulary are worth against gold, with rows moved as a null asks."""
        first, second = self.opinions
        own = measure_quality(move(first.scores), move(first.labels), self.gold)
        return own | {"second_opinion": measure_label_quality(move(second.scores), move(second.labels), self.gold)}

    def _assessments(self) -> list[Assessment]:
        """The first opinion's labels against themselves and gold; gold in place of the labels (`oracle`)."""
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
        def measuring(by: Pair[Activations]) -> nulls.Scorer:
            return partial(assessment.measures, fired=measure_firing_pair(by), ks=ks)

        found, own, runs = nulls.measure_beside_chance(
            self.active, self.controls, assessment.labels, self.reviews, measuring, rule=rule, draws=draws
        )
        common = assessment.named(nulls.measure_most_common(found, assessment.references, ks))
        runs["most_common"] = {name: np.array([value]) for name, value in flatten(common).items()}
        if assessment.oracle:  # of the labels' own pairs, `consistency` has it

            def permuted(generator: np.random.Generator) -> Mapping[str, Any]:
                drawn = nulls.permute_neurons(found, generator)
                return {"oracle": {"replication": replication(drawn.calibration.assigned, drawn.validation.log_p)}}

            runs["permuted_neurons"] = repeat(permuted, draws)
        return own, runs
