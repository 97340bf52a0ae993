"""Explanation of one sentence: its predicted descriptors, the neurons that vote for them, and on which tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descry.assignment.rules import rank
from descry.evaluation.voting import Electorate, count_votes, limit_loudness


@dataclass(frozen=True)
class Speakers:
    """The neurons that contribute most to a descriptor's vote in a sentence, largest contribution first.

    neuron: int64 [speakers], rows of the `Electorate`; z: float32 [speakers], the activation in standard deviations
    from its mean on calibration; contribution: float32 [speakers], > 0, the neuron's part of `voting.count_votes`.
    """

    neuron: np.ndarray
    z: np.ndarray
    contribution: np.ndarray


@dataclass(frozen=True)
class Explanation:
    """The descriptors predicted for one sentence, and what the prediction rests on.

    order: int64 [descriptors], most probable first; probability: float64 [descriptors], by `Electorate.probabilities`;
    prevalence: float64 [descriptors], share of calibration that bears the descriptor; speakers: those of the first
    descriptors, in their order; tokens: float32 [tokens, descriptors], see `count_token_votes`.
    """

    order: np.ndarray
    probability: np.ndarray
    prevalence: np.ndarray
    speakers: tuple[Speakers, ...]
    tokens: np.ndarray


def explain(
    electorate: Electorate,
    pooled: np.ndarray,
    tokens: np.ndarray,
    *,
    descriptors: int = 3,
    neurons: int = 5,
) -> Explanation:
    """Explain one sentence, with at most `neurons` speakers for each of its first `descriptors` descriptors.

    pooled: float32 [neurons] and tokens: float32 [tokens, neurons], the sentence's activations, both by
    `voting.standardise`, not clipped.
    """
    fired = limit_loudness(pooled)
    probability = electorate.probabilities(fired[None])[0]
    order = rank(probability[None])[0]
    return Explanation(
        order=order,
        probability=probability,
        prevalence=electorate.prevalence,
        speakers=tuple(_select_speakers(electorate.voice[:, d] * fired, pooled, neurons) for d in order[:descriptors]),
        tokens=count_token_votes(electorate, tokens),
    )


def _select_speakers(contribution: np.ndarray, z: np.ndarray, most: int) -> Speakers:
    loudest = rank(contribution[None])[0, :most]
    in_favour = loudest[contribution[loudest] > 0]
    return Speakers(in_favour, z[in_favour], contribution[in_favour])


def count_token_votes(electorate: Electorate, tokens: np.ndarray) -> np.ndarray:
    """Sum the votes that each token adds to each descriptor: float32 [tokens, descriptors]; tokens as for `explain`.

    sum_n voice[n, d] * z[t, n], not clipped. With mean pooling, their mean over tokens is the vote of the whole
    sentence, likewise not clipped.
    """
    return count_votes(tokens, electorate.voice)
