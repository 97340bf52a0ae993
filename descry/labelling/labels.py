"""Which descriptors apply to which sentence: one module a way, one protocol, one result."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from descry.vocabulary.descriptors import Descriptor

LOWEST = -1e4
"""Score of a descriptor that nothing speaks for; no log share and no log odds come near it."""


@dataclass(frozen=True)
class Labels:
    """labels int8 [sentences, descriptors]: 1 applies, 0 does not, -1 missing; scores float32 of the same shape,
    higher where a descriptor applies more surely, finite everywhere (0 where missing)."""

    labels: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Labelled:
    """What a labeller gives: Labels of every table, and its agreement with the teacher that it learnt from, a row a
    descriptor; None where none taught it."""

    tables: list[Labels]
    taught: pd.DataFrame | None = None


class Labeller(Protocol):
    """A way to label: it learns from calibration alone and scores every table given."""

    def label(
        self,
        calibration: pd.DataFrame,
        others: Sequence[pd.DataFrame],
        candidates: pd.DataFrame,
        descriptors: Sequence[Descriptor],
    ) -> Labelled:
        """Labels of calibration, then of each of `others`, in the order of their rows and `descriptors`."""


def find_links(
    candidates: pd.DataFrame, descriptors: Sequence[Descriptor]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which sentence proposed which descriptor, through one of its members: rows int64 [links], columns int64
    [links] and strengths float64 [links], 1 / (1 + rank), in the order of the candidates."""
    column = {member: index for index, found in enumerate(descriptors) for member in found.members}
    columns = candidates["candidate"].str.strip().str.lower().map(column)
    kept = columns.notna().to_numpy()
    return (
        candidates["row"].to_numpy(dtype=np.int64)[kept],
        columns[kept].to_numpy(dtype=np.int64),
        1.0 / (1.0 + candidates["rank"].to_numpy(dtype=np.float64)[kept]),
    )


def log_shares(products: np.ndarray) -> np.ndarray:
    """Log softmax over descriptors: float32 [n, descriptors], at most 0. `products`, the same shape, is spent."""
    products -= products.max(axis=1, keepdims=True)
    return np.asarray(products - np.log(np.exp(products).sum(axis=1, keepdims=True)), dtype=np.float32)


def find_cuts(scores: np.ndarray, breadth: float) -> np.ndarray:
    """A threshold for each descriptor: so many sentences pass as it wins, times `breadth`; float32 [descriptors].

    A sentence may pass several thresholds or none; one that is passed by nothing is +inf.
    """
    wins = np.bincount(scores.argmax(axis=1), minlength=scores.shape[1])
    passing = np.minimum(np.rint(wins * breadth).astype(np.int64), len(scores))
    ordered = -np.sort(-scores, axis=0)
    least = ordered[np.maximum(passing - 1, 0), np.arange(scores.shape[1])]
    return np.where(passing > 0, least, np.inf).astype(np.float32)


def assign_folds(review_ids: Sequence[str] | np.ndarray, count: int) -> np.ndarray:
    """The fold of each sentence, int64 [sentences], 0 to count - 1: by the rank of its review's hash, so that
    folds hold equally many reviews and the order of rows does not matter."""
    names, review = np.unique(np.asarray(review_ids, dtype=str), return_inverse=True)
    digests = [hashlib.blake2b(str(name).encode(), digest_size=8).digest() for name in names]
    fold = np.empty(len(names), dtype=np.int64)
    fold[sorted(range(len(names)), key=digests.__getitem__)] = np.arange(len(names)) % count
    return fold[review]
