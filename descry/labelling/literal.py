"""Literal evidence: which of a descriptor's members stand in a sentence, and how much that says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

from descry.vocabulary.candidates import TOKEN
from descry.vocabulary.descriptors import Descriptor


class Members:
    """The members of descriptors, each a sequence of words.

    descriptor: int64 [members], the descriptor that each stands for.
    """

    def __init__(self, descriptors: Sequence[Descriptor]) -> None:
        listed = [(column, member) for column, found in enumerate(descriptors) for member in found.members]
        self.descriptor = np.array([column for column, _ in listed], dtype=np.int64)
        self._places: dict[tuple[str, ...], list[int]] = {}
        for place, (_, member) in enumerate(listed):
            self._places.setdefault(tuple(TOKEN.findall(member.lower())), []).append(place)
        self._lengths = sorted({len(words) for words in self._places} - {0})

    def locate(self, texts: Sequence[str]) -> csr_matrix:
        """Locate the members that stand in each text as whole words, in any case: float32 [texts, members], 0 or 1."""
        rows: list[int] = []
        columns: list[int] = []
        for row, text in enumerate(texts):
            words = TOKEN.findall(text.lower())
            runs = {tuple(words[i : i + n]) for n in self._lengths for i in range(len(words) - n + 1)}
            present = [place for run in runs & self._places.keys() for place in self._places[run]]
            rows += [row] * len(present)
            columns += present
        shape = len(texts), len(self.descriptor)
        return csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)

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
