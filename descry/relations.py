"""Which descriptors go together: in sentences, and in neurons beyond what sentences explain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descry.assignment import Evidence


@dataclass(frozen=True)
class Relations:
    """Every pair of descriptors: float64 [descriptors, descriptors], symmetric; what cannot be said is NaN.

    phi: correlation of their labels over sentences, in [-1, 1], 0 by chance. ratio: how often either is borne by the
    exemplars of the other's neurons, over how often their co-occurrence in sentences explains (`directed`), the
    geometric mean of both directions; 1 by chance. low, high: its 95 % interval when neurons are drawn anew. shared:
    int64, neurons that carry both.
    """

    phi: np.ndarray
    ratio: np.ndarray
    low: np.ndarray
    high: np.ndarray
    shared: np.ndarray


def correlations(labels: np.ndarray) -> np.ndarray:
    """phi of every two columns of labels, int8 [sentences, descriptors], over the sentences where neither is missing;
    NaN where either does not vary there."""
    given, known = (labels == 1).astype(np.float64), (labels >= 0).astype(np.float64)
    count, both = known.T @ known, given.T @ given
    own, other = given.T @ known, known.T @ given
    spread = own * (count - own) * other * (count - other)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(spread > 0, (count * both - own * other) / np.sqrt(spread), np.nan))


def directed(evidence: Evidence, assigned: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often the exemplars of a's neurons bear b, over what their bearing a explains, and the standard error of its
    logarithm: float64 [a, b] each, NaN where a has no neuron or nothing is to be expected.

    Of a neuron's exemplars, k bear a and m do not; k P(b | a) + m P(b | not a) would bear b if, among those that bear a
    and among those that do not, they were drawn at random from the split (conditional independence given a).
    evidence: of the split; assigned: bool [neurons, descriptors]; labels: int8 [sentences, descriptors]. The error is
    that of a ratio of sums over neurons.
    """
    given, known = (labels == 1).astype(np.float64), (labels >= 0).astype(np.float64)
    both = given.T @ given
    with np.errstate(invalid="ignore", divide="ignore"):
        bearing = both / (given.T @ known)
        lacking = ((1 - given) * known).T @ given / (((1 - given) * known).T @ known)
    counts = evidence.counts.astype(np.float64)
    chosen = assigned.astype(np.float64)
    own, rest = chosen * counts, chosen * (evidence.known - counts)
    seen = chosen.T @ counts
    bearing, lacking = np.nan_to_num(bearing), np.nan_to_num(lacking)
    expected = own.sum(0)[:, None] * bearing + rest.sum(0)[:, None] * lacking
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(expected > 0, seen / expected, np.nan)
    crossed = (own.T @ counts) * bearing + (rest.T @ counts) * lacking
    squares = (
        (own**2).sum(0)[:, None] * bearing**2
        + 2 * (own * rest).sum(0)[:, None] * bearing * lacking
        + (rest**2).sum(0)[:, None] * lacking**2
    )
    variance = np.maximum(chosen.T @ counts**2 - 2 * ratio * crossed + ratio**2 * squares, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return ratio, np.asarray(np.where(seen > 0, np.sqrt(variance) / seen, np.inf))


def relations(evidence: Evidence, assigned: np.ndarray, labels: np.ndarray) -> Relations:
    """All relations of a split's descriptors; the arguments are those of `directed`."""
    ratio, error = directed(evidence, assigned, labels)
    with np.errstate(divide="ignore", invalid="ignore"):
        middle = (np.log(ratio) + np.log(ratio.T)) / 2
        width = 1.96 * np.sqrt(error**2 + error.T**2) / 2
        ratio, low, high = (np.exp(middle + side * width) for side in (0, -1, 1))
    for values in (ratio, low, high):
        np.fill_diagonal(values, np.nan)
    shared = assigned.T.astype(np.int64) @ assigned.astype(np.int64)
    return Relations(correlations(labels), ratio, low, high, shared)
