"""Retrieval against brute force, and by law, on a toy encoder whose space is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from descry.errors import InputError
from descry.vocabulary import retrieval
from descry.vocabulary.candidates import COLUMNS
from descry.vocabulary.retrieval import Retrieval, count_recurring, find_nearest, locate_terms, select_terms

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
    usual["proper_names"] = True
    return Retrieval(Toy(), **(usual | changes))


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
@pytest.mark.parametrize("count", [1, 4, 9])
def test_nearest_equals_brute_force_in_any_chunks(chunk: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrieval, "CHUNK", chunk)
    monkeypatch.setattr(retrieval, "LITERAL", 1.5)
    rng = np.random.default_rng(1)
    vectors, terms = rng.integers(-2, 3, size=(10, 3)), rng.integers(-2, 3, size=(6, 3))
    prior, literal = rng.integers(0, 3, size=6) / 4, rng.random((10, 6)) < 0.2
    found, scores = find_nearest(
        vectors.astype(np.float32), terms.astype(np.float32), count, prior.astype(np.float32), csr_matrix(literal)
    )
    for row, vector in enumerate(vectors):
        values = [float(vector @ terms[term] + prior[term] + 1.5 * literal[row, term]) for term in range(6)]
        order = sorted(range(6), key=lambda term: (-values[term], term))[:count]
        assert found[row].tolist() == order
        assert scores[row].tolist() == [values[term] for term in order]


def test_terms_are_located_whole_and_in_any_case() -> None:
    texts = ["Battery life is short.", "batteries; life", "the BATTERY"]
    found = locate_terms(texts, ["life", "battery life", "battery"]).toarray()
    np.testing.assert_array_equal(found, [[1, 1, 1], [1, 0, 0], [0, 0, 1]])


def test_of_terms_that_fit_alike_the_common_one_and_the_one_in_the_sentence_win() -> None:
    vectors, terms = np.ones((2, 1), dtype=np.float32), np.ones((3, 1), dtype=np.float32)
    literal = csr_matrix(np.array([[False, False, False], [True, False, False]]))
    prior = retrieval.COMMON * np.log(np.array([3.0, 30.0, 5.0]))
    assert find_nearest(vectors, terms, 3, prior, literal)[0].tolist() == [[1, 2, 0], [0, 1, 2]]


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
    assert list(select_terms(texts, reviews, ["the", "battery", "hum"], **bounds)) == [
        "battery",
        "hum",
        "loud",
        "loud hum",
    ]
    assert list(select_terms(texts, reviews, [], **bounds)) == ["hum", "loud", "battery", "loud hum"]
    assert list(select_terms(texts, reviews, [], words=1, pairs=0, min_reviews=2)) == ["hum"]
    assert list(select_terms(texts, reviews, ["hum"], words=9, pairs=9, min_reviews=5)) == []
    assert select_terms(texts, reviews, [], **bounds) == {"hum": 3, "loud": 3, "battery": 2, "loud hum": 2}


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


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_reviews_of_one_sentence_are_given_what_they_are_about(share: float) -> None:
    sentences = toy_sentences()
    sentences["review_id"] = [f"r{row}" for row in range(len(sentences))]
    best = generator(share=share, per_sentence=1).propose(sentences).candidates["candidate"]
    assert all(name in text for name, text in zip(best, sentences["text"], strict=True))


def test_a_name_is_no_candidate_unless_names_are_wanted() -> None:
    sentences = toy_sentences()
    sentences["text"] = [text.replace("box", "Box") for text in sentences["text"]]
    for wanted in (True, False):
        candidates = generator(proper_names=wanted).propose(sentences).candidates["candidate"]
        assert set(candidates) == (set(TOPICS) if wanted else set(TOPICS) - {"box"}) | {"number"}


def test_a_corpus_in_which_no_word_recurs_is_told_in_one_line() -> None:
    with pytest.raises(InputError, match=r"lower `generate\.retrieval\.min_reviews`"):
        generator(min_reviews=99).propose(toy_sentences())
