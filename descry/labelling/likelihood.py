"""The labeller `likelihood`: how likely a language model finds each descriptor's name as the topic of a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from descry.errors import InputError
from descry.labelling.labels import Labelled, Labels, find_cuts, log_shares
from descry.llm.asking import score
from descry.llm.cache import AnswerCache
from descry.llm.client import Client
from descry.llm.prompts import Prompt, quote
from descry.vocabulary.descriptors import Descriptor

LIKELIHOOD_FIELDS = ("descriptor", "sentence")
"""Fields of the prompt, prompts/label_likelihood.txt."""


def split_prompt(prompt: Prompt) -> tuple[str, str, str]:
    """Split a prompt with LIKELIHOOD_FIELDS at them: what stands before the sentence, between it and the descriptor,
    and directly before the descriptor (the blank, which belongs to a name's first token).

    Errors: InputError unless the sentence stands there once, and the descriptor once and last.
    """
    before, *rest = prompt.text.split("{sentence}")
    between, *end = rest[0].split("{descriptor}") if len(rest) == 1 else ("",)
    if end != [""] or "{descriptor}" in before:
        raise InputError(
            "prompts/label_likelihood.txt: {descriptor}, whose likelihood is asked for, should be its last word, and "
            "{sentence} stand once before it"
        )
    shown = between.rstrip(" ")
    return before, shown, between[len(shown) :]


@dataclass(frozen=True)
class LikelihoodScorer:
    """Labels by the likelihood of names, compared with what is usual for each name.

    client: a `likelihood.LikelihoodModel` or what stands for it. prompt: with LIKELIHOOD_FIELDS. breadth: see
    `labels.find_cuts`. max_missing: share of the sentences that the model may be unable to read.
    """

    client: Client
    cache: AnswerCache
    prompt: Prompt
    breadth: float
    max_missing: float

    def label(self, tables: Sequence[Sequence[str]], names: Sequence[str]) -> list[Labels]:
        """Label tables of sentences; the first alone decides what is usual, and the thresholds.

        A name's log-likelihood, to the end of its line, minus its mean over the first table, is turned into log shares
        over the names, which are the scores. Errors: InputError if more than `max_missing` cannot be read.
        """
        before, between, blank = split_prompt(self.prompt)
        middles = [quote(text) + between for table in tables for text in table]
        suffixes = [f"{blank}{name}\n" for name in names]
        likelihoods = score(self.client, before, middles, suffixes, self.cache, "label by likelihood")
        known = ~np.isnan(likelihoods).any(axis=1)
        stops = np.cumsum([len(table) for table in tables])
        calibrating = known & (np.arange(len(known)) < stops[0])
        if known.mean() < 1 - self.max_missing or not calibrating.any():
            raise InputError(
                f"label: {self.client.name} cannot read {100 * (1 - known.mean()):.1f} % of the sentences, above "
                f"label.max_missing ({100 * self.max_missing:g} %): they are too long for it; choose another model"
            )
        scores = np.zeros(likelihoods.shape, dtype=np.float32)
        scores[known] = log_shares(likelihoods[known] - likelihoods[calibrating].mean(axis=0))
        labels = np.where(known[:, None], scores >= find_cuts(scores[calibrating], self.breadth), -1).astype(np.int8)
        parts = zip(np.split(labels, stops[:-1]), np.split(scores, stops[:-1]), strict=True)
        return [Labels(*part) for part in parts]


@dataclass(frozen=True)
class LikelihoodLabeller:
    """The labeller `likelihood`; no answer of the model is read, so that a small model is enough."""

    scorer: LikelihoodScorer

    def label(
        self,
        calibration: pd.DataFrame,
        others: Sequence[pd.DataFrame],
        candidates: pd.DataFrame,
        descriptors: Sequence[Descriptor],
    ) -> Labelled:
        """Label calibration, then each of `others`; -1 where a sentence is too long for the model. Errors: as
        `LikelihoodScorer.label`."""
        texts = [table["text"].tolist() for table in (calibration, *others)]
        return Labelled(self.scorer.label(texts, [descriptor.name for descriptor in descriptors]))


@dataclass(frozen=True)
class LikelihoodTeacher:
    """Labels by likelihood, for `distil`; what is usual for a name, and its threshold, come from the same sentences."""

    scorer: LikelihoodScorer

    def label(self, sentences: Sequence[str], names: Sequence[str]) -> Labels:
        """Label sentences. Errors: as `LikelihoodScorer.label`."""
        (labels,) = self.scorer.label([sentences], names)
        return labels
