"""The embedding labeller: its parts against loops, and the whole on the embedded model."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from descry.embedding.encoder import SentenceEncoder
from descry.embedding.vectors import scale_to_unit
from descry.labelling import embedding
from descry.labelling.embedding import (
    EmbeddingLabeller,
    average_labelled,
    average_links,
    log_posteriors,
    refine_prototypes,
    smooth_vectors,
)
from descry.labelling.labels import find_cuts
from descry.vocabulary.candidates import build_candidate_table
from descry.vocabulary.clustering import ClusterOptions, cluster_candidates
from descry.vocabulary.descriptors import Descriptor
from descry.vocabulary.retrieval import Retrieval
from tests.conftest import ROOT

FOUND = [Descriptor("battery", ("battery", "charge"), 3), Descriptor("sound", ("sound",), 2)]
USUAL: dict[str, Any] = {
    "share": 0.5,
    "neighbours": 2,
    "rounds": 3,
    "pull": 3.0,
    "sharpness": 8.0,
    "literal": 3.0,
    "breadth": 1.0,
    "reference": 1000,
}


class Toy:
    """An encoder of word counts over four words, and a constant."""

    def encode(self, texts: Sequence[str], description: str = "") -> np.ndarray:
        words = ("battery", "charge", "sound", "box")
        counts = [[0.2, *(text.lower().split().count(word) for word in words)] for text in texts]
        return scale_to_unit(np.array(counts, dtype=np.float32).reshape(len(texts), 5)).astype(np.float32)

    def words(self) -> list[str]:
        return []


def rows(seed: int, count: int, width: int = 4) -> np.ndarray:
    return scale_to_unit(np.random.default_rng(seed).normal(size=(count, width)))


@pytest.mark.parametrize("chunk", [1, 4, 100])
def test_a_smoothed_vector_equals_a_loop_in_any_chunks(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "CHUNK", chunk)
    vectors = rows(1, 9)
    itself = np.array([0, 1, 2, 3, 4, 5, -1, -1, -1])
    found = smooth_vectors(vectors, vectors[:6], 3, itself)
    for row in range(9):
        others = sorted((other for other in range(6) if other != row), key=lambda o: -(vectors[row] @ vectors[o]))[:3]
        mean = sum(max(vectors[row] @ vectors[other], 0) ** 2 * vectors[other] for other in others)
        expected = vectors[row] + mean / max(np.linalg.norm(mean), 1e-12)
        np.testing.assert_allclose(found[row], expected / np.linalg.norm(expected))


def test_smoothing_without_neighbours_changes_nothing() -> None:
    vectors = rows(2, 5)
    assert smooth_vectors(vectors, vectors, 0) is vectors
    assert smooth_vectors(vectors[:1], vectors[:1], 7) is not None
    np.testing.assert_allclose(np.linalg.norm(smooth_vectors(vectors, vectors, 99), axis=1), 1.0)


def test_links_lead_from_sentences_to_descriptors_through_members() -> None:
    table = build_candidate_table([0, 0, 2, 3], ["charge", "box", "Sound ", "battery"], [1.0] * 4, [0, 1, 1, 2], "llm")
    means = average_links(np.eye(4), table, [*FOUND, Descriptor("none", ("none",), 1)])
    np.testing.assert_allclose(means[0], np.array([3, 0, 0, 1]) / np.sqrt(10))
    assert means[1].tolist() == [0, 0, 1, 0]
    assert means[2].tolist() == [0, 0, 0, 0]


def test_prototypes_equal_a_loop_and_stay_at_the_anchor_without_pull() -> None:
    vectors, anchors = rows(3, 25), rows(4, 3)
    expected = anchors.copy()
    for _ in range(2):
        nearest = [max(range(3), key=lambda column: vector @ expected[column]) for vector in vectors]
        for column in range(3):
            mean = sum((v for v, own in zip(vectors, nearest, strict=True) if own == column), np.zeros(4))
            length = np.linalg.norm(mean)
            moved = anchors[column] + (1.5 * mean / length if length else 0)
            expected[column] = moved / np.linalg.norm(moved)
    np.testing.assert_allclose(refine_prototypes(vectors, anchors, rounds=2, pull=1.5), expected)
    np.testing.assert_allclose(refine_prototypes(vectors, anchors, rounds=3, pull=0.0), anchors)


def test_labelled_vectors_are_averaged_and_others_left() -> None:
    vectors, before = rows(8, 6), rows(9, 3)
    labels = np.array([[1, 0, -1], [1, 1, 0], [0, 0, 0], [0, 1, -1], [0, 1, 0], [-1, 0, 0]], np.int8)
    found = average_labelled(vectors, labels, before)
    for column, own in enumerate(([0, 1], [1, 3, 4])):
        mean = sum(vectors[row] for row in own)
        np.testing.assert_allclose(found[column], mean / np.linalg.norm(mean))
    np.testing.assert_array_equal(found[2], before[2])


def test_scores_are_logarithms_of_shares_and_keep_the_winner() -> None:
    vectors, found = rows(5, 30), rows(6, 4)
    scores = log_posteriors(vectors, found, 8.0)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(scores.argmax(axis=1), (vectors @ found.T).argmax(axis=1))


@pytest.mark.parametrize("breadth", [0.5, 1.0, 2.0])
def test_as_many_sentences_pass_as_a_descriptor_wins_times_the_breadth(breadth: float) -> None:
    scores = np.random.default_rng(7).normal(size=(200, 5)).astype(np.float32)
    scores[:, 4] = -9.0  # wins nothing
    passed = (scores >= find_cuts(scores, breadth)).sum(axis=0)
    wins = np.bincount(scores.argmax(axis=1), minlength=5)
    np.testing.assert_array_equal(passed, np.rint(wins * breadth))
    assert passed[4] == 0


def test_sentences_may_be_counted_by_other_scores() -> None:
    generator = np.random.default_rng(8)
    scores, by = (generator.normal(size=(200, 5)).astype(np.float32) for _ in range(2))
    passed = (scores >= find_cuts(scores, 1.0, by)).sum(axis=0)
    np.testing.assert_array_equal(passed, np.bincount(by.argmax(axis=1), minlength=5))


def sentences(words: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({"review_id": [f"r{row}" for row in range(len(words))], "text": list(words)})


def test_the_labeller_finds_what_candidates_name_and_learns_from_calibration_alone() -> None:
    words = ["the battery", "the sound", "a charge", "the sound", "battery charge"] * 6
    calibration = sentences(words)
    named = list(range(len(words)))
    table = build_candidate_table(
        named, [text.split()[1] for text in words], [1.0] * len(words), [0] * len(words), "llm"
    )
    labeller = EmbeddingLabeller(Toy(), **USUAL)
    learnt, unseen = labeller.label(calibration, [sentences(["charge", "sound"])], table, FOUND).tables
    assert learnt.labels.dtype == np.int8
    assert learnt.scores.dtype == np.float32
    expected = np.array([["sound" not in text, "sound" in text] for text in words])
    np.testing.assert_array_equal(learnt.labels == 1, expected)
    np.testing.assert_array_equal(unseen.labels, [[1, 0], [0, 1]])
    (alone,) = labeller.label(calibration, [], table, FOUND).tables
    np.testing.assert_array_equal(alone.scores, learnt.scores)


def test_a_descriptor_whose_name_stands_in_the_sentence_scores_higher() -> None:
    words = ["the battery", "the sound", "a charge", "the sound", "battery charge"] * 6
    named = list(range(len(words)))
    table = build_candidate_table(
        named, [text.split()[1] for text in words], [1.0] * len(words), [0] * len(words), "llm"
    )
    both = sentences(["battery box", "sound box", "box box"])
    by_literal = {
        literal: EmbeddingLabeller(Toy(), **USUAL | {"literal": literal}).label(sentences(words), [both], table, FOUND)
        for literal in (0.0, 3.0)
    }
    gains = by_literal[3.0].tables[1].scores - by_literal[0.0].tables[1].scores
    # All sentences labelled with sound hold it; two thirds of those with battery hold battery, two thirds charge.
    np.testing.assert_allclose(gains, [[2, 0], [0, 3], [0, 0]], atol=1e-5)


def described(model: Path) -> str:
    """Everything that the embedding-based steps make of a small corpus, as text."""
    about = [
        "The battery died after {} hours.",
        "It arrived in a torn box, parcel {}.",
        "Far too loud at night, {} times.",
        "I paid {} dollars, too much money.",
        "The instructions have {} pages that I cannot read.",
    ]
    texts = [sentence.format(number) for number in range(2, 12) for sentence in about]
    table = pd.DataFrame({"review_id": [f"r{row // 3}" for row in range(len(texts))], "text": texts})
    embedder, template = SentenceEncoder(model), "The {} is great."
    generator = Retrieval(
        embedder,
        share=0.5,
        per_sentence=3,
        words=6000,
        pairs=10,
        min_reviews=2,
        sample=99,
        template=template,
        proper_names=False,
    )
    candidates = generator.propose(table).candidates
    options = ClusterOptions(
        threshold=0.6,
        min_sentences=4,
        stability=0.0,
        max_descriptors=60,
        company=1.0,
        points=500,
        template=template,
    )
    found = cluster_candidates(candidates, embedder, options)
    labels = EmbeddingLabeller(embedder, **USUAL).label(table, [table.head(9)], candidates, found).tables
    return repr((found, [(one.labels.tobytes().hex(), one.scores.tobytes().hex()) for one in labels]))


def test_the_embedded_model_names_what_is_there_and_gives_the_same_bytes_in_another_process(
    embedded_model: Path,
) -> None:
    here = described(embedded_model)
    for words in (("battery",), ("box", "parcel"), ("loud",), ("dollars", "money", "paid")):
        assert any(f"'{word}'" in here for word in words)
    command = "import sys; from tests.labelling.test_labels import *; print(described(Path(sys.argv[1])))"
    there = subprocess.run(
        [sys.executable, "-c", command, str(embedded_model)],
        env={**os.environ, "PYTHONHASHSEED": "1"},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert there.stdout.strip() == here
