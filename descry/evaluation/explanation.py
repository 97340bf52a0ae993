"""What the neurons say of one sentence: its descriptors, who speaks for them, and on which tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descry.assignment import rank
from descry.evaluation.voting import Electorate, count_votes, limit_loudness


@dataclass(frozen=True)
class Speakers:
    """The neurons that speak loudest for a descriptor in a sentence, loudest first.

    neuron: int64 [speakers], where each stands in the electorate; z: float32 [speakers], how far it is above its mean
    on calibration, in standard deviations; contribution: float32 [speakers], above 0, its part of the votes as cast.
    """

    neuron: np.ndarray
    z: np.ndarray
    contribution: np.ndarray


@dataclass(frozen=True)
class Explanation:
    """What the neurons say of one sentence.

    order: int64 [descriptors], best first; score: float64 [descriptors], of `Electorate.scores`; chance: float64
    [descriptors], the share of calibration's probe that scores at least as high; prevalence: float64 [descriptors], the
    share of calibration that bears the descriptor; speakers: of the first descriptors, in their order; tokens: float32
    [tokens, descriptors], see `token_votes`.
    """

    order: np.ndarray
    score: np.ndarray
    chance: np.ndarray
    prevalence: np.ndarray
    speakers: tuple[Speakers, ...]
    tokens: np.ndarray


def explain(
    electorate: Electorate,
    known: np.ndarray,
    pooled: np.ndarray,
    tokens: np.ndarray,
    *,
    descriptors: int = 3,
    neurons: int = 5,
) -> Explanation:
    """The explanation of one sentence, with the speakers of its first `descriptors`, at most `neurons` of each.

    known: float64 [sentences, descriptors], `electorate.scores` of calibration's probe; pooled: float32 [neurons] and
    tokens: float32 [tokens, neurons], the sentence's activations, both `standardised` by calibration, not cut.
    """
    fired = limit_loudness(pooled)
    score = electorate.scores(fired[None])[0]
    order = rank(score[None])[0]
    return Explanation(
        order=order,
        score=score,
        chance=np.asarray((known >= score).mean(axis=0)),
        prevalence=electorate.prevalence,
        speakers=tuple(_speakers(electorate.voice[:, d] * fired, pooled, neurons) for d in order[:descriptors]),
        tokens=count_token_votes(electorate, tokens),
    )


def _speakers(contribution: np.ndarray, z: np.ndarray, most: int) -> Speakers:
    loudest = rank(contribution[None])[0, :most]
    heard = loudest[contribution[loudest] > 0]
    return Speakers(heard, z[heard], contribution[heard])


def count_token_votes(electorate: Electorate, tokens: np.ndarray) -> np.ndarray:
    """What each token casts for each descriptor: float32 [tokens, descriptors]; tokens as `explain` takes them.

    sum_n voice[n, d] * z[t, n], not cut; where the pooling is the mean, their mean is what the sentence as a whole
    casts, not cut either.
    """
    return count_votes(tokens, electorate.voice)
