"""The vote: the probability of every descriptor in a sentence, predicted from its activations.

Definitions: docs/method.md, section 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from descry.activations.record import Activations
from descry.assignment.rules import Findings
from descry.corpus.sampling import assign_folds
from descry.evaluation.logistic import fit_logistic
from descry.splits import Pair


def weigh_voices(findings: Findings) -> np.ndarray:
    """The weight of each neuron's vote for each descriptor: float32 [neurons, descriptors].

    -log10 q of the assigned pairs, else 0; each descriptor's weights sum to 1 (or 0 if no neuron carries it).
    """
    voice = np.where(findings.assigned, -findings.log_q / np.log(10), 0.0)
    return np.asarray(voice / np.maximum(voice.sum(axis=0), 1e-12), dtype=np.float32)


QUIET, LOUD = -1.0, 3.0
"""Bounds of a standardised activation in the vote."""
RIDGE = 0.03
"""Penalty of the squared weights by which a descriptor's score is mixed from all votes, per sentence."""
ROUNDING = 1e-9
"""A score's standard deviation that is no more than rounding: there was nothing to learn it from."""
BLOCK = 32
"""Sentences that are standardised at once, few enough for the processor's cache."""
FOLDS = 5
"""Folds over reviews: the logistic regression learns from scores whose mixing did not see the sentence."""


def standardise(values: np.ndarray, reference: Activations) -> np.ndarray:
    """Standardise activations [..., neurons] by the mean and standard deviation of `reference` (calibration): float32,
    same shape; 0 for a neuron whose activation never changes there."""
    spread = np.where(reference.std > 0, reference.std, np.inf).astype(np.float32)
    z = values.astype(np.float32)
    z -= reference.mean
    z /= spread
    return z


def limit_loudness(z: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Clip standardised activations to [QUIET, LOUD]: a silent neuron votes against its descriptors, with less weight
    than a firing one votes for them. out: the array to write to; None: a new one."""
    return np.asarray(np.clip(z, QUIET, LOUD, out=out))


def measure_firing(activations: Activations, reference: Activations) -> np.ndarray:
    """Standardise (by `reference`) and clip the probe's activations: float32 [probe, neurons], in [QUIET, LOUD]."""
    fired = np.empty(activations.probe.shape, np.float32)
    for start in range(0, len(fired), BLOCK):
        rows = slice(start, start + BLOCK)
        limit_loudness(standardise(activations.probe[rows], reference), out=fired[rows])
    return fired


@dataclass(frozen=True)
class Firing:
    """How the neurons fire on the probe sentences of both splits, and what links calibration's to their labels.

    calibration, validation: float32 [probe, neurons], see `measure_firing`; rows: int [calibration's probe], its
    sentences; fold: int64, same shape, see `assign_folds`.
    """

    calibration: np.ndarray
    validation: np.ndarray
    rows: np.ndarray
    fold: np.ndarray

    @classmethod
    def of(cls, active: Pair[Activations], reviews: Sequence[str]) -> Firing:
        """Standardise both splits' probes by calibration. reviews: of every sentence of calibration."""
        fired = active.map(lambda split: measure_firing(split, active.calibration))
        return cls(
            fired.calibration, fired.validation, active.calibration.probe_rows, _fold(active.calibration, reviews)
        )


@dataclass(frozen=True)
class Electorate:
    """The weights with which neurons vote on a sentence's descriptors, fitted on calibration.

    voice: float32 [neurons, descriptors], see `weigh_voices`; prevalence: float64 [descriptors]; spoken: int64, the
    descriptors that some neuron carries; mean, spread: float64 [spoken], mean and standard deviation of the votes for
    them on calibration; mixing: float64 [spoken, spoken], see `fit_mixing`; slope, intercept: float64 [spoken], see
    `fit_logistic`.
    """

    voice: np.ndarray
    prevalence: np.ndarray
    spoken: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    mixing: np.ndarray
    slope: np.ndarray
    intercept: np.ndarray

    @classmethod
    def of(
        cls,
        fired: np.ndarray,
        found: Findings,
        labels: np.ndarray,
        fold: np.ndarray,
        columns: np.ndarray | None = None,
    ) -> Electorate:
        """Fit the vote on calibration.

        fired: float32 [sentences, neurons], `measure_firing` of its probe; found: on calibration; labels: int8
        [sentences, descriptors], those that `found` comes from; fold: int [sentences]; columns: int [neurons], the
        column of `fired` for each neuron of `found`; None: the same order.
        """
        voice, prevalence = weigh_voices(found), found.evidence.prevalence
        if columns is not None:
            drawn, voice = voice, np.zeros((fired.shape[1], voice.shape[1]), np.float32)
            np.add.at(voice, columns, drawn)
        votes = count_votes(fired, voice).astype(np.float64)
        spoken = np.flatnonzero(votes.std(axis=0) > 0)
        votes, labels = votes[:, spoken], labels[:, spoken]
        mean, spread = votes.mean(axis=0), votes.std(axis=0)
        mixing, scores = fit_mixing((votes - mean) / spread, labels, fold)
        scale = np.where(scores.std(axis=0) > ROUNDING, scores.std(axis=0), np.inf)
        fitted = fit_logistic(scores / scale, labels, prevalence[spoken])
        return cls(voice, prevalence, spoken, mean, spread, mixing / scale, *fitted)

    def probabilities(self, fired: np.ndarray) -> np.ndarray:
        """The probability of every descriptor in every sentence: float64 [sentences, descriptors]; fired as for `of`.

        The votes sum_n voice[n, d] * fired[x, n] are standardised by calibration, mixed (`fit_mixing`) and mapped to
        probabilities (`fit_logistic`). A descriptor that no neuron carries has its prevalence.
        """
        probabilities = np.tile(self.prevalence, (len(fired), 1))
        votes = (count_votes(fired, self.voice)[:, self.spoken] - self.mean) / self.spread
        probabilities[:, self.spoken] = expit(votes @ self.mixing * self.slope + self.intercept)
        return probabilities


def fit_electorate(
    calibration: Activations, found: Findings, labels: np.ndarray, reviews: Sequence[str] | np.ndarray
) -> Electorate:
    """Fit the vote on calibration's probe.

    found: on calibration; labels: int8 [sentences, descriptors], those that it comes from; reviews: of every sentence.
    """
    fired = measure_firing(calibration, calibration)
    return Electorate.of(fired, found, labels[calibration.probe_rows], _fold(calibration, reviews))


def _fold(calibration: Activations, reviews: Sequence[str] | np.ndarray) -> np.ndarray:
    """The fold of every probe sentence, by its review: int64 [probe]. reviews: of every sentence."""
    return assign_folds(np.asarray(reviews)[calibration.probe_rows], FOLDS)


def count_votes(fired: np.ndarray, voice: np.ndarray) -> np.ndarray:
    """Sum the neurons' weighted votes, fired @ voice: float32 [sentences, descriptors]."""
    speaks = np.flatnonzero(voice.any(axis=1))
    if 2 * len(speaks) > len(voice):  # then a product with zeros is cheaper than a copy without
        return np.asarray(fired @ voice)
    return np.asarray(fired[:, speaks] @ voice[speaks])


def fit_mixing(votes: np.ndarray, labels: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit each descriptor's score as a weighted sum of all descriptors' votes, by ridge regression on its label.

    Descriptors that share neurons rise and fall together; the weights leave what is specific to each. votes: float64
    [sentences, descriptors], standardised; labels: int8, same shape, a missing one counts as the mean; fold: int
    [sentences]. Returns the weights, float64 [descriptors, descriptors] (a column for each score), and the scores of
    the same sentences, float64 [sentences, descriptors], each with weights fitted on the other folds.
    """
    known = labels >= 0
    share = (labels == 1).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    target = np.where(known, (labels == 1) - share, 0.0)
    products, links = votes.T @ votes, votes.T @ target

    def solve(gram: np.ndarray, to: np.ndarray, sentences: int) -> np.ndarray:
        return np.linalg.solve(gram + RIDGE * max(sentences, 1) * np.eye(len(gram)), to)

    scores = np.empty_like(votes)
    for number in range(FOLDS):
        inside = fold == number
        own = votes[inside]
        weights = solve(products - own.T @ own, links - own.T @ target[inside], int((~inside).sum()))
        scores[inside] = own @ weights
    return solve(products, links, len(votes)), scores


def predict(fired: Firing, found: Findings, labels: np.ndarray, columns: np.ndarray | None = None) -> np.ndarray:
    """The probability of every descriptor in every probe sentence of validation: float64 [probe, descriptors].

    found, labels: of calibration, labels int8 [sentences, descriptors] of all its sentences; columns: see
    `Electorate.of`.
    """
    electorate = Electorate.of(fired.calibration, found, labels[fired.rows], fired.fold, columns)
    return electorate.probabilities(fired.validation)
