"""The distilled labeller: what a linear model learns of a teacher, and how its agreement is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from descry.embedding.vectors import scale_to_unit
from descry.labelling.distil import Distiller, find_rate_threshold, measure_teacher_agreement
from descry.labelling.labels import LOWEST, Labels
from descry.vocabulary.descriptors import Descriptor

NAMES = ["left", "up", "never"]
DESCRIPTORS = [Descriptor(name, (name,), 1) for name in NAMES]
NO_CANDIDATES = pd.DataFrame()
WIDTH = 6


class Space:
    """An encoder whose texts are their own coordinates."""

    def encode(self, texts: Sequence[str], description: str = "") -> np.ndarray:
        return np.array([[float(x) for x in text.split()] for text in texts], dtype=np.float32).reshape(-1, WIDTH)

    def words(self) -> list[str]:
        return []


@dataclass
class Oracle:
    """A teacher that reads two coordinates of the direction, forgets some sentences, and counts what it is asked."""

    forgets: float = 0.0
    asked: list[str] = field(default_factory=list)

    def label(self, sentences: Sequence[str], names: Sequence[str]) -> Labels:
        self.asked += sentences
        places = scale_to_unit(Space().encode(sentences))
        labels = np.column_stack([places[:, 0] < -0.3, places[:, 1] > 0.4, np.zeros(len(places))]).astype(np.int8)
        labels[np.random.default_rng(3).random(len(labels)) < self.forgets] = -1
        return Labels(labels, np.maximum(labels, 0).astype(np.float32))


def corpus(count: int, seed: int) -> pd.DataFrame:
    points = np.random.default_rng(seed).normal(size=(count, WIDTH))
    texts = [" ".join(f"{x:.4f}" for x in point) for point in points]
    return pd.DataFrame({"review_id": [f"{seed}-{row // 4}" for row in range(count)], "text": texts})


@pytest.mark.parametrize("forgets", [0.0, 0.2])
def test_the_student_learns_the_teacher_at_the_cost_of_the_sample(forgets: float) -> None:
    teacher = Oracle(forgets)
    calibration, validation = corpus(2000, 1), corpus(1500, 2)
    found = Distiller(teacher, Space(), 600, 0).label(calibration, [validation], NO_CANDIDATES, DESCRIPTORS)
    (learnt, unseen), agreed = found.tables, found.taught
    assert agreed is not None
    assert len(teacher.asked) == 600
    truth = Oracle().label(validation["text"].tolist(), NAMES).labels
    for column in (0, 1):
        assert f1_score(truth[:, column], unseen.labels[:, column]) > 0.9
        assert agreed["f1"][column] > 0.85
        assert agreed["f1"][column] > 2 * agreed["chance"][column]
    assert not unseen.labels[:, 2].any()
    assert (unseen.scores[:, 2] == LOWEST).all()
    assert list(agreed["descriptor"]) == NAMES
    assert agreed["positives"][2] == agreed["f1"][2] == 0
    assert learnt.labels.min() == 0  # what the teacher forgot is the student's
    kept = [calibration["text"].tolist().index(text) for text in teacher.asked]
    taught = Oracle(forgets).label(teacher.asked, NAMES).labels
    np.testing.assert_array_equal(learnt.labels[kept][taught >= 0], taught[taught >= 0])


def test_the_agreement_is_of_sentences_that_neither_models_nor_thresholds_saw() -> None:
    """A teacher that flips coins by review is learnt by nobody: agreement is chance, though training would fit it."""

    class Coins(Oracle):
        def label(self, sentences: Sequence[str], names: Sequence[str]) -> Labels:
            coins = np.random.default_rng(5).random((len(sentences), len(names))) < 0.3
            return Labels(coins.astype(np.int8), coins.astype(np.float32))

    agreed = Distiller(Coins(), Space(), 2000, 0).label(corpus(2000, 1), [], NO_CANDIDATES, DESCRIPTORS).taught
    assert agreed is not None
    np.testing.assert_allclose(agreed["f1"], agreed["chance"], atol=0.06)
    assert (agreed["sentences"] > 800).all()
    assert (agreed["sentences"] < 1200).all()


def test_the_sample_is_seeded_and_hardly_moves_when_reviews_join() -> None:
    calibration, more = corpus(2000, 1), corpus(200, 9)
    asked = {}
    for name, table, seed in (
        ("one", calibration, 0),
        ("same", calibration.iloc[::-1].reset_index(drop=True), 0),
        ("grown", pd.concat([calibration, more], ignore_index=True), 0),
        ("other", calibration, 1),
    ):
        teacher = Oracle()
        Distiller(teacher, Space(), 400, seed).label(table, [], NO_CANDIDATES, DESCRIPTORS)
        asked[name] = set(teacher.asked)
    assert asked["one"] == asked["same"]
    assert len(asked["one"] - asked["grown"]) < 60
    assert len(asked["one"] & asked["other"]) < 160


def test_agreement_equals_scikit_learns_f1_and_its_chance_that_of_shuffled_labels() -> None:
    generator = np.random.default_rng(0)
    teacher = (generator.random((300, 2)) < [0.3, 0.1]).astype(np.int8)
    student = np.where(generator.random(teacher.shape) < 0.8, teacher, 1 - teacher).astype(np.int8)
    found = measure_teacher_agreement(["a", "b"], teacher, student)
    shuffled = [[f1_score(teacher[:, c], generator.permutation(student[:, c])) for c in (0, 1)] for _ in range(2000)]
    for column in (0, 1):
        assert found["f1"][column] == pytest.approx(f1_score(teacher[:, column], student[:, column]))
    np.testing.assert_allclose(found["chance"], np.mean(shuffled, axis=0), atol=0.005)
    missing = teacher.copy()
    missing[:100] = -1
    rest = measure_teacher_agreement(["a", "b"], teacher[100:], student[100:])
    pd.testing.assert_frame_equal(measure_teacher_agreement(["a", "b"], missing, student), rest)


def test_thresholds_give_as_many_as_the_teacher_gave() -> None:
    scores = np.array([0.1, 0.9, 0.5, 0.7])
    assert find_rate_threshold(scores, np.array([True, False, False, True])) == 0.7
    assert find_rate_threshold(scores, np.zeros(4, dtype=bool)) == np.inf
    assert find_rate_threshold(np.full(4, LOWEST), np.array([True, False, False, False])) == np.inf


def test_a_descriptor_that_one_review_alone_has_labels_no_multitude() -> None:
    class Once(Oracle):
        def label(self, sentences: Sequence[str], names: Sequence[str]) -> Labels:
            labels = np.zeros((len(sentences), len(names)), dtype=np.int8)
            labels[0, 0] = 1
            return Labels(labels, labels.astype(np.float32))

    rare = [Descriptor("rare", ("rare",), 1)]
    (learnt,) = Distiller(Once(), Space(), 400, 0).label(corpus(400, 1), [], NO_CANDIDATES, rare).tables
    assert learnt.labels.sum() < 20
