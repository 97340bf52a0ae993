"""Exemplars: the sentences on which a neuron is most active. Definitions: docs/method.md, section 1."""

from __future__ import annotations

import numpy as np


def select_exemplars(values: np.ndarray, rows: np.ndarray, beyond: np.ndarray, k: int) -> np.ndarray:
    """Select each neuron's exemplars: the sentences with a larger value than the one at rank k + 1, or, if there are no
    more than k, than the weakest.

    Sentences that are tied over the cut are all left out. So the set is smaller than k for a neuron that leaves its
    resting value on fewer sentences, and it never depends on their order. values: float [..., K], the K largest of each
    neuron, best first; rows: int [..., K], their sentences; beyond: float [...], the value that follows them, or the
    smallest if they are all. Returns rows, int32 [..., min(k, K)], best first, -1 in the places that are left.
    """
    cut = values[..., k] if k < values.shape[-1] else beyond
    return np.where(values[..., :k] > cut[..., None], rows[..., :k], -1).astype(np.int32)
