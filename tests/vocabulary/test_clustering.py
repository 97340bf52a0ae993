"""Communities by law, names and weights on toy candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from descry.embedding.vectors import scale_to_unit
from descry.errors import InputError
from descry.vocabulary.candidates import build_candidate_table
from descry.vocabulary.clustering import (
    FOUND_AGAIN,
    ClusterOptions,
    build_profiles,
    cluster_candidates,
    find_communities,
    measure_stability,
    merge_communities,
)

GROUPS = {"battery": ("battery", "charge", "charger"), "box": ("box", "carton"), "loud": ("loud", "noise", "hum")}


class Toy:
    """An encoder in which the words of a group lie close, and the groups far apart."""

    def encode(self, texts: Sequence[str], description: str = "") -> np.ndarray:
        rows = np.zeros((len(texts), len(GROUPS) + 3), dtype=np.float32)
        for row, text in enumerate(texts):
            for axis, members in enumerate(GROUPS.values()):
                for member, name in enumerate(members):
                    if name == text:
                        rows[row, axis] = 1.0
                        rows[row, len(GROUPS) + member] = 0.2 * member
            if not rows[row].any():
                rows[row, -1] = 1.0
        return scale_to_unit(rows).astype(np.float32)

    def words(self) -> list[str]:
        return []


def named(*answers: str) -> pd.DataFrame:
    """One sentence an answer; commas part its candidates."""
    rows = [(row, name, rank) for row, answer in enumerate(answers) for rank, name in enumerate(answer.split(","))]
    return build_candidate_table(
        [row for row, _, _ in rows], [name for _, name, _ in rows], [1.0] * len(rows), [r for _, _, r in rows], "llm"
    )


ANSWERS = named(
    "battery", "battery,charge", "battery", "charger", "box", "carton,box", "Loud ", "noise", "hum,loud", ""
)
LAX = ClusterOptions(
    min_sentences=1,
    template="{}",
    threshold=0.6,
    company=0.0,
    stability=0.0,
    max_descriptors=60,
    points=5000,
)


def test_candidates_of_one_meaning_become_one_descriptor_and_the_heaviest_come_first() -> None:
    found = cluster_candidates(ANSWERS, Toy(), LAX)
    assert [set(one.members) for one in found] == [set(GROUPS["battery"]), set(GROUPS["loud"]), set(GROUPS["box"])]
    assert [one.sentences for one in found] == [4, 3, 2]
    assert found[0].members[0] == "battery"
    assert all(one.name in one.members for one in found)
    assert cluster_candidates(ANSWERS, Toy(), replace(LAX, max_descriptors=1)) == found[:1]


def test_the_order_of_the_table_changes_nothing() -> None:
    turned = ANSWERS.iloc[::-1].reset_index(drop=True)
    assert cluster_candidates(turned, Toy(), LAX) == cluster_candidates(ANSWERS, Toy(), LAX)


def test_a_candidate_named_twice_in_a_sentence_counts_once() -> None:
    assert cluster_candidates(named("box,box,BOX", "box"), Toy(), LAX)[0].sentences == 2


@pytest.mark.parametrize("table", [named(""), ANSWERS.iloc[:0], ANSWERS])
def test_no_descriptor_is_told_with_the_thresholds_to_loosen(table: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=r"`cluster\.threshold` or `cluster\.min_sentences`"):
        cluster_candidates(table, Toy(), replace(LAX, min_sentences=50))


def test_communities_are_disjoint_and_hold_only_what_is_close_to_their_centre() -> None:
    rng = np.random.default_rng(2)
    vectors, weights = scale_to_unit(rng.normal(size=(60, 4))), rng.integers(1, 30, size=60)
    for points in (60, 300, 10_000):
        groups = find_communities(vectors, weights, threshold=0.8, min_weight=20, points=points)
        positions = np.concatenate(groups)
        assert len(positions) == len(set(positions.tolist()))
        for group in groups:
            assert (vectors[group] @ vectors[group[0]] >= 0.8 - 1e-6).all()
    exact = find_communities(vectors, weights, threshold=0.8, min_weight=20, points=10_000)
    assert all(weights[group].sum() >= 20 for group in exact)


def test_weight_decides_whether_a_community_is_large_enough() -> None:
    vectors = np.eye(3)
    groups = find_communities(vectors, np.array([9, 10, 30]), threshold=0.5, min_weight=10, points=1000)
    assert [group.tolist() for group in groups] == [[2], [1]]


def test_profiles_tell_company_from_meaning() -> None:
    points = scale_to_unit(np.array([[1.0, 0.1, 0.0], [1.0, 0.0, 0.1], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    links = csr_matrix(np.array([[1.0, 0, 1, 0], [1, 0, 1, 0], [0, 1, 0, 1], [0, 1, 0, 1]]))
    sentences = np.array([2, 2, 2, 2])
    alone, together = (build_profiles(points, links, sentences, company) for company in (0.0, 2.0))
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0)
    assert together[0] @ together[1] < alone[0] @ alone[1]
    assert together[0] @ together[2] > alone[0] @ alone[2]


def test_merging_joins_the_nearest_first_and_leaves_no_two_near_centres() -> None:
    rng = np.random.default_rng(3)
    vectors, weights = scale_to_unit(rng.normal(size=(40, 3))), rng.integers(1, 9, size=40)
    groups = list(np.arange(40).reshape(20, 2))
    for threshold in (0.5, 0.8, 0.95):
        merged = merge_communities(groups, vectors, weights, threshold)
        assert sorted(np.concatenate(merged).tolist()) == list(range(40))
        centres = scale_to_unit(np.array([weights[group] @ vectors[group] for group in merged]))
        assert (np.triu(centres @ centres.T, 1) < threshold).all()
    assert [group.tolist() for group in merge_communities(groups, vectors, weights, 1.01)] == np.array(groups).tolist()
    line = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
    joined = merge_communities([np.array([0]), np.array([1]), np.array([2])], line, np.ones(3), 0.75)
    assert [group.tolist() for group in joined] == [[0, 1], [2]]


class Wheel(Toy):
    """An encoder of words by angles; each word has an opposite, so that the mean of all is zero."""

    angles: ClassVar = {"laptop": -40, "computer": 0, "machine": 40, "device": 50}
    counts: ClassVar = {"laptop": 6, "computer": 1, "machine": 10, "device": 5}

    def encode(self, texts: Sequence[str], description: str = "") -> np.ndarray:
        turned = [self.angles[text.removeprefix("no ")] + 180 * text.startswith("no ") for text in texts]
        return np.column_stack([np.cos(np.radians(turned)), np.sin(np.radians(turned))]).astype(np.float32)


def test_synonyms_that_detection_leaves_apart_become_one_descriptor() -> None:
    answers = [prefix + word for prefix in ("", "no ") for word, count in Wheel.counts.items() for _ in range(count)]
    vectors, weights = Wheel().encode(list(Wheel.angles)), np.array(list(Wheel.counts.values()))
    assert len(find_communities(vectors, weights, threshold=0.7, min_weight=1, points=5000)) == 2
    found = cluster_candidates(named(*answers), Wheel(), replace(LAX, threshold=0.7))
    assert [set(one.members) for one in found] == [set(Wheel.angles), {f"no {word}" for word in Wheel.angles}]


def test_a_community_is_stable_if_halves_of_the_sentences_have_it_too() -> None:
    often = ["battery,charge", "box,carton"] * 20
    options = replace(LAX, min_sentences=3, stability=1.0)
    table = named(*often, "loud", "noise", "hum")
    found = cluster_candidates(table, Toy(), options)
    assert [set(one.members) for one in found] == [{"battery", "charge"}, {"box", "carton"}]
    assert len(cluster_candidates(table, Toy(), replace(options, stability=0.0))) == 3
    with pytest.raises(InputError, match=r"`cluster\.stability`"):
        cluster_candidates(named("loud", "noise", "hum", "box", "box", "box"), Toy(), options)


def test_stability_equals_a_loop() -> None:
    rng = np.random.default_rng(4)
    points = scale_to_unit(rng.normal(size=(12, 3)))
    links = csr_matrix(np.where(rng.random((60, 12)) < 0.2, 1.0, 0.0))
    options = replace(LAX, min_sentences=8, threshold=0.7)
    _, groups = options.group(points, links)
    expected = np.zeros(len(groups))
    for draw in range(10):
        rows = np.sort(np.random.default_rng(draw).permutation(60)[:30])
        half = links.toarray()[rows]
        present = np.flatnonzero(half.any(axis=0))
        _, again = options.group(points[present], csr_matrix(half[:, present]), 0.5)
        sizes = {int(column): int((links.toarray()[:, column] > 0).sum()) for column in present}
        sets = [{int(present[column]) for column in group} for group in again]
        for number, group in enumerate(groups):
            ours = set(group.tolist()) & sizes.keys()
            index = [sum(sizes[c] for c in ours & other) / sum(sizes[c] for c in ours | other) for other in sets]
            expected[number] += max(index, default=0.0) >= FOUND_AGAIN
    np.testing.assert_allclose(measure_stability(groups, points, links, options), expected / 10)
    assert 0 < expected.sum() < 10 * len(groups)
