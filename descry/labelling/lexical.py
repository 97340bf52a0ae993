"""Labels from a sentence's words alone: a check on labels that an encoder gives.

What is learnt from, the candidates' links, may come from an encoder; no encoder reads what is labelled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from descry.corpus.sampling import sample_sentences
from descry.embedding.vectors import scale_to_unit
from descry.errors import InputError
from descry.labelling.labels import LOWEST, Labelled, Labels, assign_folds, find_cuts, find_links, log_shares
from descry.vocabulary.descriptors import Descriptor

FOLDS = 5
"""Calibration is scored in so many folds of reviews."""
FEATURES = 50_000
"""Words that are told apart, at most: the most frequent."""
MEMBERS = 0.25
"""Weight of a descriptor's own members against the sentences that proposed it, 1 - MEMBERS."""
ROUNDS = 2
"""Steps from words to sentences and back; see `word_weights`."""
CHUNK = 8192
"""Sentences scored at once."""


def weigh_words(sentences: csr_matrix, linked: csr_matrix, members: csr_matrix, spread: float) -> np.ndarray:
    """How much each word speaks for each descriptor: float32 [words, descriptors], a smoothed log odds ratio.

    A descriptor's profile is the mean of the sentences that proposed it and of its members; `spread` of it,
    in [0, 1], is taken from the words that stand beside the profile's own in any sentence, proposed or not.
    A weight is the log of a word's share in the profile over its mean share in all, both smoothed by a
    uniform profile. sentences: TF-IDF [n, words]; linked: strengths [n, descriptors]; members: TF-IDF of the
    members [descriptors, words].
    """
    profiles = (1 - MEMBERS) * scale_to_unit((linked.T @ sentences).toarray()) + MEMBERS * scale_to_unit(
        members.toarray()
    )
    profiles = scale_to_unit(profiles).T
    words = sentences.T.tocsr()
    lengths = np.sqrt(np.asarray(words.multiply(words).sum(axis=1)))
    words = words.multiply(1 / np.maximum(lengths, 1e-12)).tocsr()
    beside = profiles
    for _ in range(ROUNDS):
        beside = scale_to_unit((words @ (words.T @ beside)).T).T
    shares = (1 - spread) * profiles + spread * beside
    shares /= np.maximum(shares.sum(axis=0), 1e-12)
    uniform = 1 / len(shares)
    odds = (shares + uniform) / (shares.mean(axis=1, keepdims=True) + uniform)
    return np.asarray(np.log(odds), dtype=np.float32)


@dataclass(frozen=True)
class _Model:
    vectorizer: TfidfVectorizer
    weights: np.ndarray

    def score(self, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log shares of the descriptors, float32 [texts, descriptors], and whether any word is known, bool [texts]."""
        scores = np.empty((len(texts), self.weights.shape[1]), dtype=np.float32)
        known = np.zeros(len(texts), dtype=bool)
        for start in range(0, len(texts), CHUNK):
            here = self.vectorizer.transform(texts[start : start + CHUNK])
            scores[start : start + CHUNK] = log_shares(here @ self.weights)
            known[start : start + CHUNK] = np.diff(here.indptr) > 0
        return scores, known


@dataclass(frozen=True)
class LexicalLabeller:
    """The labeller `lexical`: naive Bayes over TF-IDF, learnt from the candidates' links, never from gold.

    A sentence of calibration is scored by a model that has read no sentence of its fold of reviews (one of
    FOLDS), sentences of other tables by one that has read all. Without a known word a sentence gets no label.

    letters: of a word, its first so many count (`deliv` for delivery and delivered), at least 2; large =
    whole words. min_sentences: a word that fewer training sentences use is unknown, at least 1. spread: see
    `word_weights`. breadth: see `labelling.cuts`. reference: sentences of calibration, at most, that models
    learn from.
    """

    letters: int
    min_sentences: int
    spread: float
    breadth: float
    reference: int

    def label(
        self,
        calibration: pd.DataFrame,
        others: Sequence[pd.DataFrame],
        candidates: pd.DataFrame,
        descriptors: Sequence[Descriptor],
    ) -> Labelled:
        """Labels of calibration, then of each of `others`; none is missing. Errors: InputError where there is
        nothing to learn from."""
        texts = calibration["text"].to_numpy(dtype=object)
        reviews = calibration["review_id"].to_numpy(dtype=object)
        rows, columns, strengths = find_links(candidates, descriptors)
        linked = csr_matrix((strengths, (rows, columns)), shape=(len(texts), len(descriptors)))
        reference = sample_sentences(calibration, self.reference)
        reference = reference[np.lexsort((texts[reference], reviews[reference]))]
        proposed = np.flatnonzero(linked[reference].getnnz(axis=0))
        members = [" ".join(descriptors[column].members) for column in proposed.tolist()]

        def fitted(training: np.ndarray) -> _Model:
            return self._fitted(texts[training], linked[training][:, proposed], members)

        scores = np.empty((len(texts), len(proposed)), dtype=np.float32)
        known = np.zeros(len(texts), dtype=bool)
        fold = assign_folds(reviews, FOLDS)
        for number in np.unique(fold):
            held_out = fold == number
            scores[held_out], known[held_out] = fitted(reference[fold[reference] != number]).score(texts[held_out])
        model = fitted(reference)
        scored = [(scores, known), *(model.score(table["text"].to_numpy(dtype=object)) for table in others)]
        thresholds = find_cuts(scores[known], self.breadth) if known.any() else np.inf
        found = []
        for score, has_words in scored:
            whole = Labels(
                np.zeros((len(score), len(descriptors)), dtype=np.int8),
                np.full((len(score), len(descriptors)), LOWEST, dtype=np.float32),
            )
            whole.labels[:, proposed] = (score >= thresholds) & has_words[:, None]
            whole.scores[:, proposed] = score
            found.append(whole)
        return Labelled(found)

    def _fitted(self, texts: np.ndarray, linked: csr_matrix, members: Sequence[str]) -> _Model:
        vectorizer = TfidfVectorizer(
            token_pattern=rf"\b\w{{2,{self.letters}}}",
            min_df=self.min_sentences,
            max_features=FEATURES,
            sublinear_tf=True,
            dtype=np.float32,
        )
        try:
            sentences = vectorizer.fit_transform(texts)
        except ValueError as error:
            raise InputError(
                "label: too few sentences share a word; give more reviews, or lower `label.lexical.min_sentences`"
            ) from error
        if not members:
            raise InputError("label: no sentence proposed any descriptor; see `generate` and `cluster`")
        return _Model(vectorizer, weigh_words(sentences, linked, vectorizer.transform(members), self.spread))
