"""The lexical labeller: what it finds by words, what it must not see, and the same bytes everywhere."""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from descry.corpus.readers import read_reviews
from descry.corpus.sampling import assign_folds
from descry.corpus.sentences import build_sentence_table
from descry.errors import InputError
from descry.labelling import lexical
from descry.labelling.labels import LOWEST, Labels
from descry.labelling.lexical import LexicalLabeller, weigh_words
from descry.vocabulary.candidates import build_candidate_table
from descry.vocabulary.descriptors import Descriptor
from tests.conftest import ROOT

USUAL = LexicalLabeller(letters=50, min_sentences=2, spread=0.5, breadth=1.0, reference=1000)
TOPICS = {
    "battery": ["battery", "charge", "drains", "lasted"],
    "sound": ["sound", "loud", "bass", "muffled"],
    "box": ["box", "torn", "parcel", "carton"],
}
FOUND = [Descriptor(name, (name,), 9) for name in TOPICS]
ABSENT = [Descriptor(name, (f"absent{name}",), 9) for name in TOPICS]


def table(texts: Sequence[str], per_review: int = 2) -> pd.DataFrame:
    return pd.DataFrame({"review_id": [f"r{row // per_review}" for row in range(len(texts))], "text": list(texts)})


def corpus(seed: int, count: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Sentences of two words of one topic among words of none, and their topics."""
    rng = np.random.default_rng(seed)
    topic = rng.integers(len(TOPICS), size=count)
    words = list(TOPICS.values())
    plain = [f"plain{number}" for number in range(12)]
    texts = [
        " ".join([*rng.choice(words[kind], 2, replace=False), *rng.choice(plain, 4), f"once{seed}x{row}"])
        for row, kind in enumerate(topic)
    ]
    return table(texts), topic


def proposed(topic: np.ndarray, descriptors: Sequence[Descriptor], rows: Sequence[int] | None = None) -> pd.DataFrame:
    """Links of `rows` (default: all) to the descriptor of their topic."""
    named = list(range(len(topic))) if rows is None else list(rows)
    members = [descriptors[topic[row]].members[0] for row in named]
    return build_candidate_table(named, members, [1.0] * len(named), [0] * len(named), "llm")


def digest(found: Sequence[Labels]) -> str:
    content = b"".join(one.labels.tobytes() + one.scores.tobytes() for one in found)
    return hashlib.blake2b(content).hexdigest()


def test_descriptors_are_found_by_their_words_on_sentences_never_seen() -> None:
    (calibration, topic), (unseen, truth) = corpus(1, 240), corpus(2, 100)
    some = list(range(0, 240, 4))
    found = USUAL.label(calibration, [unseen, unseen.head(0)], proposed(topic, ABSENT, some), ABSENT).tables
    for labels, expected in zip(found, (topic, truth), strict=False):
        assert labels.labels.dtype == np.int8
        assert labels.scores.dtype == np.float32
        assert labels.labels.shape == labels.scores.shape == (len(expected), 3)
        assert np.isfinite(labels.scores).all()
        assert (labels.scores.argmax(axis=1) == expected).mean() > 0.97
        assert set(np.unique(labels.labels)) == {0, 1}
    assert found[2].labels.shape == (0, 3)
    given = found[0].labels.sum(axis=0)
    wins = np.bincount(found[0].scores.argmax(axis=1), minlength=3)
    np.testing.assert_array_equal(given, wins)
    (alone,) = USUAL.label(calibration, [], proposed(topic, ABSENT, some), ABSENT).tables
    assert digest([alone]) == digest(found[:1])


def test_breadth_scales_how_many_sentences_are_labelled() -> None:
    calibration, topic = corpus(1, 240)
    half = LexicalLabeller(letters=50, min_sentences=2, spread=0.5, breadth=0.5, reference=1000)
    (labels,) = half.label(calibration, [], proposed(topic, FOUND), FOUND).tables
    assert labels.labels.sum() == pytest.approx(120, abs=3)


def test_members_alone_teach_words_that_no_proposing_sentence_has() -> None:
    texts = ["plain refund here", "plain money here", "plain sound here", "plain loud here"] * 6
    found = [Descriptor("refund", ("refund", "money"), 3), Descriptor("sound", ("sound", "loud"), 3)]
    links = build_candidate_table([0, 2], ["refund", "sound"], [1.0] * 2, [0] * 2, "llm")
    labels = USUAL.label(table(texts), [table(["money", "loud"])], links, found).tables[1]
    np.testing.assert_array_equal(labels.labels, [[1, 0], [0, 1]])


def test_unlinked_sentences_spread_what_is_known_to_the_words_beside() -> None:
    texts = ["refund money", "sound loud", "money dollars", "loud noise", "dollars", "noise"]
    words = sorted({word for text in texts for word in text.split()})
    counts = csr_matrix([[text.split().count(word) for word in words] for text in texts], dtype=np.float32)
    linked = csr_matrix(np.array([[1, 0], [0, 1], [0, 0], [0, 0], [0, 0], [0, 0]], dtype=np.float64))
    members = csr_matrix((2, len(words)), dtype=np.float32)
    narrow = weigh_words(counts, linked, members, 0.0)
    wide = weigh_words(counts, linked, members, 0.5)
    assert narrow.dtype == np.float32
    assert narrow.shape == (len(words), 2)
    assert narrow[words.index("dollars")].tolist() == [0, 0]
    assert wide[words.index("dollars"), 0] > 0 > wide[words.index("dollars"), 1]
    assert narrow[words.index("refund"), 0] > 0 > narrow[words.index("refund"), 1]


def test_a_sentence_is_scored_without_its_own_links() -> None:
    texts = [
        " ".join(np.random.default_rng(row).choice(200, 8).astype(str)) + f" own{row} own{row}" for row in range(600)
    ]
    calibration = table([f"w{text.replace(' ', ' w')}" for text in texts])
    topic = np.random.default_rng(5).integers(3, size=600)
    memorising = LexicalLabeller(letters=50, min_sentences=1, spread=0.0, breadth=1.0, reference=1000)
    learnt, seen = memorising.label(calibration, [calibration], proposed(topic, ABSENT), ABSENT).tables
    own = np.eye(3)[topic] == 1
    assert (seen.scores.argmax(axis=1) == topic).mean() > 0.9
    assert abs(np.corrcoef(learnt.scores.ravel(), own.ravel())[0, 1]) < 0.07
    assert (learnt.scores.argmax(axis=1) == topic).mean() < 0.42


def test_folds_keep_reviews_whole_even_and_independent_of_the_order_of_rows() -> None:
    reviews = np.array([f"r{row // 3}" for row in range(90)])
    found = assign_folds(reviews, 5)
    assert all(len(set(found[reviews == review])) == 1 for review in reviews)
    np.testing.assert_array_equal(np.bincount(found), [18] * 5)
    order = np.random.default_rng(0).permutation(90)
    np.testing.assert_array_equal(assign_folds(reviews[order], 5), found[order])


def test_a_descriptor_that_nothing_proposed_gets_the_lowest_score_and_no_label() -> None:
    calibration, topic = corpus(1, 120)
    descriptors = [Descriptor("plain0", ("plain0", "bass"), 9), *FOUND]
    links = proposed(topic + 1, descriptors)
    for labels in USUAL.label(calibration, [corpus(2, 40)[0]], links, descriptors).tables:
        assert not labels.labels[:, 0].any()
        assert (labels.scores[:, 0] == LOWEST).all()
        assert labels.scores[:, 1:].min() > LOWEST
    without = USUAL.label(calibration, [], proposed(topic, FOUND), FOUND).tables[0]
    np.testing.assert_array_equal(labels_of(calibration, links, descriptors)[:, 1:], without.labels)


def labels_of(calibration: pd.DataFrame, links: pd.DataFrame, descriptors: Sequence[Descriptor]) -> np.ndarray:
    return USUAL.label(calibration, [], links, descriptors).tables[0].labels


def test_without_a_known_word_there_is_no_label() -> None:
    calibration, topic = corpus(1, 120)
    calibration.loc[7, "text"] = "unheard of"
    strange = table(["quite unheard of", "1 2 3", "", "loud bass"])
    learnt, unseen = USUAL.label(calibration, [strange], proposed(topic, FOUND), FOUND).tables
    assert not learnt.labels[7].any()
    assert unseen.labels.sum(axis=1).tolist() == [0, 0, 0, 1]
    assert np.isfinite(unseen.scores).all()


def test_the_order_of_rows_changes_no_sentence() -> None:
    calibration, topic = corpus(3, 150)
    links = proposed(topic, FOUND, range(0, 150, 2))
    for reference in (1000, 60):
        labeller = LexicalLabeller(letters=4, min_sentences=2, spread=0.9, breadth=1.0, reference=reference)
        (here,) = labeller.label(calibration, [], links, FOUND).tables
        order = np.random.default_rng(1).permutation(150)
        moved = links.assign(row=np.argsort(order)[links["row"]])
        (there,) = labeller.label(calibration.iloc[order].reset_index(drop=True), [], moved, FOUND).tables
        assert digest([there]) == digest([Labels(here.labels[order], here.scores[order])])


@pytest.mark.parametrize("chunk", [1, 7])
def test_chunks_change_nothing(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calibration, topic = corpus(4, 60)
    before = digest(USUAL.label(calibration, [calibration], proposed(topic, FOUND), FOUND).tables)
    monkeypatch.setattr(lexical, "CHUNK", chunk)
    assert digest(USUAL.label(calibration, [calibration], proposed(topic, FOUND), FOUND).tables) == before


def test_letters_join_the_forms_of_a_word() -> None:
    texts = ["delivered plain", "delivered here", "sounds plain", "sounds here"] * 6
    found = [Descriptor("delivery", ("shipping",), 3), Descriptor("sound", ("audio",), 3)]
    links = proposed(np.array([0, 0, 1, 1] * 6), [Descriptor(d.name, d.members, 3) for d in found])
    for letters, known in ((5, 1), (50, 0)):
        labeller = LexicalLabeller(letters=letters, min_sentences=2, spread=0.0, breadth=1.0, reference=1000)
        labels = labeller.label(table(texts), [table(["delivery"])], links, found).tables[1]
        np.testing.assert_array_equal(labels.labels, [[known, 0]])


def test_nothing_to_learn_from_is_said() -> None:
    calibration, topic = corpus(1, 30)
    with pytest.raises(InputError, match="proposed any descriptor"):
        USUAL.label(calibration, [], proposed(topic, FOUND).head(0), FOUND)
    for few in (table(["battery", "sound"]), table(["battery battery"])):
        with pytest.raises(InputError, match="min_sentences"):
            USUAL.label(few, [], proposed(np.zeros(len(few), dtype=int), FOUND), FOUND)


def described() -> str:
    """Labels of real sentences, each proposing the first topic word that it holds."""
    reviews = read_reviews(
        str(ROOT / "data/reviews.jsonl"), text_field="text", id_field="review_id", product_field="product", limit=None
    )
    sentences = build_sentence_table(reviews, key="descry", validation=0.5).sentences
    calibration, validation = sentences["calibration"], sentences["validation"]
    topics = {"battery": ("battery", "charge"), "box": ("box", "cardboard"), "price": ("price", "cheap", "money")}
    descriptors = [Descriptor(name, members, 9) for name, members in topics.items()]
    named = [
        (row, word)
        for row, text in enumerate(calibration["text"].str.lower().str.split())
        for word in sum(topics.values(), ())
        if word in text
    ]
    rows, words = zip(*named, strict=True)
    links = build_candidate_table(rows, words, [1.0] * len(rows), [0] * len(rows), "words")
    labeller = LexicalLabeller(letters=5, min_sentences=2, spread=0.9, breadth=1.0, reference=1500)
    found = labeller.label(calibration, [validation], links, descriptors).tables
    held = [validation["text"].str.lower().str.contains(rf"\b(?:{'|'.join(words)})\b") for words in topics.values()]
    first = found[1].scores.argmax(axis=1)
    return repr((digest(found), [round(float((first[one] == column).mean()), 2) for column, one in enumerate(held)]))


def test_real_sentences_give_the_same_bytes_in_another_process() -> None:
    here = described()
    assert min(ast.literal_eval(here)[1]) >= 0.8
    there = subprocess.run(
        [sys.executable, "-c", "from tests.labelling.test_lexical import described; print(described())"],
        env={**os.environ, "PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert there.stdout.strip() == here
