"""The measures of neurons, of sentences and of agreement between splits. Definitions: docs/method.md, section 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from descry.assignment.rules import Findings, rank
from descry.evaluation.metrics import (
    at_k,
    brier_score,
    calibration_error,
    ceiling_precision_at_k,
    jaccard,
    pooled_jaccard,
    replication,
)
from descry.evaluation.voting import Firing, predict
from descry.splits import Pair


def select_first(findings: Findings, k: int) -> np.ndarray:
    """Select each neuron's k strongest assigned descriptors, or all if there are fewer: bool [neurons, descriptors]."""
    order = rank(np.where(findings.assigned, findings.strength, -1.0))[:, :k]
    chosen = np.zeros(findings.assigned.shape, dtype=bool)
    np.put_along_axis(chosen, order, True, axis=1)
    return np.asarray(chosen & findings.assigned)


def measure_neurons(found: Pair[Findings], ks: Sequence[int]) -> dict[str, float]:
    """Precision@k and recall@k of each neuron's k best descriptors on calibration, against those of validation.

    Means over the neurons described on both splits. `described`: number of neurons described on calibration;
    `coverage`: share of all neurons that are described on both.
    """
    both = found.calibration.described & found.validation.described
    strength = np.where(found.calibration.assigned, 1e9, 0.0) + found.calibration.strength
    order = rank(strength[both])
    measures = at_k(order, found.validation.assigned[both], ks)
    return measures | {
        "described": int(found.calibration.described.sum()),
        "coverage": float(both.mean()),
    }


def measure_consistency(found: Pair[Findings]) -> dict[str, float]:
    """Measure how far the two splits' findings agree.

    `jaccard` (mean over neurons), `pooled_jaccard`, `top2_jaccard` (of each neuron's two strongest) and `replication`,
    all in [0, 1]; `coverage`: share of neurons described on either split; `pairs`: number assigned on calibration.
    """
    calibration, validation = found.calibration, found.validation
    return {
        "jaccard": jaccard(calibration.assigned, validation.assigned),
        "pooled_jaccard": pooled_jaccard(calibration.assigned, validation.assigned),
        "top2_jaccard": jaccard(select_first(calibration, 2), select_first(validation, 2)),
        "replication": replication(calibration.assigned, validation.log_p),
        "coverage": float((calibration.described | validation.described).mean()),
        "pairs": int(calibration.assigned.sum()),
    }


def measure_confirmation(one: Findings, other: Findings) -> dict[str, float]:
    """Measure how far a second labeller confirms the pairs that a first one assigns, on the same sentences and neurons.

    `survival`: share of the pairs that `other` assigns too; `support`: share whose p under `other` is at most
    `REPLICATES`; `pooled_jaccard`: of the two sets of pairs. All in [0, 1].
    """
    return {
        "survival": float(other.assigned[one.assigned].mean()) if one.assigned.any() else 0.0,
        "support": replication(one.assigned, other.log_p),
        "pooled_jaccard": pooled_jaccard(one.assigned, other.assigned),
    }


def find_known_rows(labels: np.ndarray) -> np.ndarray:
    """Find the sentences without a missing label: bool [sentences]."""
    return np.asarray((labels >= 0).all(axis=1))


def combine_descriptors(probabilities: np.ndarray, aspect_of: np.ndarray, aspects: int) -> np.ndarray:
    """Combine the probabilities of the descriptors that stand for an aspect: float64 [sentences, aspects].

    1 - prod(1 - p), as if they were independent ("noisy or"); 0 for an aspect that no descriptor stands for.
    probabilities: float [sentences, descriptors]; aspect_of: int [descriptors], the aspect that each stands for.
    """
    member = (aspect_of[:, None] == np.arange(aspects)).astype(np.float64)
    return np.asarray(-np.expm1(np.log1p(-np.minimum(probabilities, 1 - 1e-12)) @ member))


def measure_label_shares(labels: np.ndarray) -> dict[str, float]:
    """Share of missing labels, mean number of labels per sentence, and share of sentences with none.

    labels: int8 [sentences, columns].
    """
    return {
        "missing_share": float((labels < 0).mean()),
        "per_sentence": float((labels == 1).sum(axis=1).mean()),
        "none_share": float((labels < 1).all(axis=1).mean()),
    }


def measure_sentences(probabilities: np.ndarray, labels: np.ndarray, ks: Sequence[int]) -> dict[str, float]:
    """Precision@k, recall@k and the ceiling of precision@k of the most probable columns, `brier_score` and
    `calibration_error`, over the sentences without a missing label.

    probabilities: float [sentences or 1, columns]; labels: int8 [sentences, columns].
    """
    rows = find_known_rows(labels)
    relevant, probable = labels[rows] == 1, np.broadcast_to(probabilities, labels.shape)[rows]
    measures = at_k(np.broadcast_to(rank(probabilities), labels.shape)[rows], relevant, ks)
    reliability = {
        "brier_score": brier_score(probable, relevant),
        "calibration_error": calibration_error(probable, relevant),
    }
    return measures | {f"ceiling_precision_at_{k}": ceiling_precision_at_k(relevant, k) for k in ks} | reliability


@dataclass(frozen=True)
class Reference:
    """The labels against which predictions are measured, on the probe sentences of validation.

    labels: int8 [probe, columns]. aspect_of: int64 [descriptors], the aspect that each descriptor stands for (see
    `gold.match_aspects`), if the columns are gold aspects; None if they are the descriptors themselves.
    """

    labels: np.ndarray
    aspect_of: np.ndarray | None = None

    def measure(self, probabilities: np.ndarray, ks: Sequence[int]) -> dict[str, float]:
        """Measure predictions by `measure_sentences`; probabilities: float [probe or 1, descriptors]."""
        if self.aspect_of is not None:
            probabilities = combine_descriptors(probabilities, self.aspect_of, self.labels.shape[1])
        return measure_sentences(probabilities, self.labels, ks)


@dataclass(frozen=True)
class Assessment:
    """The labels that findings come from, and the references that they are measured against.

    labels: int8 [sentences, columns] of both splits; references: by name; oracle: whether the labels are gold.
    """

    labels: Pair[np.ndarray]
    references: Mapping[str, Reference]
    oracle: bool = False

    def measures(
        self,
        found: Pair[Findings],
        labels: np.ndarray,
        columns: np.ndarray | None,
        fired: Firing,
        ks: Sequence[int],
    ) -> dict[str, Any]:
        """Measure findings by `measure_predictions`, under the names of `named`; with `replication` if the labels are
        gold (otherwise the `consistency` stage measures it)."""
        measures = measure_predictions(found, labels, fired, self.references, ks, columns)
        if self.oracle:
            measures["replication"] = replication(found.calibration.assigned, found.validation.log_p)
        return self.named(measures)

    def named(self, measures: Mapping[str, Any]) -> dict[str, Any]:
        """Put measures under gold labels into `oracle`, `sentence.gold` as `sentence`; leave others as they are."""
        if not self.oracle:
            return dict(measures)
        return {"oracle": {**measures, "sentence": measures["sentence"]["gold"]}}


def measure_predictions(
    found: Pair[Findings],
    labels: np.ndarray,
    fired: Firing,
    references: Mapping[str, Reference],
    ks: Sequence[int],
    columns: np.ndarray | None = None,
) -> dict[str, Any]:
    """Measures of findings, under `neuron` and `sentence.<reference>`.

    labels: int8 [sentences, descriptors], those of calibration that `found` comes from; columns: see `Electorate.of`.
    """
    probabilities = predict(fired, found.calibration, labels, columns)
    return {
        "neuron": measure_neurons(found, ks),
        "sentence": {name: reference.measure(probabilities, ks) for name, reference in references.items()},
    }
