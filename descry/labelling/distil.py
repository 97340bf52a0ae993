"""The labeller `distil`: a language model labels a sample, and linear models on embeddings learn from it.

Only the sample costs calls, whatever the size of the corpus.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from descry.corpus.sampling import assign_folds, sample_sentences
from descry.embedding.vectors import Encoder, scale_to_unit
from descry.labelling.labels import LOWEST, Labelled, Labels
from descry.labelling.prompted import Teacher
from descry.vocabulary.descriptors import Descriptor

FOLDS = 5
"""Folds of reviews, for scoring the sample's sentences by models that learnt from other reviews."""
C = 3.0
"""Inverse strength of the linear models' L2 penalty (docs/llms.md)."""


def find_rate_threshold(scores: np.ndarray, truth: np.ndarray) -> float:
    """Find the score that is reached by as many sentences as are true (more if there are ties).

    scores: float [sentences]; truth: bool [sentences]. inf if none is true, or if the threshold would be LOWEST.
    """
    positives = int(truth.sum())
    threshold = float(np.sort(scores)[-positives]) if positives else np.inf
    return threshold if threshold > LOWEST else np.inf


def measure_teacher_agreement(names: Sequence[str], teacher: np.ndarray, student: np.ndarray) -> pd.DataFrame:
    """Measure how well a student's labels agree with its teacher's, one row per descriptor.

    teacher, student: int8 [sentences, descriptors]; sentences whose label the teacher left missing are left out.
    Columns: descriptor, f1, chance (F1 of the student's labels dealt at random, 2pq / (p + q) for the shares p and q of
    positives), positives (of the teacher), sentences. f1 and chance are 0 if neither labels any sentence.
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

    Thresholds are set so that the student assigns each descriptor as often as the teacher on one half of the sample's
    reviews; agreement with the teacher is measured on the other half. In both, a sentence is scored by models that
    were fitted without its fold of reviews. sample: number of calibration's sentences that the teacher labels, at most;
    seed: decides which.
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
        """Label calibration, then each of `others`, and measure the agreement with the teacher; candidates go unused.

        The sample keeps the teacher's labels; those that the teacher left missing, and all others, are the student's. A
        descriptor that the teacher gave to no sentence of the sample labels no sentence. Errors: those of the teacher.
        """
        names = [descriptor.name for descriptor in descriptors]
        rows = sample_sentences(calibration, self.sample, self.seed)
        reviews = calibration["review_id"].to_numpy(dtype=object)[rows]
        taught = self.teacher.label(calibration["text"].iloc[rows].tolist(), names).labels
        vectors = [self.embedder.encode(table["text"].tolist()) for table in (calibration, *others)]
        centre = vectors[0].mean(axis=0)
        vectors = [scale_to_unit(table - centre) for table in vectors]
        fold, calibrating = assign_folds(reviews, FOLDS), assign_folds(reviews, 2) == 0

        sample = vectors[0][rows]
        scores = [np.empty((len(table), len(names)), dtype=np.float32) for table in vectors]
        held_out = np.empty(taught.shape, dtype=np.float32)
        thresholds = np.empty(len(names), dtype=np.float32)
        for column, truth in enumerate(taught.T):
            known = truth >= 0
            for number in range(FOLDS):
                here = fold == number
                (held_out[here, column],) = _predict_log_odds(sample, truth, known & ~here, [sample[here]])
            half = known & calibrating
            thresholds[column] = find_rate_threshold(held_out[half, column], truth[half] == 1)
            predicted = _predict_log_odds(sample, truth, known, vectors)
            for table, odds in zip(scores, predicted, strict=True):
                table[:, column] = odds
        tables = [Labels((table >= thresholds).astype(np.int8), table) for table in scores]
        tables[0].labels[rows] = np.where(taught >= 0, taught, tables[0].labels[rows])
        student = (held_out >= thresholds).astype(np.int8)
        return Labelled(tables, measure_teacher_agreement(names, taught[~calibrating], student[~calibrating]))


def _predict_log_odds(
    vectors: np.ndarray, truth: np.ndarray, training: np.ndarray, tables: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Fit `truth` on the `training` rows and predict the log odds of each table's vectors: float32 [rows] each.

    LOWEST everywhere if no training row is positive, -LOWEST if all are.
    """
    positive = truth[training] == 1
    if not positive.any() or positive.all():
        return [np.full(len(table), -LOWEST if positive.any() else LOWEST, dtype=np.float32) for table in tables]
    model = LogisticRegression(C=C, max_iter=500)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(vectors[training], positive)
    return [(table @ model.coef_[0] + model.intercept_[0]).astype(np.float32) for table in tables]
