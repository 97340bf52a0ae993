"""The generator that is a language model which chooses: the candidates of another, ranked by their likelihood.

A model too small to write a useful list knows what a sentence is about: the completion of a prompt by a candidate is
the likelier, the better it fits. Names that are likely anywhere are compared with what is usual for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from descry.corpus.sampling import sample_sentences
from descry.errors import InputError
from descry.llm.asking import ask, read_likelihoods
from descry.llm.cache import AnswerCache
from descry.llm.client import Client, Failure, Request
from descry.llm.prompts import Prompt, quote
from descry.vocabulary.candidates import Generator, Proposals, build_candidate_table
from descry.vocabulary.prompted import MAX_FAILED

CHOICE = 12
"""Candidates of each sentence that are ranked, at most."""
OTHERS = 16
"""Sentences over which a candidate's log-likelihood is averaged, to know what is usual."""


@dataclass(frozen=True)
class Ranked:
    """A generator that ranks the candidates of another.

    client: gives the likelihoods of a request's choices. prompt: with `prompted.COMPLETED_FIELDS`. source: gives at
    most CHOICE candidates a sentence. per_sentence: candidates kept, at most. sample: sentences read, at most.
    """

    client: Client
    cache: AnswerCache
    prompt: Prompt
    source: Generator
    per_sentence: int
    sample: int

    def propose(self, sentences: pd.DataFrame) -> Proposals:
        """Propose for every sentence the likeliest candidates, given what is usual for each; the score is the
        difference of the log-likelihoods.

        Errors: InputError if the share of sentences that the model cannot read is above MAX_FAILED.
        """
        found = self.source.propose(sentences).candidates
        found = found[np.isin(found["row"], sample_sentences(sentences, self.sample))]
        texts, names = sentences["text"], sorted(set(found["candidate"]))
        others = [(texts.iloc[row], names) for row in sample_sentences(sentences, OTHERS, 1)] if names else []
        usual = dict(zip(names, np.nanmean(self._score(others, "other sentences"), axis=0), strict=True))
        by_row = found.groupby("row")["candidate"].agg(list)
        choices = list(zip(by_row.index.tolist(), by_row.tolist(), strict=True))
        scores = self._score([(texts.iloc[row], listed) for row, listed in choices], "ranking")
        proposed: list[tuple[int, str, float, int]] = []
        for (row, listed), likely in zip(choices, scores, strict=True):
            above = likely - [usual[name] for name in listed]
            if not np.isnan(above).any():
                order = np.argsort(-above, kind="stable")[: self.per_sentence]
                proposed += [(row, listed[place], above[place], rank) for rank, place in enumerate(order)]
        columns = (
            [row for row, *_ in proposed],
            [name for _, name, *_ in proposed],
            [score for *_, score, _ in proposed],
            [rank for *_, rank in proposed],
        )
        return Proposals(build_candidate_table(*columns, self.client.name))

    def _score(self, asked: Sequence[tuple[str, Sequence[str]]], what: str) -> list[np.ndarray]:
        """Log-likelihoods of names as what a sentence is about: float64 [names], of every sentence and its names; NaN
        where the model cannot read the sentence."""
        prompts = [self.prompt.fill(sentence=quote(text)) for text, _ in asked]
        requests = [
            Request(prompt, 0, tuple(f" {name}\n" for name in names))
            for prompt, (_, names) in zip(prompts, asked, strict=True)
        ]
        answers = ask(self.client, requests, self.cache, f"generate, {what}")
        lost = [answer.reason for answer in answers if isinstance(answer, Failure)]
        if len(lost) > MAX_FAILED * len(answers):
            raise InputError(
                f"generate: {self.client.name} ranks no candidates for {len(lost):,} of {len(answers):,} sentences "
                f"({lost[0]}); choose another model"
            )
        return [read_likelihoods(answer, len(names)) for answer, (_, names) in zip(answers, asked, strict=True)]
