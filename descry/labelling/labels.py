"""Labels: which descriptors apply to which sentence. One module per labeller, all behind the protocol `Labeller`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from descry.vocabulary.descriptors import Descriptor

LOWEST = -1e4
"""Score of a descriptor for which there is no evidence; far below any log share and any log odds."""


@dataclass(frozen=True)
class Labels:
    """Labels and scores of one table of sentences.

    labels: int8 [sentences, descriptors], 1 applies, 0 does not, -1 missing; scores: float32, same shape, higher where
    a descriptor applies with more certainty, finite everywhere (0 where missing).
    """

    labels: np.ndarray
    scores: np.ndarray


@dataclass(frozen=True)
class Labelled:
    """The result of a labeller: `Labels` of every table, and the agreement with the teacher that it was distilled from,
    one row per descriptor (see `distil.measure_teacher_agreement`); None without a teacher."""

    tables: list[Labels]
    taught: pd.DataFrame | None = None


class Labeller(Protocol):
    """A labeller: it learns from calibration only, and labels every table given."""

    def label(
        self,
        calibration: pd.DataFrame,
        others: Sequence[pd.DataFrame],
        candidates: pd.DataFrame,
        descriptors: Sequence[Descriptor],
    ) -> Labelled:
        """Label calibration, then each of `others`, in the order of their rows and of `descriptors`.

        calibration, others: columns text and review_id; candidates: as `candidates.COLUMNS`, of calibration.
        """


def find_links(
    candidates: pd.DataFrame, descriptors: Sequence[Descriptor]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find which sentences proposed which descriptors, through any of the descriptors' members.

    Returns rows and columns, int64 [links], and strengths, float64 [links], 1 / (1 + rank), in the candidates' order.
    """
    column = {member: index for index, descriptor in enumerate(descriptors) for member in descriptor.members}
    columns = candidates["candidate"].str.strip().str.lower().map(column)
    kept = columns.notna().to_numpy()
    return (
        candidates["row"].to_numpy(dtype=np.int64)[kept],
        columns[kept].to_numpy(dtype=np.int64),
        1.0 / (1.0 + candidates["rank"].to_numpy(dtype=np.float64)[kept]),
    )


def log_shares(products: np.ndarray) -> np.ndarray:
    """Log softmax over descriptors: float32 [n, descriptors], <= 0. `products`, same shape, is overwritten."""
    products -= products.max(axis=1, keepdims=True)
    return np.asarray(products - np.log(np.exp(products).sum(axis=1, keepdims=True)), dtype=np.float32)


def find_cuts(scores: np.ndarray, breadth: float, by: np.ndarray | None = None) -> np.ndarray:
    """Find a threshold for each descriptor, reached by `breadth` times as many sentences as it scores highest in.

    scores: float [sentences, descriptors]; by: other scores, same shape, by which those sentences are counted. Returns
    float32 [descriptors], +inf where no sentence should pass. A sentence may pass several thresholds, or none.
    """
    wins = np.bincount((scores if by is None else by).argmax(axis=1), minlength=scores.shape[1])
    passing = np.minimum(np.rint(wins * breadth).astype(np.int64), len(scores))
    ordered = -np.sort(-scores, axis=0)
    least = ordered[np.maximum(passing - 1, 0), np.arange(scores.shape[1])]
    return np.where(passing > 0, least, np.inf).astype(np.float32)
