"""Candidates without a language model: the terms that lie nearest to a sentence in the embedding space.

docs/method.md, section 5. Half of the review's own mean is taken off a sentence first: what is left is what the
sentence says, not which product it is about.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from tqdm import tqdm

from descry.embedding import TEMPLATE, Encoder, residuals, sampled, unit
from descry.errors import InputError
from descry.generation import candidate_table

NAME = "retrieval"
CHUNK = 2048
"""Sentences compared with the terms at once."""

WITNESSES = 20
"""Sentences that tell how strongly a corpus speaks of a term."""

_TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|[^\w\s]|\d+")
_EMPTY_WORDS = ENGLISH_STOP_WORDS | frozenset(
    "did does doing don just really got get gets getting going gone went say said says make makes made making "
    "thing things stuff lot lots quite actually probably maybe yes ever let lets put want wanted know knew "
    "came come comes goes took take takes taken given gave like".split()
)


def _content(text: str) -> list[str]:
    """Tokens in order, lower-cased; "" stands for whatever cannot be part of a term."""
    tokens = _TOKEN.findall(text.lower())
    return [token if token.isalpha() and len(token) > 2 and token not in _EMPTY_WORDS else "" for token in tokens]


def recurring(texts: Iterable[str], review_ids: Iterable[str]) -> tuple[Counter[str], Counter[str]]:
    """In how many reviews each word, and each pair of adjacent words, occurs (stop words apart)."""
    words: dict[str, set[str]] = {}
    pairs: dict[str, set[str]] = {}
    for text, review in zip(texts, review_ids, strict=True):
        tokens = _content(text)
        for token in filter(None, tokens):
            words.setdefault(token, set()).add(review)
        for first, second in pairwise(tokens):
            if first and second and first != second:
                pairs.setdefault(f"{first} {second}", set()).add(review)
    return (
        Counter({word: len(reviews) for word, reviews in words.items()}),
        Counter({pair: len(reviews) for pair, reviews in pairs.items()}),
    )


def vocabulary(
    texts: Sequence[str],
    review_ids: Sequence[str],
    known: Sequence[str],
    *,
    words: int,
    pairs: int,
    min_reviews: int,
) -> list[str]:
    """The terms to search: at most `words` words, then at most `pairs` word pairs.

    Words are those of `known` (an encoder's whole words, most frequent first) that at least `min_reviews`
    reviews use; where `known` has none of them, the corpus's own. Pairs are the corpus's most recurring.
    """
    used, paired = recurring(texts, review_ids)
    kept = [word for word in known if used[word] >= min_reviews]
    if not kept:
        kept = _frequent(used, min_reviews)
    return kept[:words] + _frequent(paired, min_reviews)[:pairs]


def _frequent(counts: Counter[str], least: int) -> list[str]:
    return sorted((term for term in counts if counts[term] >= least), key=lambda term: (-counts[term], term))


def nearest(vectors: np.ndarray, terms: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` terms of largest inner product with each vector, best first: int64 and float32 [n, count].

    Equal scores go to the lower term. At most CHUNK x terms products are held at once.
    """
    count = min(count, len(terms))
    found = np.empty((len(vectors), count), dtype=np.int64)
    scores = np.empty((len(vectors), count), dtype=np.float32)
    for start in tqdm(range(0, len(vectors), CHUNK), desc="nearest terms", unit="chunk"):
        products = vectors[start : start + CHUNK] @ terms.T
        order = np.argsort(-products, axis=1, kind="stable")[:, :count]
        found[start : start + CHUNK] = order
        scores[start : start + CHUNK] = np.take_along_axis(products, order, axis=1)
    return found, scores


def strengths(vectors: np.ndarray, terms: np.ndarray, witnesses: int) -> np.ndarray:
    """Of each term, the mean inner product with its `witnesses` nearest sentences: float32 [terms].

    High where some sentences are about the term, low where it is merely as near to all. As `nearest`, never all
    sentences x terms at once.
    """
    best = np.full((len(terms), 0), 0, dtype=np.float32)
    for start in range(0, len(vectors), CHUNK):
        products = np.hstack([best, terms @ vectors[start : start + CHUNK].T])
        best = -np.sort(-products, axis=1)[:, :witnesses]
    means: np.ndarray = best.mean(axis=1)
    return means


@dataclass(frozen=True)
class Retrieval:
    """The generator `retrieval`.

    share: of the review's mean that is taken off, [0, 1]. per_sentence: candidates a sentence, >= 1. words,
    pairs: bounds of the vocabulary. min_reviews: reviews that must use a term. sample: sentences read, at most.
    template: a sentence with {} in it that a term is embedded in, so that it lies where sentences lie.
    """

    embedder: Encoder
    share: float = 0.5
    per_sentence: int = 5
    words: int = 6000
    terms: int = 400
    pairs: int = 300
    min_reviews: int = 3
    sample: int = 20_000
    template: str = TEMPLATE

    def candidates(self, sentences: pd.DataFrame) -> pd.DataFrame:
        """The `per_sentence` nearest terms of every sentence read. Errors: InputError where no term recurs."""
        rows = sampled(sentences, self.sample)
        read = sentences.iloc[rows]
        texts, reviews = read["text"].tolist(), read["review_id"].tolist()
        terms = vocabulary(
            texts,
            reviews,
            self.embedder.words(),
            words=self.words,
            pairs=self.pairs,
            min_reviews=self.min_reviews,
        )
        if not terms:
            raise InputError(
                f"generate: no word occurs in {self.min_reviews} reviews; lower `generate.min_reviews` or read more"
            )
        vectors = residuals(self.embedder.encode(texts, "embedding sentences"), reviews, self.share)
        vectors = unit(vectors - vectors.mean(axis=0))
        points = self.embedder.encode([self.template.format(term) for term in terms], "embedding terms")
        points = unit(points - points.mean(axis=0))
        strength = strengths(vectors, points, WITNESSES)
        kept = np.sort(np.argsort(-strength, kind="stable")[: self.terms])
        terms = [terms[term] for term in kept]
        found, scores = nearest(vectors, points[kept], self.per_sentence)
        return candidate_table(
            np.repeat(rows, found.shape[1]),
            [terms[term] for term in found.ravel()],
            scores.ravel(),
            np.tile(np.arange(found.shape[1]), len(rows)),
            NAME,
        )
