"""Literal evidence, against loops over sentences and members."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.labelling.literal import Members
from descry.vocabulary.descriptors import Descriptor

FOUND = [
    Descriptor("battery", ("battery", "battery life", "charge"), 9),
    Descriptor("life", ("life", "damage in transit"), 3),
    Descriptor("screen", ("Screen",), 2),
]
MEMBERS = [(column, member) for column, found in enumerate(FOUND) for member in found.members]
TEXTS = [
    "Battery life is short.",
    "The battery, life-long!",
    "batteries and chargers",
    "A damage in transit; in transit damage.",
    "SCREEN",
    "",
]
STANDS = [
    {"battery", "battery life", "life"},
    {"battery", "life"},
    set(),
    {"damage in transit"},
    {"Screen"},
    set(),
]


def test_members_stand_where_their_words_follow_one_another() -> None:
    found = Members(FOUND).locate(TEXTS).toarray()
    assert found.shape == (len(TEXTS), len(MEMBERS))
    expected = [[member in stands for _, member in MEMBERS] for stands in STANDS]
    np.testing.assert_array_equal(found == 1, expected)


words = st.sampled_from(["battery", "life", "charge", "screen", "damage", "in", "transit", "it"])
texts = st.lists(st.lists(words, max_size=7).map(" ".join), min_size=1, max_size=8)


@given(texts, st.integers(0, 2**32 - 1))
def test_weights_and_gains_equal_loops(drawn: list[str], seed: int) -> None:
    generator = np.random.default_rng(seed)
    labels = generator.integers(-1, 2, (len(drawn), len(FOUND))).astype(np.int8)
    scores = generator.normal(size=labels.shape).astype(np.float32)
    members = Members(FOUND)
    located = members.locate(drawn)
    stands = [[f" {member.lower()} " in f" {text} " for _, member in MEMBERS] for text in drawn]
    weights = members.weigh(located, labels)
    for place, (column, _) in enumerate(MEMBERS):
        rows = [row for row in range(len(drawn)) if labels[row, column] == 1]
        share = np.mean([stands[row][place] for row in rows]) if rows else 0
        assert weights[place] == pytest.approx(share)
    expected = scores.copy()
    for row in range(len(drawn)):
        for column in range(len(FOUND)):
            own = [weights[place] for place, (of, _) in enumerate(MEMBERS) if of == column and stands[row][place]]
            expected[row, column] += max(own, default=0)
    np.testing.assert_allclose(members.add(scores, located, weights), expected, rtol=1e-6)


def test_without_texts_or_descriptors_there_is_nothing() -> None:
    assert Members(FOUND).locate([]).shape == (0, len(MEMBERS))
    none = Members([])
    located = none.locate(TEXTS)
    assert located.shape == (len(TEXTS), 0)
    weights = none.weigh(located, np.zeros((len(TEXTS), 0), np.int8))
    assert none.add(np.zeros((len(TEXTS), 0), np.float32), located, weights).shape == (len(TEXTS), 0)
