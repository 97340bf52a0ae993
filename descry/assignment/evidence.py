"""Evidence for descriptors: label counts of each neuron's exemplars. Definitions: docs/method.md, section 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array


@dataclass(frozen=True)
class Evidence:
    """Label counts of each neuron's exemplars and of the whole split.

    counts, known: int32 [neurons, descriptors], exemplars labelled with the descriptor, and exemplars whose label is
    not missing; positives, population: int64 [descriptors], the same two counts over all sentences of the split.
    """

    counts: np.ndarray
    known: np.ndarray
    positives: np.ndarray
    population: np.ndarray

    @property
    def composition(self) -> np.ndarray:
        """Share of the exemplars with a known label that bear each descriptor: float64 [neurons, descriptors].

        In [0, 1]; 0 where no label is known.
        """
        return np.asarray(self.counts / np.maximum(self.known, 1))

    @property
    def prevalence(self) -> np.ndarray:
        """Share of the sentences with a known label that bear each descriptor: float64 [descriptors], in [0, 1]."""
        return np.asarray(self.positives / np.maximum(self.population, 1))

    @property
    def lift(self) -> np.ndarray:
        """Composition divided by prevalence: float64 [neurons, descriptors]; 0 where the prevalence is 0."""
        prevalence = self.prevalence
        bounded = np.where(prevalence > 0, prevalence, np.inf)
        return np.asarray(self.composition / bounded)


def build_membership(rows: np.ndarray, sentences: int) -> csr_array:
    """Build the sparse matrix of exemplar sets: int16 [neurons, sentences], 1 for an exemplar, else 0.

    rows: int [neurons, k], the sentences that are each neuron's exemplars, -1 for none.
    """
    present = rows >= 0
    ends = np.concatenate([[0], np.cumsum(present.sum(axis=1))])
    return csr_array((np.ones(ends[-1], np.int16), rows[present], ends), shape=(len(rows), sentences))


def gather_evidence(rows: np.ndarray, labels: np.ndarray) -> Evidence:
    """Count the labels of each neuron's exemplars, by one sparse matrix product.

    rows: int [neurons, k], the exemplars of each neuron, -1 for none, k below 2**15; labels: int8 [sentences,
    descriptors], 1, 0 or -1 (missing). Missing labels are left out of every count.
    """
    member = build_membership(rows, len(labels))
    counts = (member @ (labels == 1).astype(np.int16)).astype(np.int32)
    missing = labels < 0
    known = np.repeat((rows >= 0).sum(axis=1)[:, None], labels.shape[1], axis=1).astype(np.int32)
    if missing.any():
        known -= (member @ missing.astype(np.int16)).astype(np.int32)
    return Evidence(counts, known, (labels == 1).sum(0), (~missing).sum(0))
