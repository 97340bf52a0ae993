"""Logistic regression of many labels, each on one score of its own: scores become probabilities."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

PENALTY = 1.0
"""Of the squared slope, halved: a prior that scores say nothing, as strong as a few sentences."""
STEPS, HALVINGS, CLOSE = 100, 30, 1e-10
"""Bounds of Newton's method: steps, halvings of a step, and the gain below which it ends."""


def fit_logistic(scores: np.ndarray, labels: np.ndarray, prevalence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fit P(label) = 1 / (1 + exp(-(slope * score + intercept))) in every column: float64 [columns] each.

    scores: float [sentences, columns], of mean 0 and standard deviation about 1; labels: int8, same shape, 1, 0 or -1
    (missing, left out); prevalence: float [columns], in [0, 1]. Slopes have a Gaussian prior (PENALTY); one sentence
    more, of score 0 and with the label to the degree of `prevalence`, shrinks rare labels towards it. By Newton's
    method with halved steps; the penalised likelihood is concave, so it ends at the maximum.
    """
    known, positive = (labels >= 0).astype(np.float64), (labels == 1).astype(np.float64)

    def find_losses(slope: np.ndarray, intercept: np.ndarray, of: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The penalised loss of some columns; slope, intercept: theirs."""
        logits = scores[:, of] * slope + intercept
        losses = ((np.logaddexp(0.0, logits) - positive[:, of] * logits) * known[:, of]).sum(axis=0)
        return np.asarray(losses + np.logaddexp(0.0, intercept) - prevalence[of] * intercept + PENALTY * slope**2 / 2)

    total = known.sum(axis=0) + 1
    share = np.clip((positive.sum(axis=0) + prevalence) / total, 0.5 / total, 1 - 0.5 / total)
    slope, intercept = np.zeros(scores.shape[1]), np.log(share / (1 - share))
    losses = find_losses(slope, intercept)
    for _ in range(STEPS):
        p, more = expit(scores * slope + intercept), expit(intercept)
        excess, weight = (p - positive) * known, p * (1 - p) * known
        by_slope = (excess * scores).sum(axis=0) + PENALTY * slope
        by_intercept = excess.sum(axis=0) + more - prevalence
        both = (weight * scores).sum(axis=0)
        slopes = (weight * scores**2).sum(axis=0) + PENALTY
        intercepts = weight.sum(axis=0) + more * (1 - more) + 1e-12
        determinant = slopes * intercepts - both**2
        move = (intercepts * by_slope - both * by_intercept) / determinant
        shift = (slopes * by_intercept - both * by_slope) / determinant
        step = np.ones(scores.shape[1])
        tried = find_losses(slope - move, intercept - shift)
        for _ in range(HALVINGS):
            left = np.flatnonzero(tried > losses)
            if not len(left):
                break
            step[left] /= 2
            halved = step[left]
            tried[left] = find_losses(slope[left] - halved * move[left], intercept[left] - halved * shift[left], left)
        worse = tried > losses
        step[worse] = 0.0
        slope, intercept = slope - step * move, intercept - step * shift
        gain, losses = np.max(losses - tried, where=~worse, initial=0.0), np.where(worse, losses, tried)
        if gain < CLOSE:
            break
    return slope, intercept
