"""Clustering of candidates into descriptors, each with a readable name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sentence_transformers.util import community_detection

from descry.embedding.vectors import Encoder, scale_to_unit
from descry.errors import InputError
from descry.vocabulary.descriptors import Descriptor

RESAMPLES = 10
"""Halves of the sentences on which the clustering is repeated."""
FOUND_AGAIN = 1 / 3
"""Weighted Jaccard index from which on two communities are the same: they share as much as each has apart."""
NOTHING_FOUND = (
    "cluster: no descriptor found among the candidates; lower `cluster.threshold` or `cluster.min_sentences`"
)


@dataclass(frozen=True)
class _Candidates:
    """Distinct candidates: names [n]; links [sentences, n], 1 / (1 + rank); sentences int64 [n], that propose each."""

    names: list[str]
    links: csr_matrix
    sentences: np.ndarray


def _gather_candidates(candidates: pd.DataFrame) -> _Candidates:
    """Gather the distinct candidates, ignoring case, and the sentences that propose them."""
    named = candidates.assign(candidate=candidates["candidate"].str.strip().str.lower())
    named = named[named["candidate"] != ""].sort_values("rank", kind="stable")
    named = named.drop_duplicates(["row", "candidate"])
    names, column = np.unique(named["candidate"].to_numpy(dtype=str), return_inverse=True)
    _, row = np.unique(named["row"].to_numpy(), return_inverse=True)
    strength = 1.0 / (1.0 + named["rank"].to_numpy(dtype=np.float64))
    links = csr_matrix((strength, (row, column)), shape=(int(row.max(initial=-1)) + 1, len(names)))
    return _Candidates([str(name) for name in names], links, np.bincount(column, minlength=len(names)))


def build_profiles(points: np.ndarray, links: csr_matrix, sentences: np.ndarray, company: float) -> np.ndarray:
    """Build the vectors by which candidates are clustered: float64 [n, 2 x width], unit rows.

    The first half is the candidate's own centred vector; the second, weighted by `company`, is the mean of its
    sentences, each of them the mean of its candidates. points: [n, width]; links, sentences: as in `_Candidates`.
    """
    weight = sentences / sentences.sum()
    own = scale_to_unit(points - weight @ points if len(points) > 1 else points)
    context = scale_to_unit(np.asarray(links.T @ scale_to_unit(np.asarray(links @ own))))
    context = scale_to_unit(context - weight @ context if len(points) > 1 else context)
    return scale_to_unit(np.hstack([own, company * context]))


def find_communities(
    vectors: np.ndarray, weights: np.ndarray, *, threshold: float, min_weight: float, points: int
) -> list[np.ndarray]:
    """Find communities of weighted vectors: arrays of rows, the centre first; no row is in two communities.

    threshold: least cosine to the centre; min_weight: least weight of a community. `community_detection` of
    sentence-transformers knows no weights: each vector is repeated in proportion to its weight, at least once, and so
    that there are about `points` copies in all.
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


def merge_communities(
    groups: Sequence[np.ndarray], vectors: np.ndarray, weights: np.ndarray, threshold: float
) -> list[np.ndarray]:
    """Merge communities of near-synonyms: always the two with the nearest centres, while their cosine is at least
    `threshold`.

    A centre is the direction of the weighted sum of a community's unit vectors. groups: arrays of rows of `vectors`.
    """
    merged = list(groups)
    sums = [weights[group] @ vectors[group] for group in merged]
    while len(merged) > 1:
        centres = scale_to_unit(np.array(sums))
        cosines = np.triu(centres @ centres.T, 1)
        first, second = np.unravel_index(cosines.argmax(), cosines.shape)
        if cosines[first, second] < threshold:
            break
        merged[first] = np.concatenate([merged[first], merged.pop(int(second))])
        sums[first] = sums[first] + sums.pop(int(second))
    return merged


@dataclass(frozen=True)
class ClusterOptions:
    """Options of the clustering, as in the section `cluster` of params.yaml.

    threshold: least cosine of a member to its community's centre, and of two centres that are merged, in (0, 1).
    min_sentences: least number of proposals in a community. stability: least share of RESAMPLES halves of the sentences
    in which a community is found again, in [0, 1]. max_descriptors: communities that are kept, at most. company: weight
    of the candidates proposed for the same sentences, relative to a candidate's own vector, >= 0. points: approximate
    number of copies of candidates in the community detection. template: as in `retrieval.Retrieval`.
    """

    threshold: float
    min_sentences: int
    stability: float
    max_descriptors: int
    company: float
    points: int
    template: str

    def group(self, points: np.ndarray, links: csr_matrix, share: float = 1.0) -> tuple[np.ndarray, list[np.ndarray]]:
        """Group candidates: their profiles and the communities. points, links: as for `build_profiles`; share: of the
        sentences that `links` holds, for which `min_sentences` is lowered."""
        sentences = links.getnnz(axis=0)
        space = build_profiles(points, links, sentences, self.company)
        groups = find_communities(
            space,
            sentences,
            threshold=self.threshold,
            min_weight=self.min_sentences * share,
            points=self.points,
        )
        return space, merge_communities(groups, space, sentences, self.threshold)


def measure_stability(
    groups: Sequence[np.ndarray], points: np.ndarray, links: csr_matrix, options: ClusterOptions
) -> np.ndarray:
    """Measure in what share of RESAMPLES halves of the sentences each community is found again: float64 [groups].

    It is found again if some community of the half shares at least FOUND_AGAIN of the two's candidates, weighted by
    their sentences; candidates that the half lacks are left out. points, links: as for `build_profiles`.
    """
    found = np.zeros(len(groups))
    for draw in range(RESAMPLES):
        rows = np.random.default_rng(draw).permutation(links.shape[0])[: links.shape[0] // 2]
        half = links[np.sort(rows)]
        present = np.flatnonzero(half.getnnz(axis=0))
        _, again = options.group(points[present], half[:, present], 0.5)
        weights = np.zeros(len(points))
        weights[present] = links.getnnz(axis=0)[present]
        ours, theirs = _mark(groups, len(points)), _mark([present[group] for group in again], len(points))
        shared = (ours * weights) @ theirs.T
        union = (ours @ weights)[:, None] + theirs @ weights - shared
        found += (shared >= FOUND_AGAIN * np.maximum(union, 1e-12)).any(axis=1)
    return found / RESAMPLES


def _mark(groups: Sequence[np.ndarray], count: int) -> np.ndarray:
    """Mark the members of groups: float64 [groups, count], 1 or 0."""
    marked = np.zeros((len(groups), count))
    for row, group in enumerate(groups):
        marked[row, group] = 1.0
    return marked


def cluster_candidates(candidates: pd.DataFrame, embedder: Encoder, options: ClusterOptions) -> list[Descriptor]:
    """Cluster candidates into descriptors, those of the most sentences first: all that are stable, at most
    `max_descriptors`.

    candidates: as `candidates.COLUMNS`. Errors: InputError if no community is large or stable enough.
    """
    distinct = _gather_candidates(candidates)
    if not distinct.names:
        raise InputError(NOTHING_FOUND)
    vectors = embedder.encode([options.template.format(name) for name in distinct.names], "embedding candidates")
    space, groups = options.group(vectors, distinct.links)
    if not groups:
        raise InputError(NOTHING_FOUND)
    if options.stability > 0:
        stability = measure_stability(groups, vectors, distinct.links, options)
        groups = [group for group, share in zip(groups, stability, strict=True) if share >= options.stability]
        if not groups:
            raise InputError(
                "cluster: no descriptor is found again in halves of the sentences; lower `cluster.stability` or give "
                "more reviews"
            )
    descriptors = [_name_community(distinct, space, group) for group in groups]
    return sorted(descriptors, key=lambda one: (-one.sentences, one.name))[: options.max_descriptors]


def _name_community(distinct: _Candidates, space: np.ndarray, group: np.ndarray) -> Descriptor:
    """Make a descriptor of a community, named by the member that is both near its centre and frequent."""
    weight = distinct.sentences[group]
    centre = scale_to_unit((weight[:, None] * space[group]).sum(axis=0, keepdims=True))[0]
    fit = (space[group] @ centre) * np.log1p(weight)
    members = sorted(group.tolist(), key=lambda column: (-distinct.sentences[column], distinct.names[column]))
    behind = np.asarray(distinct.links[:, group].sum(axis=1)).ravel() > 0
    name = distinct.names[int(group[int(fit.argmax())])]
    return Descriptor(name, tuple(distinct.names[column] for column in members), int(behind.sum()))
