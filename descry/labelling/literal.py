"""Literal evidence: which of a descriptor's members stand in a sentence, and how much that says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

from descry.vocabulary.candidates import locate_terms
from descry.vocabulary.descriptors import Descriptor


class Members:
    """The members of descriptors.

    descriptor: int64 [members], the descriptor that each stands for.
    """

    def __init__(self, descriptors: Sequence[Descriptor]) -> None:
        self._terms = [member for found in descriptors for member in found.members]
        self.descriptor = np.repeat(np.arange(len(descriptors)), [len(found.members) for found in descriptors])

    def locate(self, texts: Sequence[str]) -> csr_matrix:
        """`locate_terms`: bool [texts, members]."""
        return locate_terms(texts, self._terms)

    def weigh(self, located: csr_matrix, labels: np.ndarray) -> np.ndarray:
        """Weigh each member by the share of its descriptor's sentences in which it stands: float32 [members], 0 for a
        descriptor without sentences. labels: int8 [texts, descriptors]."""
        found = located.tocoo()
        both = labels[found.row, self.descriptor[found.col]] == 1
        counts = np.bincount(found.col[both], minlength=len(self.descriptor))
        sizes = np.maximum((labels == 1).sum(axis=0), 1)
        return np.asarray(counts / sizes[self.descriptor], dtype=np.float32)

    def add(self, scores: np.ndarray, located: csr_matrix, weights: np.ndarray) -> np.ndarray:
        """Add to each score the largest weight of the descriptor's members that stand in the sentence, in place.

        scores: float32 [texts, descriptors], which are returned; weights: float32 [members].
        """
        found = located.tocoo()
        places = found.row.astype(np.int64) * scores.shape[1] + self.descriptor[found.col]
        gains = weights[found.col]
        order = np.lexsort((gains, places))
        last = np.append(np.diff(places[order]) > 0, True)[: len(order)]
        best = order[last]
        scores[np.unravel_index(places[best], scores.shape)] += gains[best]
        return scores
