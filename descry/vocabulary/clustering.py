"""Candidates grouped into descriptors, each with a readable name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sentence_transformers.util import community_detection

from descry.embedding.vectors import Encoder, scale_to_unit
from descry.errors import InputError
from descry.vocabulary.descriptors import Descriptor


@dataclass(frozen=True)
class _Candidates:
    """Distinct candidates: names [n], links [rows, n] (1 / (1 + rank)), sentences behind each [n]."""

    names: list[str]
    links: csr_matrix
    sentences: np.ndarray


def _read(candidates: pd.DataFrame) -> _Candidates:
    named = candidates.assign(candidate=candidates["candidate"].str.strip().str.lower())
    named = named[named["candidate"] != ""].sort_values("rank", kind="stable")
    named = named.drop_duplicates(["row", "candidate"])
    names, column = np.unique(named["candidate"].to_numpy(dtype=str), return_inverse=True)
    _, row = np.unique(named["row"].to_numpy(), return_inverse=True)
    strength = 1.0 / (1.0 + named["rank"].to_numpy(dtype=np.float64))
    links = csr_matrix((strength, (row, column)), shape=(int(row.max(initial=-1)) + 1, len(names)))
    return _Candidates([str(name) for name in names], links, np.bincount(column, minlength=len(names)))


def build_profiles(points: np.ndarray, links: csr_matrix, sentences: np.ndarray, company: float) -> np.ndarray:
    """What a candidate means beside whom it stands with: float64 [n, 2 x width], unit rows.

    The first half is its own centred vector, the second (weighing `company`) the mean of its sentences, each
    of them the mean of its own candidates.
    """
    weight = sentences / sentences.sum()
    own = scale_to_unit(points - weight @ points if len(points) > 1 else points)
    beside = scale_to_unit(np.asarray(links.T @ scale_to_unit(np.asarray(links @ own))))
    beside = scale_to_unit(beside - weight @ beside if len(points) > 1 else beside)
    return scale_to_unit(np.hstack([own, company * beside]))


def find_communities(
    vectors: np.ndarray, weights: np.ndarray, *, threshold: float, min_weight: float, points: int
) -> list[np.ndarray]:
    """Communities of weighted vectors: positions, the centre first; no position in two of them.

    `community_detection` knows no weights: each vector is laid down as often as its weight asks, scaled so
    that there are about `points` copies in all, and at least one each.
    """
    scale = max(1.0, weights.sum() / points)
    copies = np.maximum(1, np.rint(weights / scale)).astype(np.int64)
    origin = np.repeat(np.arange(len(weights)), copies)
    least = min(max(1, round(min_weight / scale)), len(origin))
    groups: list[np.ndarray] = []
    taken = np.zeros(len(weights), dtype=bool)
    for group in community_detection(vectors[origin].astype(np.float32), threshold=threshold, min_community_size=least):
        positions = np.array(list(dict.fromkeys(origin[group].tolist())), dtype=np.int64)
        positions = positions[~taken[positions]]
        taken[positions] = True
        if len(positions):
            groups.append(positions)
    return groups


def cluster_candidates(
    candidates: pd.DataFrame,
    embedder: Encoder,
    *,
    threshold: float,
    min_sentences: int,
    max_descriptors: int,
    company: float,
    points: int,
    template: str,
) -> list[Descriptor]:
    """The `max_descriptors` communities of candidates with the most sentences behind them, heaviest first.

    threshold: cosine that a member has to its community's centre, (0, 1). min_sentences: least links behind a
    community. company: weight of the candidates that a candidate stands with against its own vector, >= 0.
    points: copies laid down for community detection, at most about. template: as in the retrieval generator.
    Errors: InputError where nothing is left.
    """
    read = _read(candidates)
    if read.names:
        vectors = embedder.encode([template.format(name) for name in read.names], "embedding candidates")
        space = build_profiles(vectors, read.links, read.sentences, company)
        groups = find_communities(space, read.sentences, threshold=threshold, min_weight=min_sentences, points=points)
        found = [_descriptor(read, space, group) for group in groups]
        if found:
            return sorted(found, key=lambda one: (-one.sentences, one.name))[:max_descriptors]
    raise InputError(
        "cluster: no descriptor found among the candidates; lower `cluster.threshold` or `cluster.min_sentences`"
    )


def _descriptor(read: _Candidates, space: np.ndarray, group: np.ndarray) -> Descriptor:
    weight = read.sentences[group]
    centre = scale_to_unit((weight[:, None] * space[group]).sum(axis=0, keepdims=True))[0]
    fit = (space[group] @ centre) * np.log1p(weight)
    members = sorted(group.tolist(), key=lambda column: (-read.sentences[column], read.names[column]))
    behind = np.asarray(read.links[:, group].sum(axis=1)).ravel() > 0
    name = read.names[int(group[int(fit.argmax())])]
    return Descriptor(name, tuple(read.names[column] for column in members), int(behind.sum()))
