"""Proper names planted in small corpora, with case and without, on the embedded model and on a toy encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from descry.embedding.encoder import SentenceEncoder
from descry.vocabulary.candidates import build_candidate_table
from descry.vocabulary.proper_names import count_capitals, drop_proper_names, find_proper_names

TEMPLATE = "The {} is great."
NAMES = ["jennifer", "boston", "samsung"]
THINGS = "kitchen bathroom keyboard price clean host new fair bed noise shower battery".split()
CASED = [
    "Our host Jennifer met us in Boston, and the Samsung in the kitchen was new.",
    "Kitchen and bathroom were clean, the price was fair, said Jennifer.",
    "We liked the keyboard that Samsung sells in Boston at this price.",
]


@pytest.fixture(scope="module")
def encoder(embedded_model: Path) -> SentenceEncoder:
    return SentenceEncoder(embedded_model)


class Deaf:
    """An encoder that knows nothing: it gives every text the same vector."""

    def encode(self, texts: Sequence[str], description: str = "") -> np.ndarray:
        return np.ones((len(texts), 2), dtype=np.float32)

    def words(self) -> list[str]:
        return []


def test_capitals_count_inside_sentences_only() -> None:
    texts = ["Ann met Bob here. Then she left", "WE SAW BOB and ann", "Great Big Red Box", "you saw Ann", "..."]
    counted, capital, begin = count_capitals(texts)
    assert counted == dict.fromkeys(["met", "bob", "here", "she", "left", "and", "saw"], 1) | {"ann": 2}
    assert {word: count for word, count in capital.items() if count} == {"bob": 1, "ann": 1}
    assert begin == 3 / 4


def test_case_tells_names_where_the_corpus_has_it_whatever_the_encoder_knows() -> None:
    assert find_proper_names([*NAMES, *THINGS], CASED, Deaf(), TEMPLATE) == set(NAMES)


def test_the_encoder_tells_names_where_the_corpus_has_no_case(encoder: SentenceEncoder) -> None:
    lower = [text.lower() for text in CASED]
    assert find_proper_names([*NAMES, *THINGS], lower, encoder, TEMPLATE) == set(NAMES)
    assert find_proper_names([*NAMES, *THINGS], [text.upper() for text in CASED], encoder, TEMPLATE) == set(NAMES)


def test_a_name_that_only_begins_sentences_is_told_by_the_encoder(encoder: SentenceEncoder) -> None:
    texts = ["Jennifer was kind.", "Kitchen was small.", "Jennifer has a bathroom."]
    assert find_proper_names(["jennifer", "kitchen", "bathroom"], texts, encoder, TEMPLATE) == {"jennifer"}


def test_a_language_that_capitalises_nouns_loses_none(encoder: SentenceEncoder) -> None:
    texts = [
        "Wir mochten die Kitchen und den Bathroom sehr, sagt er.",
        "Hier war der Price ganz gut und das Keyboard neu.",
    ]
    assert find_proper_names(THINGS[:4], texts, encoder, TEMPLATE) == set()


def test_a_phrase_with_a_name_in_it_is_dropped_and_the_order_stays() -> None:
    table = build_candidate_table([0, 0, 1], ["Samsung keyboard", "Price", "kitchen"], [1.0] * 3, [0, 1, 0], "llm")
    kept = drop_proper_names(table, CASED, Deaf(), TEMPLATE)
    assert kept[["row", "candidate"]].to_numpy().tolist() == [[0, "Price"], [1, "kitchen"]]
    assert kept.index.tolist() == [0, 1]
