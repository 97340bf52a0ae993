"""Transfer: do the assigned pairs of one corpus replicate on another, with the same vocabulary?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from descry.activations.record import Activations
from descry.assignment.evidence import Evidence, gather_evidence
from descry.assignment.false_discovery import log_p
from descry.assignment.rules import Findings
from descry.evaluation.chance import Draws, repeat
from descry.evaluation.gold import label_aspects, list_aspects, match_aspects
from descry.evaluation.measures import Reference
from descry.evaluation.nulls import shuffle_reviews
from descry.splits import REPLICATES
from descry.storage.nesting import flatten

STRONGEST = 0.1
"""The share of pairs, those of lowest p on calibration, that `strongest_replication` is about."""
KS = (1, 2)
"""The k of precision and recall at k."""


@dataclass(frozen=True)
class OtherCorpus:
    """Activations and labels on another corpus.

    active: with a probe; labels: int8 [sentences, descriptors]; scores: float32, same shape, NaN where missing;
    reviews: the review id of every sentence; gold: its aspects, None where unknown.
    """

    active: Activations
    labels: np.ndarray
    scores: np.ndarray
    reviews: Sequence[str]
    gold: Sequence[Sequence[str] | None]


@dataclass(frozen=True)
class TriedPairs:
    """The pairs of calibration, tested on another corpus. assigned: bool [neurons, descriptors] and log_p: float64,
    same shape, on calibration; evidence, log_p_there: on the other corpus."""

    assigned: np.ndarray
    log_p: np.ndarray
    evidence: Evidence
    log_p_there: np.ndarray

    @classmethod
    def of(cls, found: Findings, corpus: OtherCorpus, exemplars: int) -> TriedPairs:
        """Test all pairs. found: on calibration; exemplars: size of an exemplar set."""
        evidence = gather_evidence(corpus.active.exemplars(exemplars), corpus.labels)
        return cls(found.assigned, found.log_p, evidence, log_p(evidence))

    @property
    def again(self) -> np.ndarray:
        """bool [neurons, descriptors]: pairs with p at most REPLICATES on the other corpus."""
        return np.asarray(self.log_p_there <= np.log(REPLICATES))

    @property
    def strongest(self) -> np.ndarray:
        """bool [neurons, descriptors]: the STRONGEST share of the assigned pairs, by p on calibration."""
        if not self.assigned.any():
            return self.assigned
        return np.asarray(self.assigned & (self.log_p <= np.quantile(self.log_p[self.assigned], STRONGEST)))


def find_references(
    corpus: OtherCorpus, gold: Sequence[Sequence[str] | None], scores: np.ndarray
) -> dict[str, Reference]:
    """The references for the sentences of the corpus's probe: `labels`, and `gold` if the corpus has any.

    gold, scores: of calibration. Each descriptor is matched to its best aspect on calibration. If the corpus has other
    aspects, they are matched on half of its reviews and measured on the other half.
    """
    rows = corpus.active.probe_rows
    references = {"labels": Reference(corpus.labels[rows])}
    other_aspects, aspects = list_aspects(corpus.gold), list_aspects(gold)
    if other_aspects and set(other_aspects) <= set(aspects):
        aspect_of = match_aspects(scores, label_aspects(gold, aspects))[1]
        references["gold"] = Reference(label_aspects(corpus.gold, aspects)[rows], aspect_of)
    elif other_aspects:
        labels = label_aspects(corpus.gold, other_aspects)
        matched = np.unique(np.asarray(corpus.reviews), return_inverse=True)[1] % 2 == 0
        aspect_of = match_aspects(corpus.scores[matched], labels[matched])[1]
        labels[matched] = -1
        references["gold"] = Reference(labels[rows], aspect_of)
    return references


def _share(replicated: np.ndarray, chosen: np.ndarray) -> float:
    """Share of the chosen pairs that replicate; 0.0 if none is chosen."""
    return float(replicated[chosen].mean()) if chosen.any() else 0.0


def measure_transfer(
    tried: TriedPairs,
    corpus: OtherCorpus,
    probabilities: np.ndarray,
    found: Findings,
    references: Mapping[str, Reference],
    draws: Draws,
) -> tuple[Mapping[str, Any], dict[str, dict[str, np.ndarray]]]:
    """The measures, under `transfer`, and their values under each null.

    replication: share of the pairs of calibration that replicate on the corpus; strongest_replication: the same of the
    strongest pairs; sentence.<reference>: `Reference.measure` of `probabilities`, float64 [probe, descriptors], of the
    corpus's probe sentences by the vote of calibration's neurons. found: on calibration; references: from
    `find_references`.
    Nulls: `unassigned_pairs`, `permuted_neurons`, `most_common` (descriptors of calibration), `shuffled_labels` (whole
    reviews of the corpus permuted among the labels).
    """
    again, strongest = tried.again, tried.strongest

    def measure_pairs(replicated: np.ndarray) -> dict[str, float]:
        return {
            "replication": _share(replicated, tried.assigned),
            "strongest_replication": _share(replicated, strongest),
        }

    def measure_sentences(given: np.ndarray, by: Mapping[str, Reference]) -> dict[str, Any]:
        return {"sentence": {name: reference.measure(given, KS) for name, reference in by.items()}}

    def permute_neurons(generator: np.random.Generator) -> Mapping[str, Any]:
        return {"transfer": measure_pairs(again[generator.permutation(len(again))])}

    def shuffle_labels(generator: np.random.Generator) -> Mapping[str, Any]:
        order = shuffle_reviews([corpus.reviews[row] for row in corpus.active.probe_rows], generator)
        shuffled = {name: replace(reference, labels=reference.labels[order]) for name, reference in references.items()}
        return {"transfer": measure_sentences(probabilities, shuffled)}

    unassigned = _share(again, ~tried.assigned)
    common = flatten({"transfer": measure_sentences(found.evidence.prevalence[None], references)})
    chance = {
        "unassigned_pairs": {
            f"transfer.{name}": np.array([unassigned]) for name in ("replication", "strongest_replication")
        },
        "permuted_neurons": repeat(permute_neurons, draws),
        "most_common": {name: np.array([value]) for name, value in common.items()},
        "shuffled_labels": repeat(shuffle_labels, draws),
    }
    return {"transfer": measure_pairs(again) | measure_sentences(probabilities, references)}, chance


def tabulate_descriptors(names: Sequence[str], tried: TriedPairs, prevalence: np.ndarray) -> pd.DataFrame:
    """One row for every descriptor: descriptor, prevalence (on calibration, as given), there_prevalence (on the other
    corpus), pairs (of calibration), replication (the share of them that replicate, missing without any), unassigned
    (the same of all other neurons)."""
    assigned, again = tried.assigned, tried.again
    with np.errstate(invalid="ignore"):
        columns = {
            "prevalence": prevalence,
            "there_prevalence": tried.evidence.prevalence,
            "pairs": assigned.sum(axis=0),
            "replication": (assigned & again).sum(axis=0) / assigned.sum(axis=0),
            "unassigned": (~assigned & again).sum(axis=0) / (~assigned).sum(axis=0),
        }
    return pd.DataFrame({"descriptor": np.array(names, dtype=object)} | columns)


def tabulate_pairs(names: Sequence[str], tried: TriedPairs, active: Activations) -> pd.DataFrame:
    """One row for every pair of calibration, on the other corpus: layer, index, descriptor, count, known, p."""
    neuron, column = np.nonzero(tried.assigned)
    return pd.DataFrame(
        {
            "layer": active.layer[neuron],
            "index": active.index[neuron],
            "descriptor": np.array(names, dtype=object)[column],
            "count": tried.evidence.counts[neuron, column],
            "known": tried.evidence.known[neuron, column],
            "p": np.exp(tried.log_p_there[neuron, column]),
        }
    )
