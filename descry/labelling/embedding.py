"""Labels from the embedding space: a prototype per descriptor, refined on the sentences nearest to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from descry.clustering import Descriptor
from descry.embedding import TEMPLATE, Encoder, residuals, sampled, unit
from descry.labelling import Labels

CHUNK = 2048
"""Sentences compared with the reference at once."""
LOUD = 1.5
"""Standard deviations above which a sentence's score is heard by its like."""


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


def refined(vectors: np.ndarray, anchors: np.ndarray, *, rounds: int, nearest: int, pull: float) -> np.ndarray:
    """Prototypes after `rounds` of: the mean of the `nearest` sentences, times `pull`, joins the anchor.

    vectors [sentences, width] and anchors [descriptors, width] have unit rows, and so has the result. Equal
    scores go to the lower row.
    """
    prototypes = anchors
    for _ in range(rounds):
        order = np.argsort(-(vectors @ prototypes.T), axis=0, kind="stable")[:nearest]
        means = np.stack([vectors[rows].mean(axis=0) for rows in order.T])
        prototypes = unit(anchors + pull * unit(means))
    return prototypes


def echo(
    vectors: np.ndarray, reference: np.ndarray, voices: np.ndarray, *, reach: float, itself: np.ndarray | None = None
) -> np.ndarray:
    """Mean of the reference's `voices`, weighted by exp((cosine - 1) / reach): [vectors, descriptors].

    vectors [n, width] and reference [m, width] have unit rows; voices [m, descriptors]. itself: int64 [n], where
    each vector stands in the reference, or -1; it does not hear itself. Never n x m weights at once.
    """
    heard = np.empty((len(vectors), voices.shape[1]), dtype=np.float64)
    for start in range(0, len(vectors), CHUNK):
        weights = np.exp((vectors[start : start + CHUNK] @ reference.T - 1.0) / reach)
        if itself is not None:
            own = itself[start : start + CHUNK]
            weights[np.flatnonzero(own >= 0), own[own >= 0]] = 0.0
        heard[start : start + CHUNK] = (weights @ voices) / np.maximum(weights.sum(axis=1, keepdims=True), 1e-30)
    return heard


@dataclass(frozen=True)
class _Scale:
    """A column-wise mean and standard deviation, taken once and applied to any table."""

    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> _Scale:
        return cls(values.mean(axis=0), np.maximum(values.std(axis=0), 1e-12))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = (values - self.mean) / self.std
        return scaled


@dataclass(frozen=True)
class Scorer:
    """Scores sentences by prototype and by the company of like sentences; learnt by `learnt`."""

    prototypes: np.ndarray
    reference: np.ndarray
    reach: float
    direct: _Scale
    rounds: tuple[tuple[np.ndarray, np.ndarray, _Scale], ...]
    """Of each round what the reference says, the spread of what it hears, and the scale of the sum."""

    @classmethod
    def learnt(cls, reference: np.ndarray, prototypes: np.ndarray, *, rounds: int, reach: float) -> Scorer:
        """From the reference sentences: unit vectors [m, width]; prototypes [descriptors, width]."""
        products = reference @ prototypes.T
        direct = _Scale.of(products)
        scores, learnt = direct(products), []
        for _ in range(rounds):
            voices = np.maximum(scores - LOUD, 0.0)
            heard = echo(reference, reference, voices, reach=reach, itself=np.arange(len(reference)))
            spread = np.maximum(heard.std(axis=0), 1e-12)
            joined = direct(products) + heard / spread
            learnt.append((voices, spread, _Scale.of(joined)))
            scores = learnt[-1][2](joined)
        return cls(prototypes, reference, reach, direct, tuple(learnt))

    def scores(self, vectors: np.ndarray, itself: np.ndarray | None = None) -> np.ndarray:
        """float32 [n, descriptors] of unit vectors [n, width], in standard deviations over the reference."""
        scores = self.direct(vectors @ self.prototypes.T)
        if self.rounds:
            voices, spread, scale = self.rounds[-1]
            heard = echo(vectors, self.reference, voices, reach=self.reach, itself=itself)
            scores = scale(scores + heard / spread)
        return scores.astype(np.float32)


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
    against its members' own vectors, >= 0. rounds, pull: see `refined`. nearest: the share of the reference
    that a prototype is drawn to, (0, 1]. echoes: rounds in which a sentence hears what is said of sentences like
    it, >= 0. reach: see `echo`, > 0. reference: sentences of calibration to learn from, at most. z: see
    `thresholds`.
    """

    embedder: Encoder
    share: float = 0.5
    linked: float = 2.0
    rounds: int = 3
    nearest: float = 0.02
    pull: float = 3.0
    echoes: int = 2
    reach: float = 0.05
    reference: int = 5000
    z: float = 3.0
    template: str = TEMPLATE

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
        rows = sampled(calibration, self.reference)
        anchors = unit(
            self._members(candidates, descriptors)
            + self.linked * linked_means(vectors[0], links(candidates, descriptors), len(descriptors))
        )
        prototypes = refined(
            vectors[0][rows],
            anchors,
            rounds=self.rounds,
            nearest=max(1, round(self.nearest * len(rows))),
            pull=self.pull,
        )
        scorer = Scorer.learnt(vectors[0][rows], prototypes, rounds=self.echoes, reach=self.reach)
        itself = np.full(len(calibration), -1)
        itself[rows] = np.arange(len(rows))
        scores = [scorer.scores(vectors[0], itself), *(scorer.scores(table) for table in vectors[1:])]
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
