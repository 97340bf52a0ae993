"""The encoder protocol, and operations on vectors of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

CHUNK = 4096
"""Vectors that are computed with in float64 at once."""


class Encoder(Protocol):
    """A sentence encoder, as the embedding-based steps use it."""

    def encode(self, texts: Sequence[str], description: str = "") -> np.ndarray:
        """Unit vectors, float32 [texts, width], in the order of `texts`."""

    def words(self) -> list[str]:
        """Whole words of the encoder's vocabulary, most frequent first; empty if its pieces are not words."""


def scale_to_unit(vectors: np.ndarray) -> np.ndarray:
    """Scale rows to length 1; a row of zeros stays. vectors: any float [n, width]."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: np.ndarray = vectors / np.maximum(lengths, 1e-12)
    return scaled


def subtract_review_means(vectors: np.ndarray, review_ids: Sequence[str], share: float) -> np.ndarray:
    """Subtract `share` of the mean vector of its review's other sentences from each vector: float32 [n, width], not
    rescaled.

    share: in [0, 1]; 0 changes nothing, 1 leaves only what distinguishes a sentence from its review. A review of one
    sentence is left as it is.
    """
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share is {share}, not in [0, 1]")
    if not len(vectors):
        return vectors.astype(np.float32)
    _, review = np.unique(np.asarray(review_ids, dtype=str), return_inverse=True)
    sums = np.zeros((review.max() + 1, vectors.shape[1]))
    np.add.at(sums, review, vectors)
    others = (np.bincount(review) - 1)[review, None]
    out = np.empty(vectors.shape, np.float32)
    for start in range(0, len(vectors), CHUNK):
        rows = slice(start, start + CHUNK)
        means = (sums[review[rows]] - vectors[rows]) / np.maximum(others[rows], 1)
        out[rows] = vectors[rows] - share * np.where(others[rows] > 0, means, 0.0)
    return out
