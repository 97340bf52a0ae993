"""Labels distilled from a language model: it labels a sample, a linear model on embeddings learns from it.

The cost in calls is that of the sample, whatever the size of the corpus.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from descry.corpus.sampling import sample_sentences
from descry.embedding.vectors import Encoder, scale_to_unit
from descry.labelling.labels import LOWEST, Labelled, Labels, assign_folds
from descry.labelling.prompted import Teacher
from descry.vocabulary.descriptors import Descriptor

FOLDS = 5
"""Sentences of the sample are scored by models that learnt from other reviews, one of so many folds."""
C = 3.0
"""Inverse strength of the linear models' L2 penalty (docs/llms.md)."""


def find_rate_threshold(scores: np.ndarray, truth: np.ndarray) -> float:
    """The score that as many sentences reach as are true, ties apart; inf where none is, or where only sentences
    that nothing is known of (LOWEST) would reach it."""
    positives = int(truth.sum())
    threshold = float(np.sort(scores)[-positives]) if positives else np.inf
    return threshold if threshold > LOWEST else np.inf


def measure_teacher_agreement(names: Sequence[str], teacher: np.ndarray, student: np.ndarray) -> pd.DataFrame:
    """How well labels agree with the teacher's, by descriptor: columns descriptor, f1, chance, positives, sentences.

    teacher, student: int8 [sentences, descriptors]; where the teacher's is missing, a sentence does not count.
    chance: F1 of the student's labels dealt out at random, 2pq / (p + q) for shares p and q of positives; both 0
    where neither gives the descriptor to any sentence.
    """
    known = teacher >= 0
    positive, taken = (teacher == 1) & known, (student == 1) & known
    sums = positive.sum(axis=0) + taken.sum(axis=0)
    counts = known.sum(axis=0)
    safe = np.maximum(sums, 1)
    return pd.DataFrame(
        {
            "descriptor": list(names),
            "f1": 2 * (positive & taken).sum(axis=0) / safe,
            "chance": 2 * positive.sum(axis=0) * taken.sum(axis=0) / np.maximum(counts, 1) / safe,
            "positives": positive.sum(axis=0).astype(np.int32),
            "sentences": counts.astype(np.int32),
        }
    )


@dataclass(frozen=True)
class Distiller:
    """The labeller `distil`.

    Thresholds let the student give each descriptor as often as the teacher on half of the sample's reviews; the
    agreement with the teacher is taken on the other half; in both, a sentence is scored by models that saw none of
    its fold of reviews. sample: sentences of calibration that the teacher labels, at most; seed: which.
    """

    teacher: Teacher
    embedder: Encoder
    sample: int
    seed: int

    def label(
        self,
        calibration: pd.DataFrame,
        others: Sequence[pd.DataFrame],
        candidates: pd.DataFrame,
        descriptors: Sequence[Descriptor],
    ) -> Labelled:
        """Labels of calibration, then of each of `others`, and the agreement with the teacher; no candidate is read.

        The sample keeps the teacher's labels; what the teacher left missing, and all else, is the student's. A
        descriptor that the teacher gave to no sentence gets none.
        """
        names = [descriptor.name for descriptor in descriptors]
        rows = sample_sentences(calibration, self.sample, self.seed)
        reviews = calibration["review_id"].to_numpy(dtype=object)[rows]
        taught = self.teacher.label(calibration["text"].iloc[rows].tolist(), names).labels
        vectors = [self.embedder.encode(table["text"].tolist()) for table in (calibration, *others)]
        centre = vectors[0].mean(axis=0)
        vectors = [scale_to_unit(table - centre) for table in vectors]
        fold, calibrating = assign_folds(reviews, FOLDS), assign_folds(reviews, 2) == 0

        own = vectors[0][rows]
        scores = [np.empty((len(table), len(names)), dtype=np.float32) for table in vectors]
        held_out = np.empty(taught.shape, dtype=np.float32)
        thresholds = np.empty(len(names), dtype=np.float32)
        for column, truth in enumerate(taught.T):
            known = truth >= 0
            for number in range(FOLDS):
                here = fold == number
                (held_out[here, column],) = _learnt(own, truth, known & ~here, [own[here]])
            half = known & calibrating
            thresholds[column] = find_rate_threshold(held_out[half, column], truth[half] == 1)
            learnt = _learnt(own, truth, known, vectors)
            for table, odds in zip(scores, learnt, strict=True):
                table[:, column] = odds
        found = [Labels((table >= thresholds).astype(np.int8), table) for table in scores]
        found[0].labels[rows] = np.where(taught >= 0, taught, found[0].labels[rows])
        student = (held_out >= thresholds).astype(np.int8)
        return Labelled(found, measure_teacher_agreement(names, taught[~calibrating], student[~calibrating]))


def _learnt(
    vectors: np.ndarray, truth: np.ndarray, training: np.ndarray, tables: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Log odds of each table's vectors by a model that learnt `truth` on the `training` rows; LOWEST everywhere
    where those have no positive, -LOWEST where they have nothing else."""
    positive = truth[training] == 1
    if not positive.any() or positive.all():
        return [np.full(len(table), -LOWEST if positive.any() else LOWEST, dtype=np.float32) for table in tables]
    model = LogisticRegression(C=C, max_iter=500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(vectors[training], positive)
    return [(table @ model.coef_[0] + model.intercept_[0]).astype(np.float32) for table in tables]
