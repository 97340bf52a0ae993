"""The labellers `list` and `each`: a language model labels, with one prompt per sentence, or one per sentence and
descriptor."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd

from descry.errors import InputError
from descry.labelling.labels import Labelled, Labels
from descry.llm.asking import ask
from descry.llm.cache import AnswerCache
from descry.llm.client import Answer, Client, Failure, Request
from descry.llm.prompts import Prompt, quote, strip_thoughts
from descry.vocabulary.descriptors import Descriptor

LIST_FIELDS = ("descriptors", "sentence")
EACH_FIELDS = ("descriptor", "sentence")
AGAIN_FIELDS = ("prompt",)
"""Fields of the prompts: prompts/label_list.txt, label_each.txt and label_again.txt."""
CHOICES = ("yes", "no")
ONE_WORD = 4
"""Maximum tokens of a one-word answer."""
LEAST_MASS = 0.1
"""Least joint probability of yes and no; below it, an answer counts as neither."""
SHOWN = 3
"""Number of answers shown in the error if too many could not be read."""

T = TypeVar("T")

_PARTS = re.compile(r"[,;|\n]")
_BEFORE = re.compile(
    r"^(?:[-*•–—·‣+]\s+|\(?\d{1,3}[.)]\s+|(?:the )?(?:descriptors?|answer)(?: that appl(?:y|ies))?(?: is| are)?:\s*)+"
)
_EDGES = " \t.:!?\"'`“”‘’«»*_[](){}<>"
_NONE = re.compile(r"(?:none|n/?a|no(?:ne)?(?: of the)? descriptors?)\b.*")


def _normalise(text: str) -> str:
    """Lower a text's case, join its lines, and strip bullet, number, quotes and marks around it."""
    shown = " ".join(unicodedata.normalize("NFKC", text).lower().split())
    return _BEFORE.sub("", shown).strip(_EDGES)


def read_names(answer: str, names: Sequence[str]) -> np.ndarray | None:
    """Read which of `names` an answer lists: bool [names]; None if the answer can't be read.

    Parts between commas, semicolons and line ends are matched whole, ignoring case and surrounding marks; unknown parts
    are ignored. An answer that lists no known name counts as read only if it says that none applies.
    """
    column = {_normalise(name): index for index, name in enumerate(names)}
    text = strip_thoughts(answer)
    parts = [plain for part in [*_PARTS.split(text), text] if (plain := _normalise(part))]
    listed = np.zeros(len(names), dtype=bool)
    for part in parts:
        if part in column:
            listed[column[part]] = True
    return listed if listed.any() or (parts and _NONE.fullmatch(parts[0])) else None


def read_probability(answer: Answer) -> float | None:
    """Read the probability of yes against no, in [0, 1]; None if the answer is neither.

    Without token probabilities the text decides: 1.0 for yes, 0.0 for no.
    """
    if answer.probabilities is not None:
        yes, no = answer.probabilities
        return yes / (yes + no) if yes + no >= LEAST_MASS else None
    first = re.match(r"\W*(yes|no)\b", strip_thoughts(answer.text), re.IGNORECASE)
    return float(first[1].lower() == "yes") if first else None


@dataclass(frozen=True)
class Asker:
    """Puts requests to a language model, and once more those whose answers could not be read.

    again: a prompt with AGAIN_FIELDS, which contains the whole first prompt. max_missing: share of the requests that
    may stay without a readable answer.
    """

    client: Client
    cache: AnswerCache
    again: Prompt
    max_missing: float

    def read(self, requests: Sequence[Request], reading: Callable[[Answer], T | None]) -> list[T | None]:
        """Read every answer with `reading`; None without an answer, or if neither of two answers could be read.

        Errors: InputError with examples if the share of None is above `max_missing`.
        """
        answers = ask(self.client, requests, self.cache, "label")
        read = [None if isinstance(answer, Failure) else reading(answer) for answer in answers]
        unread = [i for i, answer in enumerate(answers) if read[i] is None and isinstance(answer, Answer)]
        if unread:
            repeated = [
                Request(self.again.fill(prompt=requests[i].prompt), requests[i].max_tokens, requests[i].choices)
                for i in unread
            ]
            for i, answer in zip(unread, ask(self.client, repeated, self.cache, "label, once more"), strict=True):
                answers[i] = answer
                read[i] = None if isinstance(answer, Failure) else reading(answer)
        self._check([answer for answer, value in zip(answers, read, strict=True) if value is None], len(requests))
        return read

    def _check(self, lost: Sequence[Answer | Failure], asked: int) -> None:
        if len(lost) > self.max_missing * asked:
            shown = dict.fromkeys(repr(one.text[:80]) if isinstance(one, Answer) else one.reason for one in lost)
            raise InputError(
                f"label: {100 * len(lost) / asked:.1f} % of the labels are missing, above label.max_missing "
                f"({100 * self.max_missing:g} %): {self.client.name} answered, for example, "
                f"{', '.join(list(shown)[:SHOWN])}; see prompts/label_*.txt, or choose another model"
            )


class Teacher(Protocol):
    """A language model that labels sentences."""

    def label(self, sentences: Sequence[str], names: Sequence[str]) -> Labels:
        """Label sentences with the descriptors of these names. Errors: those of `Asker.read`."""


@dataclass(frozen=True)
class ListTeacher:
    """One prompt per sentence, with the whole vocabulary; the answer lists the descriptors that apply.

    prompt: with LIST_FIELDS. max_tokens: maximum length of an answer.
    """

    asker: Asker
    prompt: Prompt
    max_tokens: int

    def requests(self, sentences: Sequence[str], names: Sequence[str]) -> list[Request]:
        """Build the requests, one per sentence."""
        # Sorted, so that no prompt changes when further reviews change the order of the descriptors.
        listed = "\n".join(sorted(names))
        prompts = (self.prompt.fill(descriptors=listed, sentence=quote(sentence)) for sentence in sentences)
        return [Request(prompt, self.max_tokens) for prompt in prompts]

    def label(self, sentences: Sequence[str], names: Sequence[str]) -> Labels:
        """Label sentences; the score is 1 where the descriptor is listed, else 0."""
        read = self.asker.read(self.requests(sentences, names), lambda answer: read_names(answer.text, names))
        labels = np.full((len(sentences), len(names)), -1, dtype=np.int8)
        for row, listed in zip(labels, read, strict=True):
            if listed is not None:
                row[:] = listed
        return Labels(labels, np.maximum(labels, 0).astype(np.float32))


@dataclass(frozen=True)
class EachTeacher:
    """One prompt per sentence and descriptor, answered by yes or no.

    prompt: with EACH_FIELDS. threshold: the least probability of yes, in (0, 1), at which a descriptor applies.
    """

    asker: Asker
    prompt: Prompt
    threshold: float

    def requests(self, sentences: Sequence[str], names: Sequence[str]) -> list[Request]:
        """Build the requests, one per sentence and name, sentence by sentence."""
        return [
            Request(self.prompt.fill(descriptor=name, sentence=quote(sentence)), ONE_WORD, CHOICES)
            for sentence in sentences
            for name in names
        ]

    def label(self, sentences: Sequence[str], names: Sequence[str]) -> Labels:
        """Label sentences; the score is the probability of yes."""
        read = self.asker.read(self.requests(sentences, names), read_probability)
        known = np.array([yes is not None for yes in read], dtype=bool).reshape(len(sentences), len(names))
        scores = np.array([yes or 0.0 for yes in read], dtype=np.float32).reshape(known.shape)
        return Labels(np.where(known, scores >= self.threshold, -1).astype(np.int8), scores)


@dataclass(frozen=True)
class PromptedLabeller:
    """The labellers `list` and `each`: a language model labels every sentence."""

    teacher: Teacher

    def label(
        self,
        calibration: pd.DataFrame,
        others: Sequence[pd.DataFrame],
        candidates: pd.DataFrame,
        descriptors: Sequence[Descriptor],
    ) -> Labelled:
        """Label calibration, then each of `others`; -1 where an answer could not be read. Errors: as `Asker.read`."""
        tables = [calibration, *others]
        texts = [text for table in tables for text in table["text"]]
        labelled = self.teacher.label(texts, [descriptor.name for descriptor in descriptors])
        stops = np.cumsum([len(table) for table in tables])[:-1]
        parts = zip(np.split(labelled.labels, stops), np.split(labelled.scores, stops), strict=True)
        return Labelled([Labels(labels, scores) for labels, scores in parts])
