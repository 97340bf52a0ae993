"""The labeller `lexical`: naive Bayes on a sentence's words, an independent check of labels from an encoder.

It learns from the candidates, which may come from an encoder; but no encoder reads the sentences that it labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from descry.corpus.sampling import assign_folds, sample_sentences
from descry.embedding.vectors import scale_to_unit
from descry.errors import InputError
from descry.labelling.labels import LOWEST, Labelled, Labels, find_cuts, find_links, log_shares
from descry.vocabulary.descriptors import Descriptor

FOLDS = 5
"""Folds of reviews in which calibration is scored."""
FEATURES = 50_000
"""Words in the TF-IDF features, at most: the most frequent."""
MEMBERS = 0.25
"""Weight of a descriptor's members in its profile; the sentences that proposed it weigh 1 - MEMBERS."""
ROUNDS = 2
"""Steps from words to sentences and back; see `weigh_words`."""
CHUNK = 8192
"""Sentences scored at once."""


def weigh_words(sentences: csr_matrix, linked: csr_matrix, members: csr_matrix, spread: float) -> np.ndarray:
    """Weigh each word as evidence for each descriptor: float32 [words, descriptors], a smoothed log odds ratio.

    A descriptor's profile is the mean of the sentences that proposed it and of its members. A part of it, `spread` in
    [0, 1], comes from words that occur together with the profile's words in any sentence. A weight is the log of a
    word's share in the profile, divided by its mean share in all profiles, both smoothed by a uniform profile.
    sentences: TF-IDF [n, words]; linked: strengths [n, descriptors]; members: TF-IDF of the members [descriptors,
    words].
    """
    profiles = (1 - MEMBERS) * scale_to_unit((linked.T @ sentences).toarray()) + MEMBERS * scale_to_unit(
        members.toarray()
    )
    profiles = scale_to_unit(profiles).T
    words = sentences.T.tocsr()
    lengths = np.sqrt(np.asarray(words.multiply(words).sum(axis=1)))
    words = words.multiply(1 / np.maximum(lengths, 1e-12)).tocsr()
    cooccurring = profiles
    for _ in range(ROUNDS):
        cooccurring = scale_to_unit((words @ (words.T @ cooccurring)).T).T
    shares = (1 - spread) * profiles + spread * cooccurring
    shares /= np.maximum(shares.sum(axis=0), 1e-12)
    uniform = 1 / len(shares)
    odds = (shares + uniform) / (shares.mean(axis=1, keepdims=True) + uniform)
    return np.asarray(np.log(odds), dtype=np.float32)


@dataclass(frozen=True)
class _Model:
    """A fitted vectorizer, and the weights of its words: float32 [words, descriptors]."""

    vectorizer: TfidfVectorizer
    weights: np.ndarray

    def score(self, texts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Score texts: log shares of the descriptors, float32 [texts, descriptors], and whether any word is known, bool
        [texts]."""
        scores = np.empty((len(texts), self.weights.shape[1]), dtype=np.float32)
        known = np.zeros(len(texts), dtype=bool)
        for start in range(0, len(texts), CHUNK):
            features = self.vectorizer.transform(texts[start : start + CHUNK])
            scores[start : start + CHUNK] = log_shares(features @ self.weights)
            known[start : start + CHUNK] = np.diff(features.indptr) > 0
        return scores, known


@dataclass(frozen=True)
class LexicalLabeller:
    """The labeller `lexical`: naive Bayes on TF-IDF, fitted to the candidates, never to gold.

    A sentence of calibration is scored by a model fitted without its fold of reviews (one of FOLDS); sentences of other
    tables by one fitted to all of them. A sentence without a known word gets no label.

    letters: number of a word's first letters that are kept (`deliv` for delivery and delivered), at least 2; a large
    number keeps whole words. min_sentences: words in fewer training sentences are unknown, at least 1. spread: see
    `weigh_words`. breadth: see `labels.find_cuts`. reference: number of calibration's sentences, at most, that models
    are fitted to.
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
        """Label calibration, then each of `others`; no label is missing. Errors: InputError if there is nothing to
        learn from."""
        texts = calibration["text"].to_numpy(dtype=object)
        reviews = calibration["review_id"].to_numpy(dtype=object)
        rows, columns, strengths = find_links(candidates, descriptors)
        linked = csr_matrix((strengths, (rows, columns)), shape=(len(texts), len(descriptors)))
        reference = sample_sentences(calibration, self.reference)
        reference = reference[np.lexsort((texts[reference], reviews[reference]))]
        proposed = np.flatnonzero(linked[reference].getnnz(axis=0))
        members = [" ".join(descriptors[column].members) for column in proposed.tolist()]

        def fit(training: np.ndarray) -> _Model:
            return self._fit(texts[training], linked[training][:, proposed], members)

        scores = np.empty((len(texts), len(proposed)), dtype=np.float32)
        known = np.zeros(len(texts), dtype=bool)
        fold = assign_folds(reviews, FOLDS)
        for number in np.unique(fold):
            held_out = fold == number
            scores[held_out], known[held_out] = fit(reference[fold[reference] != number]).score(texts[held_out])
        model = fit(reference)
        scored = [(scores, known), *(model.score(table["text"].to_numpy(dtype=object)) for table in others)]
        thresholds = find_cuts(scores[known], self.breadth) if known.any() else np.inf
        tables = []
        for score, has_words in scored:
            whole = Labels(
                np.zeros((len(score), len(descriptors)), dtype=np.int8),
                np.full((len(score), len(descriptors)), LOWEST, dtype=np.float32),
            )
            whole.labels[:, proposed] = (score >= thresholds) & has_words[:, None]
            whole.scores[:, proposed] = score
            tables.append(whole)
        return Labelled(tables)

    def _fit(self, texts: np.ndarray, linked: csr_matrix, members: Sequence[str]) -> _Model:
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
