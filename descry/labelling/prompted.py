"""Labels that a language model gives: one prompt a sentence, or one a sentence and descriptor."""

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
"""Fields of the prompts."""
CHOICES = ("yes", "no")
ONE_WORD = 4
"""Tokens of an answer that is one word, at most."""
LEAST_MASS = 0.1
"""Probability of yes and no together, below which an answer is neither."""
SHOWN = 3
"""Answers shown where too many could not be read."""

T = TypeVar("T")

_PARTS = re.compile(r"[,;|\n]")
_BEFORE = re.compile(
    r"^(?:[-*•–—·‣+]\s+|\(?\d{1,3}[.)]\s+|(?:the )?(?:descriptors?|answer)(?: that appl(?:y|ies))?(?: is| are)?:\s*)+"
)
_EDGES = " \t.:!?\"'`“”‘’«»*_[](){}<>"
_NONE = re.compile(r"(?:none|n/?a|no(?:ne)?(?: of the)? descriptors?)\b.*")


def _plain(text: str) -> str:
    """Lower case, one line, without bullet, number, quotes and marks around it."""
    shown = " ".join(unicodedata.normalize("NFKC", text).lower().split())
    return _BEFORE.sub("", shown).strip(_EDGES)


def read_names(answer: str, names: Sequence[str]) -> np.ndarray | None:
    """Which of `names` an answer lists: bool [names]; None where it can't be read.

    Parts between commas, semicolons and line ends are matched whole, whatever their case and marks; others are
    passed over. An answer that lists no known name is read only if it says that none applies.
    """
    column = {_plain(name): index for index, name in enumerate(names)}
    text = strip_thoughts(answer)
    parts = [plain for part in [*_PARTS.split(text), text] if (plain := _plain(part))]
    found = np.zeros(len(names), dtype=bool)
    for part in parts:
        if part in column:
            found[column[part]] = True
    return found if found.any() or (parts and _NONE.fullmatch(parts[0])) else None


def read_probability(answer: Answer) -> float | None:
    """Of yes, against no: in [0, 1]; None where the answer is neither. Without probabilities the text decides."""
    if answer.probabilities is not None:
        yes, no = answer.probabilities
        return yes / (yes + no) if yes + no >= LEAST_MASS else None
    first = re.match(r"\W*(yes|no)\b", strip_thoughts(answer.text), re.IGNORECASE)
    return float(first[1].lower() == "yes") if first else None


@dataclass(frozen=True)
class Asker:
    """Asks, and once more what could not be read.

    again: a prompt with AGAIN_FIELDS, which takes the first one whole. max_missing: share of the sentences'
    labels that may stay missing.
    """

    client: Client
    cache: AnswerCache
    again: Prompt
    max_missing: float

    def read(self, requests: Sequence[Request], reading: Callable[[Answer], T | None]) -> list[T | None]:
        """What `reading` makes of every answer; None where there is none, or none that can be read twice over.

        Errors: InputError where more than max_missing is None, with the worst examples.
        """
        answers = ask(self.client, requests, self.cache, "label")
        found = [None if isinstance(answer, Failure) else reading(answer) for answer in answers]
        unread = [i for i, answer in enumerate(answers) if found[i] is None and isinstance(answer, Answer)]
        if unread:
            repeated = [
                Request(self.again.filled(prompt=requests[i].prompt), requests[i].max_tokens, requests[i].choices)
                for i in unread
            ]
            for i, answer in zip(unread, ask(self.client, repeated, self.cache, "label, once more"), strict=True):
                answers[i] = answer
                found[i] = None if isinstance(answer, Failure) else reading(answer)
        self._check([answer for answer, one in zip(answers, found, strict=True) if one is None], len(requests))
        return found

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
        """Labels of sentences with the descriptors of these names. Errors: as in `Asker.read`."""


@dataclass(frozen=True)
class ListTeacher:
    """One prompt a sentence, the vocabulary first; the answer names the descriptors that apply.

    prompt: with LIST_FIELDS. max_tokens: longest answer.
    """

    asker: Asker
    prompt: Prompt
    max_tokens: int

    def requests(self, sentences: Sequence[str], names: Sequence[str]) -> list[Request]:
        """What is asked: one request a sentence."""
        # In an order that no count of sentences changes: reviews that join then change no prompt.
        listed = "\n".join(sorted(names))
        prompts = (self.prompt.filled(descriptors=listed, sentence=quote(sentence)) for sentence in sentences)
        return [Request(prompt, self.max_tokens) for prompt in prompts]

    def label(self, sentences: Sequence[str], names: Sequence[str]) -> Labels:
        """Labels; a score is 1 where the descriptor is named, else 0."""
        read = self.asker.read(self.requests(sentences, names), lambda answer: read_names(answer.text, names))
        labels = np.full((len(sentences), len(names)), -1, dtype=np.int8)
        for row, found in zip(labels, read, strict=True):
            if found is not None:
                row[:] = found
        return Labels(labels, np.maximum(labels, 0).astype(np.float32))


@dataclass(frozen=True)
class EachTeacher:
    """One prompt a sentence and descriptor, answered by yes or no.

    prompt: with EACH_FIELDS. threshold: a descriptor applies from this probability of yes, in (0, 1).
    """

    asker: Asker
    prompt: Prompt
    threshold: float

    def requests(self, sentences: Sequence[str], names: Sequence[str]) -> list[Request]:
        """What is asked: a request for every sentence and name, sentence by sentence."""
        return [
            Request(self.prompt.filled(descriptor=name, sentence=quote(sentence)), ONE_WORD, CHOICES)
            for sentence in sentences
            for name in names
        ]

    def label(self, sentences: Sequence[str], names: Sequence[str]) -> Labels:
        """Labels; a score is the probability of yes."""
        read = self.asker.read(self.requests(sentences, names), read_probability)
        known = np.array([one is not None for one in read], dtype=bool).reshape(len(sentences), len(names))
        scores = np.array([one or 0.0 for one in read], dtype=np.float32).reshape(known.shape)
        return Labels(np.where(known, scores >= self.threshold, -1).astype(np.int8), scores)


@dataclass(frozen=True)
class PromptedLabeller:
    """The labellers `list` and `each`: every sentence is put to a language model."""

    teacher: Teacher

    def label(
        self,
        calibration: pd.DataFrame,
        others: Sequence[pd.DataFrame],
        candidates: pd.DataFrame,
        descriptors: Sequence[Descriptor],
    ) -> Labelled:
        """Labels of calibration, then of each of `others`; -1 where an answer could not be read."""
        tables = [calibration, *others]
        texts = [text for table in tables for text in table["text"]]
        found = self.teacher.label(texts, [descriptor.name for descriptor in descriptors])
        stops = np.cumsum([len(table) for table in tables])[:-1]
        parts = zip(np.split(found.labels, stops), np.split(found.scores, stops), strict=True)
        return Labelled([Labels(labels, scores) for labels, scores in parts])
