"""Word forms and tokens: against plain loops."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from descry.activations.token_words import (
    TokenReadings,
    build_word_presence,
    concatenate_ranges,
    find_word_forms,
    find_words,
)

TEXTS = ["Don't  stop, it's 5 o’clock!", "", "stop STOP", "naïve café – ok_1"]


def test_words_and_signs_lie_where_they_stand() -> None:
    spelled = [[text[start:stop] for start, stop in find_words(text)] for text in TEXTS]
    assert spelled[0] == ["Don't", "stop", ",", "it's", "5", "o’clock", "!"]
    assert spelled[1] == []
    assert spelled[3] == ["naïve", "café", "–", "ok_1"]


@given(st.lists(st.text(max_size=20), max_size=5), st.randoms())
def test_a_tokens_form_is_the_word_that_its_last_character_is_of(texts: list[str], random: object) -> None:
    lengths, stops, expected = [], [], []
    for text in texts:
        ends = sorted(random.sample(range(1, len(text) + 1), random.randint(0, len(text))))  # type: ignore[attr-defined]
        ends.append(0)  # one that lies nowhere
        lengths.append(len(ends))
        for stop in ends:
            inside = [(a, b) for a, b in find_words(text) if a <= stop - 1]
            expected.append(text[slice(*inside[-1])].lower() if inside and stop else "")
        stops += ends
    found = find_word_forms(texts, np.array(lengths, dtype=int), np.array(stops, dtype=int))
    assert [found.names[form] for form in found.of_token] == expected
    assert len(set(found.names)) == len(found.names)


def test_presence_equals_a_search() -> None:
    names = ["stop", "it's", "café", "nowhere", ","]
    held = build_word_presence(TEXTS, names).toarray()
    for row, text in enumerate(TEXTS):
        own = re.findall(r"\w+(?:['’]\w+)*|[^\w\s]", text.lower())
        assert held[row].tolist() == [int(name in own) for name in names]
    assert build_word_presence([], names).shape == (0, 5)


def test_runs_are_ranges_one_after_the_other() -> None:
    starts, sizes = np.array([5, 0, 7, 3]), np.array([2, 0, 3, 1])
    assert concatenate_ranges(starts, sizes).tolist() == [5, 6, 7, 8, 9, 3]
    assert concatenate_ranges(starts[:0], sizes[:0]).tolist() == []


def test_places_and_sizes_of_exemplars() -> None:
    read = TokenReadings(
        rows=np.array([2, 5, 9], np.int32),
        lengths=np.array([4, 1, 3], np.int32),
        start=np.zeros(8, np.int32),
        stop=np.zeros(8, np.int32),
        exemplars=np.array([[9, 2], [5, -1]], np.int32),
        on_tokens=np.zeros(8, np.float16),
    )
    assert read.firsts.tolist() == [0, 4, 5]
    assert read.sizes.tolist() == [[3, 4], [1, 0]]
    assert read.rows[read.places[0]].tolist() == [9, 2]
