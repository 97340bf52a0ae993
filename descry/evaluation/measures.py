"""The measures. Each is a few lines; definitions in docs/method.md, section 2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from descry.assignment import Findings, rank
from descry.evaluation.metrics import at_k, ceiling_precision_at_k, jaccard, pooled_jaccard, replication
from descry.evaluation.voting import rank_descriptors
from descry.splits import Pair


def select_first(findings: Findings, k: int) -> np.ndarray:
    """bool [neurons, descriptors]: each neuron's k strongest assigned descriptors, or all if fewer."""
    order = rank(np.where(findings.assigned, findings.strength, -1.0))[:, :k]
    chosen = np.zeros(findings.assigned.shape, dtype=bool)
    np.put_along_axis(chosen, order, True, axis=1)
    return np.asarray(chosen & findings.assigned)


def measure_neurons(found: Pair[Findings], ks: Sequence[int]) -> dict[str, float]:
    """precision@k and recall@k of each neuron's k best descriptors on calibration, against those assigned to
    it on validation, over the neurons described on both; `described` on calibration; `coverage`: the share of
    all neurons that are described on both."""
    both = found.calibration.described & found.validation.described
    own = np.where(found.calibration.assigned, 1e9, 0.0) + found.calibration.strength
    order = rank(own[both])
    measures = at_k(order, found.validation.assigned[both], ks)
    return measures | {
        "described": int(found.calibration.described.sum()),
        "coverage": float(both.mean()),
    }


def measure_consistency(found: Pair[Findings]) -> dict[str, float]:
    """Agreement of the two splits' findings: `jaccard` (per neuron), `pooled_jaccard`, `top2_jaccard`,
    `replication`, `coverage` (the share of neurons described on either split), and `pairs`, the number
    assigned on calibration."""
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
    """What of the pairs that one labeller's findings assign another's confirm, on the same sentences and neurons:
    `survival`, the share that it assigns too; `support`, the share whose p under it is at most 0.05; and the
    `pooled_jaccard` of the two."""
    return {
        "survival": float(other.assigned[one.assigned].mean()) if one.assigned.any() else 0.0,
        "support": replication(one.assigned, other.log_p),
        "pooled_jaccard": pooled_jaccard(one.assigned, other.assigned),
    }


def find_known_rows(labels: np.ndarray) -> np.ndarray:
    """bool [sentences]: those without a missing label."""
    return np.asarray((labels >= 0).all(axis=1))


def rank_aspects(order: np.ndarray, aspect_of: np.ndarray, aspects: int) -> np.ndarray:
    """Gold aspects of every sentence, best first, through each aspect's best-placed descriptor; aspects that
    no descriptor speaks for come last. int64 [sentences, aspects]."""
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(order.shape[1])[None, :], axis=1)
    best = np.full((len(order), aspects), order.shape[1])
    for descriptor, aspect in enumerate(aspect_of):
        best[:, aspect] = np.minimum(best[:, aspect], places[:, descriptor])
    return rank(-best.astype(np.float64))


def measure_label_shares(labels: np.ndarray) -> dict[str, float]:
    """Share of missing labels, labels a sentence, share of sentences with none; int8 [sentences, columns]."""
    return {
        "missing_share": float((labels < 0).mean()),
        "per_sentence": float((labels == 1).sum(axis=1).mean()),
        "none_share": float((labels < 1).all(axis=1).mean()),
    }


def measure_sentences(order: np.ndarray, labels: np.ndarray, ks: Sequence[int]) -> dict[str, float]:
    """precision@k, recall@k and the ceiling of precision@k, over the sentences without a missing label.

    order: best column first [sentences, columns]; labels: int8, same shape.
    """
    rows = find_known_rows(labels)
    relevant = labels[rows] == 1
    measures = at_k(np.broadcast_to(order, labels.shape)[rows], relevant, ks)
    return measures | {f"ceiling_precision_at_{k}": ceiling_precision_at_k(relevant, k) for k in ks}


@dataclass(frozen=True)
class Reference:
    """What the sentences of validation's probe really bear.

    labels: int8 [probe, columns]. aspect_of: the aspect that each descriptor speaks for (see `match`), where
    the columns are gold aspects; None where they are the descriptors themselves.
    """

    labels: np.ndarray
    aspect_of: np.ndarray | None = None

    def measure(self, order: np.ndarray, ks: Sequence[int]) -> dict[str, float]:
        """sentence_measures of descriptors in order [probe or 1, descriptors]."""
        if self.aspect_of is not None:
            order = rank_aspects(order, self.aspect_of, self.labels.shape[1])
        return measure_sentences(order, self.labels, ks)


def measure_predictions(
    found: Pair[Findings],
    fired: Pair[np.ndarray],
    references: Mapping[str, Reference],
    ks: Sequence[int],
    columns: np.ndarray | None = None,
) -> dict[str, Any]:
    """`neuron` and `sentence.<reference>` measures of findings; columns: see `sentence_order`."""
    order = rank_descriptors(fired, found.calibration, columns)
    return {
        "neuron": measure_neurons(found, ks),
        "sentence": {name: reference.measure(order, ks) for name, reference in references.items()},
    }


@dataclass(frozen=True)
class Assessment:
    """Findings under some labels, and what they are measured against.

    labels: int8 [sentences, columns] of both splits; references: by name; oracle: whether the labels are gold.
    """

    labels: Pair[np.ndarray]
    references: Mapping[str, Reference]
    oracle: bool = False

    def measures(
        self, found: Pair[Findings], columns: np.ndarray | None, fired: Pair[np.ndarray], ks: Sequence[int]
    ) -> dict[str, Any]:
        """prediction_measures, with `replication` where the labels are gold (else `consistency` has it), `named`."""
        own = measure_predictions(found, fired, self.references, ks, columns)
        if self.oracle:
            own["replication"] = replication(found.calibration.assigned, found.validation.log_p)
        return self.named(own)

    def named(self, measures: Mapping[str, Any]) -> dict[str, Any]:
        """Measures as they are; those of gold labels under `oracle`, where `sentence.gold` is plain `sentence`."""
        if not self.oracle:
            return dict(measures)
        return {"oracle": {**measures, "sentence": measures["sentence"]["gold"]}}
