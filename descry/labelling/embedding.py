"""Labels from the embedding space: a prototype per descriptor, refined on the sentences nearest to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from descry.clustering import Descriptor
from descry.embedding import Encoder, residuals, unit
from descry.labelling import Labels


def links(candidates: pd.DataFrame, descriptors: Sequence[Descriptor]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which sentence named which descriptor: rows, columns (int64) and strengths 1 / (1 + rank), a link each."""
    column = {member: index for index, found in enumerate(descriptors) for member in found.members}
    columns = candidates["candidate"].str.strip().str.lower().map(column)
    kept = columns.notna().to_numpy()
    strength = 1.0 / (1.0 + candidates["rank"].to_numpy(dtype=np.float64))
    return (
        candidates["row"].to_numpy(dtype=np.int64)[kept],
        columns[kept].to_numpy(dtype=np.int64),
        strength[kept],
    )


def linked_means(
    vectors: np.ndarray, found: tuple[np.ndarray, np.ndarray, np.ndarray], columns: int
) -> np.ndarray:
    """Each descriptor's mean direction over the sentences that named it: [columns, width], unit or zero rows."""
    row, column, strength = found
    sums = np.zeros((columns, vectors.shape[1]))
    np.add.at(sums, column, strength[:, None] * vectors[row])
    return unit(sums)


def refined(
    vectors: np.ndarray, anchors: np.ndarray, *, rounds: int, nearest: int, pull: float
) -> np.ndarray:
    """Prototypes after `rounds` of: the mean of the `nearest` sentences, times `pull`, joins the anchor.

    vectors [sentences, width] and anchors [descriptors, width] have unit rows, and so has the result. Equal
    scores go to the lower row.
    """
    prototypes = anchors
    for _ in range(rounds):
        order = np.argsort(-(vectors @ prototypes.T), axis=0, kind="stable")[:nearest]
        prototypes = unit(anchors + pull * unit(vectors[order].mean(axis=0)))
    return prototypes


def thresholds(scores: np.ndarray, z: float) -> np.ndarray:
    """A cut for each column: `z` robust standard deviations (1.4826 x median deviation) above its median."""
    middle = np.median(scores, axis=0)
    spread = 1.4826 * np.median(np.abs(scores - middle), axis=0)
    cuts: np.ndarray = middle + z * spread
    return cuts


@dataclass(frozen=True)
class EmbeddingLabeller:
    """The labeller `embedding`; it learns from calibration and from the candidates' links, never from gold.

    share and template: as in the retrieval generator. linked: weight of the sentences that named a descriptor
    against its members' own vectors, >= 0. rounds, nearest, pull: see `refined`. z: see `thresholds`.
    """

    embedder: Encoder
    share: float = 0.5
    linked: float = 1.0
    rounds: int = 3
    nearest: int = 20
    pull: float = 1.5
    z: float = 3.0
    template: str = "the {} of this product"

    def labels(
        self,
        calibration: pd.DataFrame,
        others: Sequence[pd.DataFrame],
        candidates: pd.DataFrame,
        descriptors: Sequence[Descriptor],
    ) -> list[Labels]:
        """Labels of calibration, then of each of `others`; none is missing."""
        raw = [self._residuals(table) for table in (calibration, *others)]
        origin = raw[0].mean(axis=0)
        vectors = [unit(table - origin) for table in raw]
        anchors = unit(
            self._members(candidates, descriptors)
            + self.linked * linked_means(vectors[0], links(candidates, descriptors), len(descriptors))
        )
        prototypes = refined(
            vectors[0], anchors, rounds=self.rounds, nearest=self.nearest, pull=self.pull
        )
        scores = [(table @ prototypes.T).astype(np.float32) for table in vectors]
        cuts = thresholds(scores[0], self.z)
        return [Labels((score > cuts).astype(np.int8), score) for score in scores]

    def _residuals(self, sentences: pd.DataFrame) -> np.ndarray:
        vectors = self.embedder.encode(sentences["text"].tolist(), "embedding sentences")
        return residuals(vectors, sentences["review_id"].tolist(), self.share)

    def _members(self, candidates: pd.DataFrame, descriptors: Sequence[Descriptor]) -> np.ndarray:
        """The weighted mean of each descriptor's members, centred on all candidates: [descriptors, width]."""
        members = list(dict.fromkeys(member for found in descriptors for member in found.members))
        position = {member: index for index, member in enumerate(members)}
        points = self.embedder.encode([self.template.format(member) for member in members], "embedding members")
        named = candidates["candidate"].str.strip().str.lower().map(position).dropna().astype(int)
        weight = np.bincount(named.to_numpy(), minlength=len(members)).astype(np.float64)
        points = unit(points - (weight @ points) / max(1.0, weight.sum()))
        sums = [
            (np.maximum(1.0, weight[own])[:, None] * points[own]).sum(axis=0)
            for own in ([position[member] for member in found.members] for found in descriptors)
        ]
        return unit(np.stack(sums))
