"""The labeller `embedding`: one prototype per descriptor in the embedding space, in competition with the others; and
whether the descriptor's words stand in the sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from descry.corpus.sampling import sample_sentences
from descry.embedding.vectors import Encoder, scale_to_unit, subtract_review_means
from descry.labelling.labels import Labelled, Labels, find_cuts, find_links, log_shares
from descry.labelling.literal import Members
from descry.vocabulary.descriptors import Descriptor

CHUNK = 512
"""Sentences compared with the reference, or with prototypes, at once."""


def smooth_vectors(
    vectors: np.ndarray, reference: np.ndarray, neighbours: int, itself: np.ndarray | None = None
) -> np.ndarray:
    """Average each vector, in equal parts, with the mean of its nearest reference vectors: unit rows [n, width].

    What a sentence shares with similar sentences depends more on its topic and less on its wording. vectors [n, width]
    and reference [m, width] have unit rows; the mean is weighted by the squared cosine. itself: int [n], the row of
    each vector in the reference, or -1; no vector is its own neighbour. At most CHUNK x m cosines are held at once.
    """
    count = min(neighbours, len(reference) - 1)
    if count < 1:
        return vectors
    out = np.empty_like(vectors)
    for start in range(0, len(vectors), CHUNK):
        here = vectors[start : start + CHUNK]
        cosines = here @ reference.T
        if itself is not None:
            rows = itself[start : start + CHUNK]
            cosines[np.flatnonzero(rows >= 0), rows[rows >= 0]] = -1.0
        nearest = np.sort(np.argpartition(-cosines, count - 1, axis=1)[:, :count], axis=1)
        weights = np.maximum(np.take_along_axis(cosines, nearest, axis=1), 0.0) ** 2
        out[start : start + CHUNK] = scale_to_unit(
            here + scale_to_unit(np.einsum("nk,nkw->nw", weights, reference[nearest]))
        )
    return out


def average_links(vectors: np.ndarray, candidates: pd.DataFrame, descriptors: Sequence[Descriptor]) -> np.ndarray:
    """Average the vectors of the sentences that proposed each descriptor, with a weight of 1 / (1 + rank).

    Returns [descriptors, width], unit rows; zeros for a descriptor that no sentence proposed.
    """
    rows, columns, strength = find_links(candidates, descriptors)
    sums = np.zeros((len(descriptors), vectors.shape[1]))
    np.add.at(sums, columns, strength[:, None] * vectors[rows])
    return scale_to_unit(sums)


def refine_prototypes(vectors: np.ndarray, anchors: np.ndarray, *, rounds: int, pull: float) -> np.ndarray:
    """Refine prototypes by spherical k-means that stays near the anchors: [descriptors, width], unit rows.

    In each round, a prototype becomes its anchor plus `pull` times the mean direction of the vectors nearest to it.
    anchors: [descriptors, width], unit rows.
    """
    prototypes = anchors
    for _ in range(rounds):
        sums = np.zeros_like(anchors)
        np.add.at(sums, (vectors @ prototypes.T).argmax(axis=1), vectors)
        prototypes = scale_to_unit(anchors + pull * scale_to_unit(sums))
    return prototypes


def average_labelled(vectors: np.ndarray, labels: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """The mean direction of the vectors labelled with each descriptor: [descriptors, width], unit rows; that of
    `otherwise` where none is. labels: int8 [n, descriptors]."""
    sums = (labels == 1).astype(vectors.dtype).T @ vectors
    return np.where((labels == 1).any(axis=0)[:, None], scale_to_unit(sums), otherwise)


def log_posteriors(vectors: np.ndarray, found: np.ndarray, sharpness: float) -> np.ndarray:
    """Log softmax over prototypes of `sharpness` times the cosines: float32 [n, descriptors], <= 0.

    vectors: [n, width], found: the prototypes, [descriptors, width]; both with unit rows.
    """
    out = np.empty((len(vectors), len(found)), np.float32)
    for start in range(0, len(vectors), CHUNK):
        rows = slice(start, start + CHUNK)
        out[rows] = log_shares(sharpness * (vectors[rows] @ found.T))
    return out


@dataclass(frozen=True)
class EmbeddingLabeller:
    """The labeller `embedding`; it learns from calibration and its candidates, never from gold.

    share: of the review's mean that is subtracted, as in `retrieval.Retrieval`. neighbours: see `smooth_vectors`.
    rounds, pull: see `refine_prototypes`. sharpness: see `log_posteriors`. literal: how much it adds to a descriptor's
    score if a member stands in the sentence that stands in all of its sentences, see `Members.add`. breadth: see
    `labels.find_cuts`. reference: number of calibration's sentences, at most, that serve as neighbours and refine the
    prototypes.
    """

    embedder: Encoder
    share: float
    neighbours: int
    rounds: int
    pull: float
    sharpness: float
    literal: float
    breadth: float
    reference: int

    def label(
        self,
        calibration: pd.DataFrame,
        others: Sequence[pd.DataFrame],
        candidates: pd.DataFrame,
        descriptors: Sequence[Descriptor],
    ) -> Labelled:
        """Label calibration, then each of `others`; no label is missing."""
        vectors = self._embed(calibration)
        mean = vectors.mean(axis=0)
        vectors = scale_to_unit(vectors - mean)
        rows = sample_sentences(calibration, self.reference)
        itself = np.full(len(calibration), -1)
        itself[rows] = np.arange(len(rows))
        reference = vectors[rows]
        smooth = smooth_vectors(vectors, reference, self.neighbours, itself)
        anchors = average_links(smooth, candidates, descriptors)
        prototypes = refine_prototypes(smooth[rows], anchors, rounds=self.rounds, pull=self.pull)
        members = Members(descriptors)
        located = members.locate(calibration["text"].tolist())
        posteriors = log_posteriors(smooth, prototypes, self.sharpness)
        weights = self.literal * members.weigh(located, _cut(posteriors, find_cuts(posteriors, self.breadth)))
        literal = members.add(posteriors.copy(), located, weights)
        labels = _cut(literal, find_cuts(literal, self.breadth, posteriors))
        prototypes = average_labelled(smooth[rows], labels[rows], prototypes)
        posteriors = log_posteriors(smooth, prototypes, self.sharpness)
        scores = [members.add(posteriors.copy(), located, weights)]
        thresholds = find_cuts(scores[0], self.breadth, posteriors)
        del vectors, smooth, posteriors, literal  # of a large corpus, one table's vectors at a time are enough
        for table in others:
            smooth = smooth_vectors(scale_to_unit(self._embed(table) - mean), reference, self.neighbours)
            posteriors = log_posteriors(smooth, prototypes, self.sharpness)
            scores.append(members.add(posteriors, members.locate(table["text"].tolist()), weights))
        return Labelled([Labels(_cut(score, thresholds), score) for score in scores])

    def _embed(self, sentences: pd.DataFrame) -> np.ndarray:
        """Embed sentences and subtract `share` of their reviews' means."""
        vectors = self.embedder.encode(sentences["text"].tolist(), "embedding sentences")
        return subtract_review_means(vectors, sentences["review_id"].tolist(), self.share)


def _cut(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """The labels of scores: int8, as `scores`."""
    return (scores >= thresholds).astype(np.int8)
