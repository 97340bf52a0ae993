"""Neighbours: neurons that share exemplars."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from descry.assignment.evidence import build_membership

BLOCK = 1024
"""Neurons whose overlap with all others is held in memory at once."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest neighbours of every neuron.

    neuron: int32 [neurons, nearest], positions, most shared exemplars first, ties by position, -1 for none; shared:
    int16, same shape, how many exemplars they share; elsewhere: int16, same shape, how many on the other split; sizes:
    int16 [neurons, 2], how many exemplars each neuron has, and how many on the other split.
    """

    neuron: np.ndarray
    shared: np.ndarray
    elsewhere: np.ndarray
    sizes: np.ndarray


def find_neighbours(exemplars: np.ndarray, other: np.ndarray, nearest: int) -> Neighbours:
    """Find the neurons that share most exemplars with each neuron; one that shares none is no neighbour.

    exemplars: int [neurons, k], rows of a split, -1 for none, k below 2**15; other: the same on the other split. Time
    is O(sum over sentences of the square of how many exemplar sets hold it); memory is O(BLOCK x neurons).
    """
    sets, elsewhere = (build_membership(rows, int(rows.max(initial=-1)) + 1) for rows in (exemplars, other))
    transposed = sets.T.tocsr()
    count = len(exemplars)
    nearest = min(nearest, max(count - 1, 0))
    neuron = np.full((count, nearest), -1, dtype=np.int32)
    shared, shared_elsewhere = np.zeros((2, count, nearest), dtype=np.int16)
    for start in range(0, count if nearest else 0, BLOCK):
        here = slice(start, start + BLOCK)
        overlap = (sets[here] @ transposed).toarray().astype(np.int64)
        row = np.arange(len(overlap))
        overlap[row, start + row] = -1
        key = overlap * count + np.arange(count - 1, -1, -1)
        best = np.argpartition(key, -nearest, axis=1)[:, -nearest:]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(key, best, 1), axis=1), 1)
        shared[here] = np.take_along_axis(overlap, best, 1)
        neuron[here] = np.where(shared[here] > 0, best, -1)
        shared[here] = np.maximum(shared[here], 0)
        pairs = elsewhere[np.repeat(start + row, nearest)].multiply(elsewhere[best.ravel()])
        shared_elsewhere[here] = np.where(neuron[here] >= 0, pairs.sum(axis=1).reshape(-1, nearest), 0)
    sizes = np.stack([(rows >= 0).sum(axis=1) for rows in (exemplars, other)], axis=1).astype(np.int16)
    return Neighbours(neuron, shared, shared_elsewhere, sizes)
