"""The generator `retrieval`, without a language model: the terms nearest to a sentence in the embedding space.

A share of the review's mean vector is subtracted from each sentence first: what is left is what the sentence says,
rather than which product it is about. Terms that many reviews use, and those that stand in the sentence, are preferred.
Details: docs/method.md, section 3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS
from tqdm import tqdm

from descry.corpus.sampling import sample_sentences
from descry.embedding.vectors import Encoder, scale_to_unit, subtract_review_means
from descry.errors import InputError
from descry.vocabulary.candidates import RETRIEVAL, TOKEN, Proposals, build_candidate_table, locate_terms
from descry.vocabulary.proper_names import find_proper_names

CHUNK = 2048
"""Sentences that are compared with the terms at a time."""
COMMON = 0.02
"""Added to a term's cosine for each e-fold of the number of reviews that use it: of terms that fit alike, common ones
name aspects, rare ones name scenes."""
LITERAL = 0.1
"""Added to the cosine of a term that stands in the sentence."""


# fmt: off
_EMPTY_WORDS = frozenset(ENGLISH_STOP_WORDS) | {
    "actually", "ago", "came", "certainly", "come", "comes", "decided", "definitely", "did", "does", "doing", "don",
    "ever", "gave", "get", "gets", "getting", "given", "goes", "going", "gone", "got", "guess", "highly", "just",
    "knew", "know", "later", "let", "lets", "like", "lot", "lots", "made", "make", "makes", "making", "maybe",
    "probably", "put", "quite", "really", "said", "say", "says", "soon", "stuff", "take", "taken", "takes", "thing",
    "things", "think", "thought", "took", "tried", "twice", "want", "wanted", "went", "yes",
    "seven", "thirteen", "fourteen", "sixteen", "seventeen", "eighteen", "nineteen", "thirty", "seventy", "eighty",
    "ninety", "thousand", "million",
}
# fmt: on


def _split_words(text: str) -> list[str]:
    """Split a text into lower-case tokens, in order; "" replaces those that cannot be part of a term."""
    tokens = TOKEN.findall(text.lower())
    return [token if token.isalpha() and len(token) > 2 and token not in _EMPTY_WORDS else "" for token in tokens]


def count_recurring(texts: Iterable[str], review_ids: Iterable[str]) -> tuple[Counter[str], Counter[str]]:
    """Count the reviews in which each word, and each pair of adjacent words, occurs; without stop words."""
    words: dict[str, set[str]] = {}
    pairs: dict[str, set[str]] = {}
    for text, review in zip(texts, review_ids, strict=True):
        tokens = _split_words(text)
        for token in filter(None, tokens):
            words.setdefault(token, set()).add(review)
        for first, second in pairwise(tokens):
            if first and second and first != second:
                pairs.setdefault(f"{first} {second}", set()).add(review)
    return (
        Counter({word: len(reviews) for word, reviews in words.items()}),
        Counter({pair: len(reviews) for pair, reviews in pairs.items()}),
    )


def select_terms(
    texts: Sequence[str],
    review_ids: Sequence[str],
    known: Sequence[str],
    *,
    words: int,
    pairs: int,
    min_reviews: int,
) -> dict[str, int]:
    """Select the terms to search, with the number of reviews that use each: at most `words` words, then at most `pairs`
    word pairs.

    Only terms of at least `min_reviews` reviews: the words of `known` (an encoder's whole words, most frequent first),
    then the corpus's other words, then its word pairs, each by decreasing number of reviews.
    """
    used, paired = count_recurring(texts, review_ids)
    listed = dict.fromkeys([*(word for word in known if used[word] >= min_reviews), *_list_frequent(used, min_reviews)])
    selected = {word: used[word] for word in list(listed)[:words]}
    return selected | {pair: paired[pair] for pair in _list_frequent(paired, min_reviews)[:pairs]}


def _list_frequent(counts: Counter[str], least: int) -> list[str]:
    return sorted((term for term in counts if counts[term] >= least), key=lambda term: (-counts[term], term))


def find_nearest(
    vectors: np.ndarray, terms: np.ndarray, count: int, prior: np.ndarray, literal: csr_matrix
) -> tuple[np.ndarray, np.ndarray]:
    """Find the `count` terms of the highest score for each vector, best first.

    The score is the inner product, plus the term's `prior` (float [m]), plus LITERAL where `literal` (bool [n, m]) is
    true. vectors: [n, width]; terms: [m, width]. Returns rows of `terms` int64 and scores float32, both [n, min(count,
    m)]; ties go to the lower row. At most CHUNK x m products are held at once.
    """
    count = min(count, len(terms))
    nearest = np.empty((len(vectors), count), dtype=np.int64)
    scores = np.empty((len(vectors), count), dtype=np.float32)
    for start in tqdm(range(0, len(vectors), CHUNK), desc="nearest terms", unit="chunk"):
        products = vectors[start : start + CHUNK] @ terms.T + prior
        products[literal[start : start + CHUNK].nonzero()] += LITERAL
        rows = np.arange(len(products))
        for place in range(count):
            best = products.argmax(axis=1)
            nearest[start + rows, place], scores[start + rows, place] = best, products[rows, best]
            products[rows, best] = -np.inf
    return nearest, scores


@dataclass(frozen=True)
class Retrieval:
    """The generator `retrieval`.

    share: of the review's mean that is subtracted, in [0, 1]. per_sentence: candidates per sentence, >= 1. words,
    pairs, min_reviews: see `select_terms`. sample: sentences read, at most. template: a sentence with {} for the term,
    in which terms are embedded, so that their vectors are comparable to those of sentences. proper_names: whether terms
    may hold names of people, brands and places.
    """

    embedder: Encoder
    share: float
    per_sentence: int
    words: int
    pairs: int
    min_reviews: int
    sample: int
    template: str
    proper_names: bool

    def propose(self, sentences: pd.DataFrame) -> Proposals:
        """Propose the `per_sentence` best terms of every sentence read; the score is that of `find_nearest`.

        Errors: InputError if no term occurs in `min_reviews` reviews.
        """
        rows = sample_sentences(sentences, self.sample)
        read = sentences.iloc[rows]
        texts, reviews = read["text"].tolist(), read["review_id"].tolist()
        used = self._select_terms(texts, reviews)
        if not used:
            raise InputError(
                f"generate: no word occurs in {self.min_reviews} reviews; lower `generate.retrieval.min_reviews` "
                "or give more reviews"
            )
        terms = list(used)
        vectors = subtract_review_means(self.embedder.encode(texts, "embedding sentences"), reviews, self.share)
        vectors = scale_to_unit(vectors - vectors.mean(axis=0))
        points = self.embedder.encode([self.template.format(term) for term in terms], "embedding terms")
        nearest, scores = find_nearest(
            vectors,
            scale_to_unit(points - points.mean(axis=0)),
            self.per_sentence,
            COMMON * np.log(list(used.values())).astype(np.float32),
            locate_terms(texts, terms),
        )
        table = build_candidate_table(
            np.repeat(rows, nearest.shape[1]),
            [terms[term] for term in nearest.ravel()],
            scores.ravel(),
            np.tile(np.arange(nearest.shape[1]), len(rows)),
            RETRIEVAL,
        )
        return Proposals(table)

    def _select_terms(self, texts: Sequence[str], reviews: Sequence[str]) -> dict[str, int]:
        """`select_terms`, without proper names unless they are wanted."""
        used = select_terms(
            texts,
            reviews,
            self.embedder.words(),
            words=self.words,
            pairs=self.pairs,
            min_reviews=self.min_reviews,
        )
        if self.proper_names:
            return used
        names = find_proper_names(list(used), texts, self.embedder, self.template)
        return {term: count for term, count in used.items() if term not in names}
