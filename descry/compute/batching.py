"""Batch texts of unequal length into batches of about equal cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def batch_by_tokens(lengths: Sequence[int], tokens: int, *, equal: bool = False) -> list[np.ndarray]:
    """Batch sentences of similar length, as positions: at most `tokens` tokens a padded batch, or one sentence.

    Shortest first; equal lengths stay in order. equal: only sentences of the same length share a batch.
    """
    order = np.argsort(np.asarray(lengths), kind="stable")
    batches: list[np.ndarray] = []
    start = 0
    for stop in range(1, len(order) + 1):
        if (
            stop == len(order)
            or (stop + 1 - start) * lengths[order[stop]] > tokens
            or (equal and lengths[order[stop]] > lengths[order[start]])
        ):
            batches.append(order[start:stop])
            start = stop
    return batches
