"""How well texts fit sentences by likelihood: what is usual for a text or a sentence does not count."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import zscore

from descry.errors import InputError
from descry.judging.fit import DIGITS, bin_lengths
from descry.judging.judge import judge, summarise
from descry.judging.likelihood import LikelihoodFitter
from descry.judging.scores import subtract_length
from descry.llm.cache import AnswerCache
from descry.llm.client import Answer, Failure, Request
from descry.llm.prompts import Prompt
from tests.judging.test_judge import build_world, describe, list_units

PROMPT = Prompt("What it is about.\n\nSentence: {sentence}\nTopic: {descriptor}")


class Reader:
    """Finds a text as much likelier behind a sentence as they share words; its likelihood also hangs on the text's
    length, and on the sentence as a whole. It cannot read what is "unreadable"."""

    name, parallel = "reader", 1
    identity: Mapping[str, Any] = {"client": "reader"}

    def __init__(self) -> None:
        self.asked = 0

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        return [list(range(len(requests)))]

    def answer(self, requests: Sequence[Request]) -> list[Answer | Failure]:
        self.asked += len(requests)
        return [self._read(request) for request in requests]

    def _read(self, request: Request) -> Answer | Failure:
        sentence = request.prompt.split("Sentence: ")[-1].splitlines()[0]
        if "unreadable" in sentence:
            return Failure("too long")
        return Answer("", tuple(float(np.exp(like(choice, sentence))) for choice in request.choices))


def like(text: str, sentence: str) -> float:
    shared = len({*text.split()} & {*sentence.split()})
    return 2.0 * shared - 0.5 * len(text.split()) - 3.0 * (sum(map(ord, sentence)) % 7) - 5.0


def test_a_fit_is_what_is_unusual_for_text_and_sentence(tmp_path: Path) -> None:
    sentences = [f"a{row % 5} b{row % 3} and c{row}" for row in range(40)]
    texts = ["a1", "b2", "a3\nb0 c4", "a1", "nothing here"]
    fitter = LikelihoodFitter(Reader(), AnswerCache(tmp_path), PROMPT, sentences, texts)
    flat = ["a1", "b2", "a3 b0 c4", "nothing here"]
    unusual = zscore([[like(text, sentence) for sentence in sentences] for text in flat], axis=1)
    expected = subtract_length(unusual - unusual.mean(axis=0), bin_lengths(sentences))
    found = fitter.fit(["a1", "b2", "a3\nb0 c4", "nothing here"])
    np.testing.assert_allclose(found, expected, atol=2 * 10.0**-DIGITS)
    np.testing.assert_array_equal(fitter.fit(["b2"]), found[1:2])


def test_planted_units_are_told_and_dealt_ones_are_not(tmp_path: Path) -> None:
    world, reader = build_world(3), Reader()
    by = partial(LikelihoodFitter, reader, AnswerCache(tmp_path), PROMPT)
    told = summarise(judge(describe(list_units(world), [f"w{unit}" for unit in world.index]), world, by))
    assert told["first_of_100"] > 0.95
    assert told["auroc"]["lift"] > 0.4
    asked = reader.asked
    judge(describe(list_units(world), [f"w{unit}" for unit in world.index]), world, by)
    assert reader.asked == asked
    dealt = [f"w{unit}" for unit in np.random.default_rng(0).permutation(world.index)]
    chance = summarise(judge(describe(list_units(world), dealt), world, by))
    assert chance["auroc"]["low"] < 0.02
    assert chance["first_of_100"] < 0.05


def test_a_sentence_that_cannot_be_read_tells_nothing(tmp_path: Path) -> None:
    sentences = ["w1 w2", "w2 w3", "unreadable", "w1 w3", "w3 w3"]
    fit = LikelihoodFitter(Reader(), AnswerCache(tmp_path / "some"), PROMPT, sentences, ["w1", "w2"])
    rest = LikelihoodFitter(
        Reader(),
        AnswerCache(tmp_path / "rest"),
        PROMPT,
        [text for text in sentences if text != "unreadable"],
        ["w1", "w2"],
    )
    assert fit._fits["w1"][2] == 0
    np.testing.assert_allclose(np.delete(fit._fits["w1"], 2), rest._fits["w1"], rtol=1e-6)
    with pytest.raises(InputError, match="reader cannot read the sentences: they are too long"):
        LikelihoodFitter(Reader(), AnswerCache(tmp_path / "none"), PROMPT, ["unreadable"] * 3, ["w1"])
