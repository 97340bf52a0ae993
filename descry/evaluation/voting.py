"""The vote: a sentence's descriptors predicted from its activations. Definitions: docs/method.md, section 2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descry.activations.record import Activations
from descry.assignment.rules import Findings, rank
from descry.splits import Pair


def weigh_voices(findings: Findings) -> np.ndarray:
    """The weight of each neuron's vote for each descriptor: float32 [neurons, descriptors].

    -log10 q of the assigned pairs, else 0; each descriptor's weights sum to 1 (or 0 if no neuron carries it).
    """
    voice = np.where(findings.assigned, -findings.log_q / np.log(10), 0.0)
    return np.asarray(voice / np.maximum(voice.sum(axis=0), 1e-12), dtype=np.float32)


QUIET, LOUD = -1.0, 3.0
"""Bounds of a standardised activation in the vote."""
RIDGE = 2.0
"""Added to the eigenvalues of the correlations between descriptors; see `decorrelation`."""


def standardise(values: np.ndarray, reference: Activations) -> np.ndarray:
    """Standardise activations [..., neurons] by the mean and standard deviation of `reference` (calibration): float32,
    same shape; 0 for a neuron whose activation never changes there."""
    spread = np.where(reference.std > 0, reference.std, np.inf).astype(np.float32)
    return np.asarray((values.astype(np.float32) - reference.mean) / spread)


def limit_loudness(z: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """Clip standardised activations to [QUIET, LOUD]: a silent neuron votes against its descriptors, with less weight
    than a firing one votes for them. out: the array to write to; None: a new one."""
    return np.asarray(np.clip(z, QUIET, LOUD, out=out))


def measure_firing(activations: Activations, reference: Activations) -> np.ndarray:
    """Standardise (by `reference`) and clip the probe's activations: float32 [probe, neurons], in [QUIET, LOUD]."""
    z = standardise(activations.probe, reference)
    return limit_loudness(z, out=z)


def measure_firing_pair(active: Pair[Activations]) -> Pair[np.ndarray]:
    """`measure_firing` on both splits' probes, standardised by calibration."""
    return active.map(lambda split: measure_firing(split, active.calibration))


@dataclass(frozen=True)
class Electorate:
    """The weights with which neurons vote on a sentence's descriptors, fitted on calibration.

    voice: float32 [neurons, descriptors], see `weigh_voices`; prevalence: float64 [descriptors]; spoken: int64, the
    descriptors that some neuron carries; mean, spread: float32 [spoken], mean and standard deviation of their raw
    scores on calibration; mixing: float64 [spoken, spoken], see `decorrelation`.
    """

    voice: np.ndarray
    prevalence: np.ndarray
    spoken: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    mixing: np.ndarray

    @classmethod
    def of(cls, fired: np.ndarray, calibration: Findings, columns: np.ndarray | None = None) -> Electorate:
        """Fit the vote on calibration.

        fired: float32 [sentences, neurons], `measure_firing` of calibration's probe; columns: int [neurons], the column
        of `fired` for each neuron of `calibration`; None: the same order.
        """
        voice = weigh_voices(calibration)
        if columns is not None:
            drawn, voice = voice, np.zeros((fired.shape[1], voice.shape[1]), np.float32)
            np.add.at(voice, columns, drawn)
        votes = count_votes(fired, voice)
        spread = votes.std(axis=0)
        spoken = np.flatnonzero(spread > 0)
        mean, spread = votes[:, spoken].mean(axis=0), spread[spoken]
        mixing = decorrelation((votes[:, spoken] - mean) / spread)
        return cls(voice, calibration.evidence.prevalence, spoken, mean, spread, mixing)

    def scores(self, fired: np.ndarray) -> np.ndarray:
        """The score of every descriptor in every sentence: float64 [sentences, descriptors]; fired as for `of`.

        sum_n voice[n, d] * fired[x, n], standardised by calibration, then decorrelated (see `decorrelation`). A
        descriptor that no neuron carries scores -1e9 plus its prevalence.
        """
        scores = np.tile(-1e9 + self.prevalence, (len(fired), 1))
        scores[:, self.spoken] = (
            (count_votes(fired, self.voice)[:, self.spoken] - self.mean) / self.spread @ self.mixing
        )
        return scores


def count_votes(fired: np.ndarray, voice: np.ndarray) -> np.ndarray:
    """Sum the neurons' weighted votes, fired @ voice: float32 [sentences, descriptors]."""
    speaks = np.flatnonzero(voice.any(axis=1))
    if 2 * len(speaks) > len(voice):  # then a product with zeros is cheaper than a copy without
        return np.asarray(fired @ voice)
    return np.asarray(fired[:, speaks] @ voice[speaks])


def rank_descriptors(fired: Pair[np.ndarray], calibration: Findings, columns: np.ndarray | None = None) -> np.ndarray:
    """Rank the descriptors of every probe sentence of validation, best first, by `Electorate.scores`: int64
    [probe, descriptors]. Descriptors that no neuron carries come last, the more prevalent first."""
    return rank(Electorate.of(fired.calibration, calibration, columns).scores(fired.validation))


def decorrelation(scores: np.ndarray, ridge: float = RIDGE) -> np.ndarray:
    """(C + ridge I)^-1/2 for the correlations C of standardised scores: float64 [columns, columns], symmetric.

    Descriptors carried by the same neurons rise and fall together; this whitening leaves what is specific to each. The
    ridge keeps directions of little variance from being amplified.
    """
    correlations = scores.astype(np.float64).T @ scores.astype(np.float64) / max(len(scores), 1)
    values, vectors = np.linalg.eigh(correlations)
    return np.asarray(vectors * (np.maximum(values, 0.0) + ridge) ** -0.5 @ vectors.T)
