"""Ranking by likelihood: against the definition written out, with likelihoods made up."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from descry.corpus.sampling import sample_sentences
from descry.errors import InputError
from descry.llm.cache import AnswerCache
from descry.llm.client import Answer, Failure, Request
from descry.llm.prompts import Prompt
from descry.vocabulary.candidates import Proposals, build_candidate_table
from descry.vocabulary.ranked import OTHERS, Ranked

PROMPT = Prompt("Sentence: {sentence}\nAspects:")
NAMES = [f"name {number}" for number in range(30)]
SENTENCES = pd.DataFrame(
    {"review_id": [f"r{row}" for row in range(40)], "text": [f"This is {row}." for row in range(40)]}
)


def make_up(sentence: str, name: str) -> float:
    """A log-likelihood between -40 and 0."""
    return -hashlib.blake2b(f"{sentence}|{name}".encode()).digest()[0] / 6.4


@dataclass
class Likelihoods:
    """A client that makes likelihoods up, of names on a line of their own, and cannot read some sentences."""

    unread: Sequence[str] = ()
    parallel: int = 1
    name: str = "made up"
    identity: Mapping[str, Any] = field(default_factory=lambda: {"model": "made up"})
    asked: list[Request] = field(default_factory=list)

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        return [[position] for position in range(len(requests))]

    def answer(self, requests: Sequence[Request]) -> list[Answer | Failure]:
        self.asked += requests
        return [self._reply(request) for request in requests]

    def _reply(self, request: Request) -> Answer | Failure:
        sentence = request.prompt.removeprefix("Sentence: ").removesuffix("\nAspects:")
        assert all(choice == f" {choice.strip()}\n" for choice in request.choices)
        if sentence in self.unread:
            return Failure("too long")
        return Answer("", tuple(float(np.exp(make_up(sentence, choice.strip()))) for choice in request.choices))


class Source:
    """A generator that proposes the same number of names for every sentence, others each."""

    def propose(self, sentences: pd.DataFrame) -> Proposals:
        rows = np.repeat(np.arange(len(sentences)), 7)
        names = [NAMES[(3 * row + place) % len(NAMES)] for row in range(len(sentences)) for place in range(7)]
        return Proposals(build_candidate_table(rows, names, np.ones(len(rows)), np.arange(len(rows)) % 7, "source"))


def rank(client: Likelihoods, folder: Path, sample: int = 100) -> pd.DataFrame:
    ranked = Ranked(client, AnswerCache(folder), PROMPT, Source(), per_sentence=3, sample=sample)
    return ranked.propose(SENTENCES).candidates


def test_the_likeliest_candidates_beside_what_is_usual_for_them_come_first(tmp_path: Path) -> None:
    found = rank(Likelihoods(), tmp_path)
    others = SENTENCES["text"].iloc[sample_sentences(SENTENCES, OTHERS, 1)]
    for row, part in found.groupby("row"):
        offered = Source().propose(SENTENCES).candidates.query("row == @row")["candidate"]
        above = {
            name: make_up(SENTENCES["text"].iloc[row], name) - np.mean([make_up(text, name) for text in others])
            for name in offered
        }
        expected = sorted(above, key=lambda name: -above[name])[:3]
        assert part["candidate"].tolist() == expected
        assert part["rank"].tolist() == [0, 1, 2]
        np.testing.assert_allclose(part["score"], [above[name] for name in expected], rtol=1e-5)
    assert found["row"].nunique() == len(SENTENCES)
    assert set(found["generator"]) == {"made up"}


def test_a_sample_is_asked_about_and_a_second_run_asks_nothing(tmp_path: Path) -> None:
    first, second = Likelihoods(), Likelihoods()
    found = rank(first, tmp_path, 10)
    assert sorted(set(found["row"])) == sample_sentences(SENTENCES, 10).tolist()
    assert len(first.asked) == OTHERS + 10
    assert rank(second, tmp_path, 10).equals(found)
    assert second.asked == []


def test_sentences_that_the_model_cannot_read_stop_the_stage(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^generate: made up ranks no candidates for .* \(too long\); choose another"):
        rank(Likelihoods(SENTENCES["text"].tolist()[::4]), tmp_path)
