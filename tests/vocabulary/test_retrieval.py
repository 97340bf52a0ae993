"""Retrieval against brute force, and by law, on a toy encoder whose space is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from descry.errors import InputError
from descry.vocabulary import retrieval
from descry.vocabulary.candidates import COLUMNS
from descry.vocabulary.retrieval import Retrieval, count_recurring, find_nearest, select_terms

TOPICS = ("battery", "box", "sound", "price")


class Toy:
    """An encoder of word counts over TOPICS, and a constant."""

    def __init__(self, words: Sequence[str] = TOPICS) -> None:
        self._words = list(words)

    def encode(self, texts: Sequence[str], description: str = "") -> np.ndarray:
        counts = [[0.1, *(text.lower().split().count(topic) for topic in TOPICS)] for text in texts]
        vectors = np.array(counts, dtype=np.float32).reshape(len(texts), 1 + len(TOPICS))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def words(self) -> list[str]:
        return self._words


def toy_sentences(reviews: int = 8) -> pd.DataFrame:
    rows = [(f"r{review}", f"My {topic} number {review} .") for review in range(reviews) for topic in TOPICS]
    return pd.DataFrame(rows, columns=["review_id", "text"])


def generator(**changes: Any) -> Retrieval:
    usual = {"share": 0.5, "per_sentence": 5, "words": 99, "pairs": 0, "min_reviews": 3, "sample": 99, "template": "{}"}
    return Retrieval(Toy(), **(usual | changes))


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
@pytest.mark.parametrize("count", [1, 4, 9])
def test_nearest_equals_brute_force_in_any_chunks(chunk: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "CHUNK", chunk)
    rng = np.random.default_rng(1)
    vectors, terms = rng.integers(-2, 3, size=(10, 3)), rng.integers(-2, 3, size=(6, 3))
    found, scores = find_nearest(vectors.astype(np.float32), terms.astype(np.float32), count)
    for row, vector in enumerate(vectors):
        products = [int(vector @ term) for term in terms]
        order = sorted(range(6), key=lambda term: (-products[term], term))[:count]
        assert found[row].tolist() == order
        assert scores[row].tolist() == [products[term] for term in order]


def test_recurring_counts_reviews_and_never_joins_over_a_stop() -> None:
    texts = ["Battery life, battery life!", "The battery life .", "Life is short ; short battery"]
    words, pairs = count_recurring(texts, ["a", "b", "b"])
    assert words["battery"] == 2
    assert words["life"] == 2
    assert words["the"] == 0
    assert pairs == {"battery life": 2, "short battery": 1}


def test_the_vocabulary_takes_known_words_first_then_the_corpus_own_then_pairs() -> None:
    texts = ["loud battery", "loud hum", "hum battery", "loud hum"]
    reviews = ["a", "b", "c", "d"]
    bounds = {"words": 9, "pairs": 9, "min_reviews": 2}
    assert select_terms(texts, reviews, ["the", "battery", "hum"], **bounds) == ["battery", "hum", "loud", "loud hum"]
    assert select_terms(texts, reviews, [], **bounds) == ["hum", "loud", "battery", "loud hum"]
    assert select_terms(texts, reviews, [], words=1, pairs=0, min_reviews=2) == ["hum"]
    assert select_terms(texts, reviews, ["hum"], words=9, pairs=9, min_reviews=5) == []


def test_each_sentence_is_given_the_term_that_it_is_about() -> None:
    sentences = toy_sentences()
    table = generator(per_sentence=2, pairs=0).propose(sentences).candidates
    assert {name: str(kind) for name, kind in table.dtypes.items()} == COLUMNS
    assert table["row"].tolist() == [row for row in range(len(sentences)) for _ in range(2)]
    assert table["rank"].tolist() == [0, 1] * len(sentences)
    best = table[table["rank"] == 0]
    assert all(name in text for name, text in zip(best["candidate"], sentences["text"], strict=True))
    assert (table["generator"] == "retrieval").all()


def test_the_sample_bounds_the_rows() -> None:
    sentences = toy_sentences()
    sample = generator(sample=10).propose(sentences).candidates
    assert sample["row"].nunique() == 10
    assert sample["row"].max() < len(sentences)


def test_what_a_review_repeats_counts_for_less() -> None:
    own = [("a", f"battery battery {topic}") for topic in TOPICS[1:]]
    rows = own + [(f"b{row}", " ".join(TOPICS[1:])) for row in range(9)]
    sentences = pd.DataFrame(rows, columns=["review_id", "text"])
    first = {
        share: generator(share=share, per_sentence=1, pairs=0, min_reviews=1).propose(sentences).candidates["candidate"]
        for share in (0.0, 1.0)
    }
    assert first[0.0].iloc[:3].tolist() == ["battery", "battery", "battery"]
    assert first[1.0].iloc[:3].tolist() == ["box", "sound", "price"]


def test_a_corpus_in_which_no_word_recurs_is_told_in_one_line() -> None:
    with pytest.raises(InputError, match=r"lower `generate\.retrieval\.min_reviews`"):
        generator(min_reviews=99).propose(toy_sentences())
