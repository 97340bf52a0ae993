"""Metrics: plain functions of rankings, sets, scores and labels. Definitions: docs/method.md, section 2."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from descry.splits import REPLICATES


def count_hits(order: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """How many of each row's first k columns in `order` are relevant; int64 [rows]."""
    found: np.ndarray = np.take_along_axis(relevant, order[:, :k], axis=1).sum(axis=1)
    return found


def precision_at_k(order: np.ndarray, relevant: np.ndarray, k: int) -> float:
    """Mean over the rows with anything relevant of (relevant among the first k) / k, in [0, 1].

    order: int [rows, columns], best column first; relevant: bool [rows, columns]. 0.0 where no row counts.
    """
    rows = relevant.any(axis=1)
    return float(count_hits(order[rows], relevant[rows], k).mean() / k) if rows.any() else 0.0


def recall_at_k(order: np.ndarray, relevant: np.ndarray, k: int) -> float:
    """Mean over the rows with anything relevant of the share of it among the first k; as precision_at_k."""
    rows = relevant.any(axis=1)
    if not rows.any():
        return 0.0
    return float((count_hits(order[rows], relevant[rows], k) / relevant[rows].sum(axis=1)).mean())


def ceiling_precision_at_k(relevant: np.ndarray, k: int) -> float:
    """The best precision@k that any order can reach: mean(min(k, relevant)) / k over rows with any."""
    sizes = relevant.sum(axis=1)
    return float(np.minimum(sizes[sizes > 0], k).mean() / k) if (sizes > 0).any() else 0.0


def at_k(order: np.ndarray, relevant: np.ndarray, ks: Sequence[int]) -> dict[str, float]:
    """precision_at_k and recall_at_k for each k, under those names."""
    measures = {f"precision_at_{k}": precision_at_k(order, relevant, k) for k in ks}
    return measures | {f"recall_at_{k}": recall_at_k(order, relevant, k) for k in ks}


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over rows where either set is non-empty of |a and b| / |a or b|; bool [rows, columns]."""
    union = (a | b).sum(axis=1)
    rows = union > 0
    return float(((a & b).sum(axis=1)[rows] / union[rows]).mean()) if rows.any() else 0.0


def pooled_jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """|a and b| / |a or b| over all entries, in [0, 1]; 0.0 where both are empty."""
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 0.0


def replication(assigned: np.ndarray, log_p: np.ndarray, level: float = REPLICATES) -> float:
    """Share of the pairs assigned on one split whose p on the other is at most `level`; chance: `level`."""
    return float((log_p[assigned] <= np.log(level)).mean()) if assigned.any() else 0.0


def average_precision(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Average precision of every score for every reference: float64 [descriptors, aspects].

    scores: float [sentences, descriptors], NaN where missing: left out of that descriptor's ranking; relevant:
    bool [sentences, aspects]. Equal scores stand at one place. 0.0 for an aspect that no sentence has.
    """
    out = np.zeros((scores.shape[1], relevant.shape[1]))
    counts = (~np.isnan(scores)).sum(axis=0)
    for d, order in enumerate(np.argsort(-scores, axis=0, kind="stable").T):
        ranked = relevant[order[: counts[d]]]
        values = scores[order[: counts[d]], d]
        last = np.append(values[1:] != values[:-1], np.ones(min(len(values), 1), dtype=bool))
        ends = np.flatnonzero(last)[np.cumsum(last) - last]
        precision = np.cumsum(ranked, axis=0)[ends] / (ends + 1)[:, None]
        out[d] = (precision * ranked).sum(axis=0) / np.maximum(ranked.sum(axis=0), 1)
    return out


def f1(labels: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """F1 of every descriptor's labels for every reference: float64 [descriptors, aspects]; 0.0 where both empty.

    labels: int8 [sentences, descriptors], a missing one left out; relevant: bool [sentences, aspects].
    """
    given, known, wanted = ((labels == 1).astype(float), (labels >= 0).astype(float), relevant.astype(float))
    sizes = given.sum(axis=0)[:, None] + known.T @ wanted
    return np.asarray(2 * (given.T @ wanted) / np.maximum(sizes, 1))
