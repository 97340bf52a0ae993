"""The labellers `list` and `each`: a language model labels, with one prompt per sentence, or one per sentence and
descriptor."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd

from descry.errors import InputError
from descry.labelling.labels import Labelled, Labels
from descry.llm.answers import is_whole, unwrap
from descry.llm.asking import ask
from descry.llm.cache import AnswerCache
from descry.llm.client import Answer, Client, Failure, Request
from descry.llm.prompts import Prompt, quote
from descry.vocabulary.descriptors import Descriptor

LIST_FIELDS = ("descriptors", "sentence")
EACH_FIELDS = ("descriptor", "sentence")
AGAIN_FIELDS = ("prompt",)
"""Fields of the prompts: prompts/label_list.txt, label_each.txt and label_again.txt."""
CHOICES = ("yes", "no")
ONE_WORD = 4
"""Maximum tokens of a one-word answer."""
LEAST_MASS = 0.1
"""Least joint probability of yes and no; below it, the text decides."""
SHOWN = 3
"""Number of answers shown in the error if too many could not be read."""

T = TypeVar("T")

_SEPARATORS = re.compile(r"([,;|/&、]|\band\b)")
_BULLET = re.compile(r"(?:[-*•–—·‣+]\s+|\(?\d{1,3}[.)]\s+)+")
_NUMBER_INSIDE = re.compile(r"(?<=\S)\s+(?=\(?\d{1,3}[.)]\s)")
_INTRODUCTION = re.compile(
    r"[^:]*\b(?:descriptors?|answers?|labels?|aspects?|topics?|list|appl(?:y|ies|icable)|follow(?:s|ing)|sure|here)\b[^:]*:",
    re.IGNORECASE,
)
_COURTESY = re.compile(r"(?:sure|okay|ok|certainly|of course|understood|let me know|i hope|hope this)\b[^:]*")
_EXPLANATION = re.compile(r"(?:explanations?|reason(?:ing|s)?|rationale|justification|notes?)\b.*")
_EXPLAINED = re.compile(r":\s|\s[-–—]+\s")
_IN_BRACKETS = re.compile(r"\s+\([^()]*\)")
_NEGATED = re.compile(r"\b(?:no|not|none|neither|never|cannot|except|without)\b|n['’]t\b")
_REJECTED = re.compile(r"no|false|0|n/?\.?a|none|absent|not (?:mentioned|applicable|relevant|present|discussed)")
_EDGES = " \t.:!?\"'`“”‘’«»*_[](){}<>#"
_NOTHING = re.compile(
    r"(?:none|nothing|null|nil|n/?\.?a|not applicable|"
    r"no (?:of the |\w+ )?(?:descriptors?|match(?:es)?|labels?|aspects?|items?|options?))\b.*"
)


def _normalise(text: str) -> str:
    """Lower a text's case, join its lines, and strip bullet, number, quotes and marks around it."""
    shown = " ".join(unicodedata.normalize("NFKC", text).lower().split())
    return _BULLET.sub("", shown.lstrip("\"'“‘*_(["), count=1).strip(_EDGES)


def read_names(answer: str, names: Sequence[str]) -> np.ndarray | None:
    """Read which of `names` an answer lists: bool [names]; None if the answer can't be read.

    Parts between line ends, commas and the like are matched whole, ignoring case and surrounding marks; introductions,
    courtesies and explanations are no parts. An answer is read only if every part is a known name, or if it says that
    none applies and contains no name.
    """
    column = {_normalise(name): index for index, name in enumerate(names)}
    text = unicodedata.normalize("NFKC", unwrap(answer))
    said: list[str] = []
    for line in _NUMBER_INSIDE.sub("\n", text).splitlines():
        plain = _normalise(line)
        if _EXPLANATION.fullmatch(plain) and plain not in column:
            break
        rest = "" if _COURTESY.fullmatch(plain) and not _mentions(plain, column) else _cut_introduction(line, column)
        if rest is None:
            return None
        said += [rest] if _normalise(rest) else []
    stated = _normalise(" ".join(said))
    if _NOTHING.fullmatch(stated) and not _mentions(stated, column):
        return np.zeros(len(names), dtype=bool)
    read = [_read_line(line, column) for line in said]
    if not read or None in read:
        return None
    listed = np.zeros(len(names), dtype=bool)
    for verdicts in read:
        for place, applies in (verdicts or {}).items():
            listed[place] |= applies
    return listed


def _mentions(text: str, names: Collection[str]) -> bool:
    """Whether one of the names stands in a text as words of it."""
    return any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text) for name in names if name)


def _cut_introduction(line: str, column: Mapping[str, int]) -> str | None:
    """Cut what introduces the names of a line; None if it says that they do not apply."""
    introduction = _INTRODUCTION.match(line)
    if not introduction or _normalise(line) in column or _normalise(introduction[0]) in column:
        return line
    rest = line[introduction.end() :]
    return None if _NEGATED.search(introduction[0].lower()) and _normalise(rest) else rest


def _read_line(line: str, column: Mapping[str, int]) -> dict[int, bool] | None:
    """Which names a line says apply, or do not, by position; None if a part of it is no name."""
    if (plain := _normalise(line)) in column:
        return {column[plain]: True}
    parts = _SEPARATORS.split(_IN_BRACKETS.sub("", line))
    if (found := _match_parts(parts, column)) is not None:
        return found
    first, *explained = _EXPLAINED.split(line, maxsplit=1)
    others = [part for part in _SEPARATORS.split(" ".join(explained))[::2] if _find_name(part, column) is not None]
    place = column.get(_normalise(first))
    return None if place is None or others else {place: True}


def _match_parts(pieces: Sequence[str], column: Mapping[str, int]) -> dict[int, bool] | None:
    """Match parts, with the separators between them at odd positions, with names, which may contain separators: the
    longest name at each place."""
    found: dict[int, bool] = {}
    start = 0
    while start < len(pieces):
        if _normalise(pieces[start]):
            spans = range(len(pieces), start, -2)
            stop = next((stop for stop in spans if _normalise("".join(pieces[start:stop])) in column), start + 1)
            part = "".join(pieces[start:stop])
            place = _find_name(part, column)
            if place is None:
                return None
            _, *verdict = _EXPLAINED.split(part, maxsplit=1) if _normalise(part) not in column else [part]
            found[place] = not (verdict and _REJECTED.fullmatch(_normalise(verdict[0])))
        else:
            stop = start + 1
        start = stop + 1
    return found


def _find_name(part: str, column: Mapping[str, int]) -> int | None:
    """Position of the name that a part is, or begins with before an explanation."""
    place = column.get(_normalise(part))
    return column.get(_normalise(_EXPLAINED.split(part, maxsplit=1)[0])) if place is None else place


def read_probability(answer: Answer) -> float | None:
    """Read the probability of yes against no, in [0, 1]; None if the answer is neither.

    Where the tokens' probabilities are unknown, or below LEAST_MASS together, the text decides: 1.0 for yes, 0.0 for
    no.
    """
    if answer.probabilities is not None and sum(answer.probabilities) >= LEAST_MASS:
        yes, no = answer.probabilities
        return yes / (yes + no)
    first = re.match(r"\W*(yes|no)\b", unwrap(answer.text), re.IGNORECASE)
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
        """Label sentences; the score is 1 where the descriptor is listed, else 0. An answer that was cut off counts as
        unread."""

        def read_whole(answer: Answer) -> np.ndarray | None:
            return read_names(answer.text, names) if is_whole(answer) else None

        read = self.asker.read(self.requests(sentences, names), read_whole)
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
