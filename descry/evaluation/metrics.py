"""Metrics: functions of rankings, sets, scores and labels. Definitions: docs/method.md, section 2."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from descry.splits import REPLICATES


def count_hits(order: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """Count the relevant columns among each row's first k in `order`: int64 [rows]; arrays as for `precision_at_k`."""
    hits: np.ndarray = np.take_along_axis(relevant, order[:, :k], axis=1).sum(axis=1)
    return hits


def precision_at_k(order: np.ndarray, relevant: np.ndarray, k: int) -> float:
    """Precision@k, (relevant among the first k) / k, mean over the rows with anything relevant; in [0, 1].

    order: int [rows, columns], best column first; relevant: bool [rows, columns]. 0.0 if no row has
    anything relevant.
    """
    rows = relevant.any(axis=1)
    return float(count_hits(order[rows], relevant[rows], k).mean() / k) if rows.any() else 0.0


def recall_at_k(order: np.ndarray, relevant: np.ndarray, k: int) -> float:
    """Recall@k, the share of what is relevant that is among the first k, mean over the rows with anything relevant.

    In [0, 1]; arguments and the empty case as for `precision_at_k`.
    """
    rows = relevant.any(axis=1)
    if not rows.any():
        return 0.0
    return float((count_hits(order[rows], relevant[rows], k) / relevant[rows].sum(axis=1)).mean())


def ceiling_precision_at_k(relevant: np.ndarray, k: int) -> float:
    """The best precision@k of any order: min(k, relevant) / k, mean over the rows with anything relevant; in [0, 1]."""
    sizes = relevant.sum(axis=1)
    return float(np.minimum(sizes[sizes > 0], k).mean() / k) if (sizes > 0).any() else 0.0


def at_k(order: np.ndarray, relevant: np.ndarray, ks: Sequence[int]) -> dict[str, float]:
    """`precision_at_<k>` and `recall_at_<k>` for each k."""
    measures = {f"precision_at_{k}": precision_at_k(order, relevant, k) for k in ks}
    return measures | {f"recall_at_{k}": recall_at_k(order, relevant, k) for k in ks}


def brier_score(probabilities: np.ndarray, relevant: np.ndarray) -> float:
    """Mean squared difference of probability and truth, in [0, 1], lower is better (Brier 1950); 0.0 without entries.

    probabilities: float, relevant: bool, of one shape.
    """
    return float(np.mean((probabilities - relevant) ** 2)) if relevant.size else 0.0


BINS = 20
"""Bins of `calibration_error`."""


def calibration_error(probabilities: np.ndarray, relevant: np.ndarray) -> float:
    """Mean distance of probability and frequency over BINS bins of equally many entries, in [0, 1], lower is better.

    0.0 without entries; equal probabilities stay in one bin. Arrays as for `brier_score`. (The adaptive form of the
    expected calibration error: Nguyen and O'Connor 2015.)
    """
    if not relevant.size:
        return 0.0
    values, place, times = np.unique(probabilities, return_inverse=True, return_counts=True)
    bins = (np.cumsum(times) - 1) * BINS // relevant.size
    sums = np.bincount(bins, values * times, BINS)
    return float(np.abs(sums - np.bincount(bins[place.ravel()], relevant.ravel(), BINS)).sum() / relevant.size)


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """|a and b| / |a or b|, mean over the rows where either is non-empty, in [0, 1]; 0.0 if there are none.

    a, b: bool [rows, columns].
    """
    union = (a | b).sum(axis=1)
    rows = union > 0
    return float(((a & b).sum(axis=1)[rows] / union[rows]).mean()) if rows.any() else 0.0


def pooled_jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """|a and b| / |a or b| over all entries, in [0, 1]; 0.0 if both are empty. a, b: bool, of one shape."""
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 0.0


def replication(assigned: np.ndarray, log_p: np.ndarray, level: float = REPLICATES) -> float:
    """Share of the pairs assigned on one split whose p on the other is at most `level`, in [0, 1]; 0.0 if none is.

    assigned: bool, log_p: float, both [neurons, descriptors]. At random, at most `level` of the pairs replicate.
    """
    return float((log_p[assigned] <= np.log(level)).mean()) if assigned.any() else 0.0


def average_precision(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Average precision of every descriptor's scores for every aspect: float64 [descriptors, aspects], in [0, 1].

    scores: float [sentences, descriptors], NaN where missing (left out of that descriptor's ranking); relevant: bool
    [sentences, aspects]. Tied sentences share the last of their ranks. 0.0 for an aspect that no sentence has.
    """
    out = np.zeros((scores.shape[1], relevant.shape[1]))
    counts = (~np.isnan(scores)).sum(axis=0)
    aspects, sentences = np.nonzero(relevant.T)
    rank = np.empty(len(scores), np.int64)
    for d, values in enumerate(-scores.T):
        order = np.argsort(values)
        rank[order] = np.arange(len(order))
        known = rank[sentences] < counts[d]
        aspect, place = np.divmod(np.sort((aspects * len(order) + rank[sentences])[known]), len(order))
        ends, sizes = _find_ends(values[order])[place], np.bincount(aspect, minlength=relevant.shape[1])
        hits = _find_ends(aspect * len(order) + ends) + 1 - (sizes.cumsum() - sizes)[aspect]
        out[d] = np.bincount(aspect, hits / (ends + 1), len(sizes)) / np.maximum(sizes, 1)
    return out


def _find_ends(values: np.ndarray) -> np.ndarray:
    """The last position of the run of equal values that each belongs to: int64, as `values`, which is sorted."""
    last = np.append(values[1:] != values[:-1], np.ones(min(len(values), 1), dtype=bool))
    return np.asarray(np.flatnonzero(last)[np.cumsum(last) - last])


def f1(labels: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """F1 of every descriptor's labels for every aspect: float64 [descriptors, aspects], in [0, 1].

    labels: int8 [sentences, descriptors], missing ones (-1) left out; relevant: bool [sentences, aspects]. 0.0 if no
    sentence has either.
    """
    given, known, wanted = ((labels == 1).astype(float), (labels >= 0).astype(float), relevant.astype(float))
    sizes = given.sum(axis=0)[:, None] + known.T @ wanted
    return np.asarray(2 * (given.T @ wanted) / np.maximum(sizes, 1))
