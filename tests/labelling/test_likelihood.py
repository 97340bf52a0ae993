"""Labels by the likelihood of names: what is usual for a name does not count, and only calibration decides."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from descry.errors import InputError
from descry.labelling.distil import Distiller
from descry.labelling.likelihood import (
    LIKELIHOOD_FIELDS,
    LikelihoodLabeller,
    LikelihoodScorer,
    LikelihoodTeacher,
    split_prompt,
)
from descry.llm.cache import AnswerCache
from descry.llm.client import Answer, Failure, Request
from descry.llm.prompts import Prompt
from descry.vocabulary.descriptors import Descriptor
from tests.conftest import ROOT

PROMPT = Prompt("What it is about.\n\nSentence: {sentence}\nTopic: {descriptor}")
NAMES = ["battery", "sound", "box"]
USUAL = {"battery": 1e-2, "sound": 1e-6, "box": 1e-4}
"""How likely a name is behind any sentence; eight times more behind one that has it as a word."""


class Knows:
    """A client that finds a name likelier where the sentence has it, and cannot read a sentence of "unreadable"."""

    name, parallel = "knows", 1
    identity: Mapping[str, Any] = {"client": "knows"}

    def __init__(self) -> None:
        self.seen: list[Request] = []

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        return [list(range(len(requests)))]

    def answer(self, requests: Sequence[Request]) -> list[Answer | Failure]:
        self.seen += requests
        return [self._read(request) for request in requests]

    def _read(self, request: Request) -> Answer | Failure:
        sentence = request.prompt.split("Sentence: ")[-1]
        if "unreadable" in sentence:
            return Failure("too long")
        names = [choice.strip() for choice in request.choices]
        return Answer("", tuple(USUAL[name] * (8 if name in sentence.split() else 1) for name in names))


def scorer(folder: Path, client: Knows | None = None, max_missing: float = 0.5) -> LikelihoodScorer:
    return LikelihoodScorer(client or Knows(), AnswerCache(folder), PROMPT, 1.0, max_missing)


def test_what_is_usual_for_a_name_does_not_count(tmp_path: Path) -> None:
    texts = ["the battery died", "the sound is bad", "a torn box", "good sound", "box and all"]
    (labels,) = scorer(tmp_path).label([texts], NAMES)
    wanted = [[name in text.split() for name in NAMES] for text in texts]
    np.testing.assert_array_equal(labels.labels, wanted)
    np.testing.assert_allclose(np.exp(labels.scores).sum(axis=1), 1, rtol=1e-5)


def test_labels_depend_on_calibration_and_their_own_sentence_alone(tmp_path: Path) -> None:
    calibration = ["the battery died", "the sound is bad", "a torn box"]
    other = ["box", "battery", "battery", "battery"]
    first, second = scorer(tmp_path).label([calibration, other], NAMES)
    (alone,) = scorer(tmp_path).label([calibration], NAMES)
    np.testing.assert_array_equal(first.scores, alone.scores)
    np.testing.assert_array_equal(second.labels, [[0, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]])
    _, changed = scorer(tmp_path).label([calibration, [*other[:1], "sound"]], NAMES)
    np.testing.assert_array_equal(changed.scores[0], second.scores[0])


def test_an_unreadable_sentence_is_missing_and_changes_no_other(tmp_path: Path) -> None:
    texts = ["the battery died", "unreadable", "the sound is bad", "a torn box"]
    (labels,) = scorer(tmp_path).label([texts], NAMES)
    (without,) = scorer(tmp_path).label([texts[:1] + texts[2:]], NAMES)
    assert (labels.labels[1] == -1).all()
    assert (labels.scores[1] == 0).all()
    np.testing.assert_array_equal(np.delete(labels.labels, 1, axis=0), without.labels)
    np.testing.assert_array_equal(np.delete(labels.scores, 1, axis=0), without.scores)


@pytest.mark.parametrize("texts", [["unreadable", "battery", "sound", "box"], ["unreadable"]])
def test_too_many_unreadable_sentences_end_the_stage(tmp_path: Path, texts: list[str]) -> None:
    with pytest.raises(InputError, match=r"label: knows cannot read .* of the sentences, above label.max_missing"):
        scorer(tmp_path, max_missing=0.1).label([texts], NAMES)


def test_prompts_begin_alike_and_every_name_ends_its_line(tmp_path: Path) -> None:
    client = Knows()
    scorer(tmp_path, client).label([["one  sentence", "another"]], NAMES)
    assert [request.prompt for request in client.seen] == [
        "What it is about.\n\nSentence: one sentence\nTopic:",
        "What it is about.\n\nSentence: another\nTopic:",
    ]
    assert client.seen[0].choices == (" battery\n", " sound\n", " box\n")


def test_the_labeller_labels_every_table(tmp_path: Path) -> None:
    tables = [
        pd.DataFrame({"review_id": ["a", "b"], "text": texts}) for texts in (["battery", "box"], ["sound", "box"])
    ]
    descriptors = [Descriptor(name, (name,), 9) for name in NAMES]
    labelled = LikelihoodLabeller(scorer(tmp_path)).label(tables[0], tables[1:], pd.DataFrame(), descriptors)
    assert [table.labels.tolist() for table in labelled.tables] == [[[1, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 0, 1]]]


class Words:
    """An encoder: one dimension for each name."""

    def encode(self, texts: Sequence[str], description: str = "") -> np.ndarray:
        return np.array([[float(name in text.split()) + 0.1 for name in NAMES] for text in texts], dtype=np.float32)

    def words(self) -> list[str]:
        return NAMES


def test_it_teaches_a_student(tmp_path: Path) -> None:
    texts = [f"{NAMES[row % 3]} number {row}" for row in range(60)]
    table = pd.DataFrame({"review_id": [f"r{row}" for row in range(60)], "text": texts})
    student = Distiller(LikelihoodTeacher(scorer(tmp_path)), Words(), 30, 0)
    descriptors = [Descriptor(name, (name,), 9) for name in NAMES]
    labelled = student.label(table, [table], pd.DataFrame(), descriptors)
    np.testing.assert_array_equal(labelled.tables[1].labels.argmax(axis=1), np.arange(60) % 3)
    assert labelled.taught is not None
    assert labelled.taught["f1"].min() > 0.9


def test_the_prompt_of_the_project_can_be_split() -> None:
    text = (ROOT / "prompts/label_likelihood.txt").read_text(encoding="utf-8")
    before, between, blank = split_prompt(Prompt.parse(text, LIKELIHOOD_FIELDS, "it"))
    assert before.endswith("Sentence: ")
    assert (between, blank) == ("\nTopic:", " ")


@pytest.mark.parametrize(
    "text",
    [
        "{descriptor}: {sentence}",
        "{sentence}: {descriptor}.",
        "{sentence} {sentence} {descriptor}",
        "{descriptor} {sentence} {descriptor}",
        "{sentence} {descriptor} {descriptor}",
    ],
)
def test_a_prompt_that_does_not_end_in_the_descriptor(text: str) -> None:
    with pytest.raises(InputError, match=r"prompts/label_likelihood\.txt: \{descriptor\}, whose likelihood"):
        split_prompt(Prompt(text))
