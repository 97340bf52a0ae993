"""What one corpus said of neurons, tried on another: the same vocabulary, nothing assigned anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from descry.activations.record import Activations
from descry.assignment import Evidence, Findings, gather_evidence, log_p, rank
from descry.evaluation.chance import Draws, repeat
from descry.evaluation.gold import label_aspects, list_aspects, match_aspects
from descry.evaluation.measures import Reference
from descry.evaluation.nulls import shuffle_reviews
from descry.evaluation.voting import Electorate, measure_firing
from descry.splits import REPLICATES
from descry.storage.nesting import flatten

STRONGEST = 0.1
"""Share of the pairs, those of the lowest p on calibration, that are looked at by themselves."""
KS = (1, 2)


@dataclass(frozen=True)
class OtherCorpus:
    """Another corpus: what its activations and labels say.

    active: with a probe; labels: int8 [sentences, descriptors]; scores: float32 alike, NaN where missing; reviews: of
    every sentence; gold: its aspects, None where not known.
    """

    active: Activations
    labels: np.ndarray
    scores: np.ndarray
    reviews: Sequence[str]
    gold: Sequence[Sequence[str] | None]


@dataclass(frozen=True)
class TriedPairs:
    """Pairs of calibration on another corpus. assigned: bool [neurons, descriptors], and log_p: float64 alike, on
    calibration; evidence, log_p_there: on the other."""

    assigned: np.ndarray
    log_p: np.ndarray
    evidence: Evidence
    log_p_there: np.ndarray

    @classmethod
    def of(cls, found: Findings, corpus: OtherCorpus, exemplars: int) -> TriedPairs:
        """found: on calibration; exemplars: in a set."""
        evidence = gather_evidence(corpus.active.exemplars(exemplars), corpus.labels)
        return cls(found.assigned, found.log_p, evidence, log_p(evidence))

    @property
    def again(self) -> np.ndarray:
        """bool [neurons, descriptors]: p there at most REPLICATES."""
        return np.asarray(self.log_p_there <= np.log(REPLICATES))

    @property
    def strongest(self) -> np.ndarray:
        """bool [neurons, descriptors]: the assigned pairs in the STRONGEST share by p on calibration."""
        if not self.assigned.any():
            return self.assigned
        return np.asarray(self.assigned & (self.log_p <= np.quantile(self.log_p[self.assigned], STRONGEST)))


def find_references(
    corpus: OtherCorpus, gold: Sequence[Sequence[str] | None], scores: np.ndarray
) -> dict[str, Reference]:
    """What the sentences of the corpus's probe really bear: `labels`, and `gold` where it has any.

    gold, scores: of calibration. A descriptor speaks for the aspect that it matches best on calibration; where the
    corpus has other aspects, on half of its own reviews, and only the other half is measured.
    """
    rows = corpus.active.probe_rows
    found = {"labels": Reference(corpus.labels[rows])}
    there, here = list_aspects(corpus.gold), list_aspects(gold)
    if there and set(there) <= set(here):
        aspect_of = match_aspects(scores, label_aspects(gold, here))[1]
        found["gold"] = Reference(label_aspects(corpus.gold, here)[rows], aspect_of)
    elif there:
        labels = label_aspects(corpus.gold, there)
        learned = np.unique(np.asarray(corpus.reviews), return_inverse=True)[1] % 2 == 0
        aspect_of = match_aspects(corpus.scores[learned], labels[learned])[1]
        labels[learned] = -1
        found["gold"] = Reference(labels[rows], aspect_of)
    return found


def _share(of: np.ndarray, chosen: np.ndarray) -> float:
    return float(of[chosen].mean()) if chosen.any() else 0.0


def measure_transfer(
    tried: TriedPairs,
    corpus: OtherCorpus,
    calibration: Activations,
    found: Findings,
    known: Mapping[str, Reference],
    draws: Draws,
) -> tuple[Mapping[str, Any], dict[str, dict[str, np.ndarray]]]:
    """The measures, under `transfer`, and each null's values of them.

    replication: share of the pairs of calibration that are found again there; strongest_replication: of the strongest
    ones; sentence.<reference>: precision and recall at KS of what calibration's neurons vote on the corpus's sentences.
    calibration: with a probe; found: on it; known: `references`. Nulls: `unassigned_pairs`, `permuted_neurons`,
    `most_common` (of calibration), `shuffled_labels` (whole reviews of the corpus change places among the labels).
    """
    votes = Electorate.of(measure_firing(calibration, calibration), found).scores(
        measure_firing(corpus.active, calibration)
    )
    orders = {"": rank(votes), "most_common": rank(found.evidence.prevalence[None])}
    again, strongest = tried.again, tried.strongest

    def pairs(there: np.ndarray) -> dict[str, float]:
        return {"replication": _share(there, tried.assigned), "strongest_replication": _share(there, strongest)}

    def sentences(order: np.ndarray, by: Mapping[str, Reference]) -> dict[str, Any]:
        return {"sentence": {name: reference.measure(order, KS) for name, reference in by.items()}}

    def permuted(generator: np.random.Generator) -> Mapping[str, Any]:
        return {"transfer": pairs(again[generator.permutation(len(again))])}

    def shuffled(generator: np.random.Generator) -> Mapping[str, Any]:
        order = shuffle_reviews([corpus.reviews[row] for row in corpus.active.probe_rows], generator)
        moved = {name: replace(reference, labels=reference.labels[order]) for name, reference in known.items()}
        return {"transfer": sentences(orders[""], moved)}

    unassigned = _share(again, ~tried.assigned)
    common = flatten({"transfer": sentences(orders["most_common"], known)})
    chance = {
        "unassigned_pairs": {
            f"transfer.{name}": np.array([unassigned]) for name in ("replication", "strongest_replication")
        },
        "permuted_neurons": repeat(permuted, draws),
        "most_common": {name: np.array([value]) for name, value in common.items()},
        "shuffled_labels": repeat(shuffled, draws),
    }
    return {"transfer": pairs(again) | sentences(orders[""], known)}, chance


def tabulate_descriptors(names: Sequence[str], tried: TriedPairs, prevalence: np.ndarray) -> pd.DataFrame:
    """Every descriptor: descriptor, prevalence (of calibration, as given) and there_prevalence; pairs, of calibration;
    replication, their share found again there (missing without any); unassigned, the same of all other neurons."""
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
    """Every pair of calibration there: layer, index, descriptor, count, known, p; by neuron and descriptor."""
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
