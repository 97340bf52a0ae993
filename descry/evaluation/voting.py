"""The vote: what a sentence's active neurons say of its descriptors. Definitions: docs/method.md, section 2."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descry.activations.record import Activations
from descry.assignment import Findings, rank
from descry.splits import Pair


def weigh_voices(findings: Findings) -> np.ndarray:
    """How much each neuron's firing speaks for each descriptor: float32 [neurons, descriptors].

    -log10 q of the assigned pairs, each descriptor's column summing to 1 (or 0 where no neuron carries it).
    """
    voice = np.where(findings.assigned, -findings.log_q / np.log(10), 0.0)
    return np.asarray(voice / np.maximum(voice.sum(axis=0), 1e-12), dtype=np.float32)


QUIET, LOUD = -1.0, 3.0
RIDGE = 2.0


def standardise(values: np.ndarray, reference: Activations) -> np.ndarray:
    """z of activations [..., neurons] by the mean and std of `reference` (the calibration split), float32; 0 for a
    neuron that never moves there."""
    spread = np.where(reference.std > 0, reference.std, np.inf).astype(np.float32)
    return np.asarray((values.astype(np.float32) - reference.mean) / spread)


def limit_loudness(z: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """z as it counts in a vote: cut to [QUIET, LOUD]. Silence speaks against a descriptor, less loudly than firing
    speaks for it. out: where to put it, None for a new array."""
    return np.asarray(np.clip(z, QUIET, LOUD, out=out))


def measure_firing(activations: Activations, reference: Activations) -> np.ndarray:
    """How loudly each neuron fires on the probe's sentences, by `reference`'s moments: float32 [probe, neurons]."""
    z = standardise(activations.probe, reference)
    return limit_loudness(z, out=z)


def measure_firing_pair(active: Pair[Activations]) -> Pair[np.ndarray]:
    """`firing` on both splits' probes, by the moments of calibration."""
    return active.map(lambda split: measure_firing(split, active.calibration))


@dataclass(frozen=True)
class Electorate:
    """The neurons that vote on a sentence's descriptors, as calibration has taught them.

    voice: float32 [neurons, descriptors], see `voices`; prevalence: float64 [descriptors]; spoken: int64, the
    descriptors that some neuron carries; mean, spread [spoken]: of their raw scores on calibration; mixing: float64
    [spoken, spoken], see `decorrelation`.
    """

    voice: np.ndarray
    prevalence: np.ndarray
    spoken: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    mixing: np.ndarray

    @classmethod
    def of(cls, fired: np.ndarray, calibration: Findings, columns: np.ndarray | None = None) -> Electorate:
        """fired: float32 [sentences, neurons], `firing` on calibration's probe; columns: int [neurons], where each
        neuron of `calibration` stands there; None: in the same order."""
        voice = weigh_voices(calibration)
        if columns is not None:
            own, voice = voice, np.zeros((fired.shape[1], voice.shape[1]), np.float32)
            np.add.at(voice, columns, own)
        known = count_votes(fired, voice)
        spread = known.std(axis=0)
        spoken = np.flatnonzero(spread > 0)
        mean, spread = known[:, spoken].mean(axis=0), spread[spoken]
        mixing = decorrelation((known[:, spoken] - mean) / spread)
        return cls(voice, calibration.evidence.prevalence, spoken, mean, spread, mixing)

    def scores(self, fired: np.ndarray) -> np.ndarray:
        """Every descriptor's score in every sentence: float64 [sentences, descriptors]; fired as in `of`.

        sum_n voice[n, d] * fired[x, n], standardised on calibration, then freed of what the descriptors share there.
        A descriptor that no neuron carries has -1e9 and its prevalence.
        """
        scores = np.tile(-1e9 + self.prevalence, (len(fired), 1))
        scores[:, self.spoken] = (
            (count_votes(fired, self.voice)[:, self.spoken] - self.mean) / self.spread @ self.mixing
        )
        return scores


def count_votes(fired: np.ndarray, voice: np.ndarray) -> np.ndarray:
    """The votes as they are cast, fired @ voice: float32 [sentences, descriptors]."""
    speaks = np.flatnonzero(voice.any(axis=1))
    if 2 * len(speaks) > len(voice):  # then a product with zeros is cheaper than a copy without
        return np.asarray(fired @ voice)
    return np.asarray(fired[:, speaks] @ voice[speaks])


def rank_descriptors(fired: Pair[np.ndarray], calibration: Findings, columns: np.ndarray | None = None) -> np.ndarray:
    """Descriptors of every sentence of validation's probe, best first, by the scores of the `Electorate`: int64
    [probe, descriptors]. Descriptors that no neuron carries come last, the more prevalent first."""
    return rank(Electorate.of(fired.calibration, calibration, columns).scores(fired.validation))


def decorrelation(scores: np.ndarray, ridge: float = RIDGE) -> np.ndarray:
    """(C + ridge I)^-1/2 of the correlations C of standardised scores: float64 [columns, columns], symmetric.

    Descriptors that live in the same neurons rise and fall together; this leaves each what is its own. The
    ridge keeps directions that carry little from being blown up.
    """
    correlations = scores.astype(np.float64).T @ scores.astype(np.float64) / max(len(scores), 1)
    values, vectors = np.linalg.eigh(correlations)
    return np.asarray(vectors * (np.maximum(values, 0.0) + ridge) ** -0.5 @ vectors.T)
