"""How well texts fit sentences, by a sentence encoder's similarity."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from descry.embedding.vectors import Encoder
from descry.judging.scores import bin_by_length, subtract_length

DIGITS = 5
"""Of fits; beyond them, rounding errors would break ties."""


class Fitter(Protocol):
    """How well texts fit some sentences, less what the sentences' lengths tell."""

    def fit(self, texts: Sequence[str]) -> np.ndarray:
        """How well some of the known texts fit: float32 [texts, sentences]."""


FitterOpener = Callable[[Sequence[str], Sequence[str]], Fitter]
"""Makes a fitter of sentences, and of all texts that it will be asked for."""


class SimilarityFitter:
    """The cosine of the vectors of text and sentence."""

    def __init__(self, encoder: Encoder, sentences: Sequence[str], texts: Sequence[str]) -> None:
        self._sentences = encoder.encode(sentences, "sentences")
        self._by_length = bin_lengths(sentences)
        known = list(dict.fromkeys(texts))
        self._vectors = dict(zip(known, encoder.encode(known, "descriptions"), strict=True))

    def fit(self, texts: Sequence[str]) -> np.ndarray:
        """See `Fitter`."""
        vectors = np.stack([self._vectors[text] for text in texts])
        return level(vectors @ self._sentences.T, self._by_length)


def bin_lengths(sentences: Sequence[str]) -> np.ndarray:
    """The group of every sentence by its number of characters; see `scores.bin_by_length`."""
    return bin_by_length(np.array([len(text) for text in sentences]))


def level(fits: np.ndarray, by_length: np.ndarray) -> np.ndarray:
    """Subtract what lengths tell from fits [texts, sentences], and round: float32, same shape. by_length: from
    `bin_lengths`."""
    return np.round(subtract_length(fits, by_length), DIGITS)
