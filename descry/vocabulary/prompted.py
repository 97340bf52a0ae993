"""The generator that is a language model: prompted with a task, one example and the sentence, as in arXiv 2401.16731.

The wording of the prompt is ours (prompts/generate.txt).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from descry.corpus.sampling import sample_sentences
from descry.errors import InputError
from descry.llm.answers import is_whole, unwrap
from descry.llm.asking import ask
from descry.llm.cache import AnswerCache
from descry.llm.client import Answer, Client, Failure, Request
from descry.llm.prompts import Prompt, quote
from descry.vocabulary.candidates import Generator, Proposals, build_answer_table, build_candidate_table
from descry.vocabulary.echoes import count_dropped, drop_echoes

FIELDS = ("example_sentence", "example_answer", "sentence")
"""Fields of the prompt, prompts/generate.txt."""
COMPLETED_FIELDS = ("sentence",)
"""Fields of the prompt that is completed, prompts/generate_complete.txt, which has examples of its own."""
MAX_FAILED = 0.01
"""Share of the sentences that may stay without an answer, at most."""
MAX_UNREAD = 0.5
"""Share of the answers that may name no phrase of their own without saying that there is none, at most."""
SHOWN = 3
"""Number of answers shown if some could not be read."""
POOL = 200
"""The example is drawn from this many first sentences of calibration: reviews added later change no prompt."""
LENGTHS = (30, 120)
"""Minimum and maximum characters of the example's sentence."""
LONGEST = 60
"""Maximum characters of a phrase."""

_NUMBER_INSIDE = re.compile(r"(?<=\S)\s+(?=\(?\d{1,2}[.)]\s)")
_BULLET = re.compile(r"(?:[-*•–—·‣+]\s+|\(?\d{1,2}[.)](?!\d)\s*|\(?[a-zA-Z]\)\s+)")
_INTRODUCES = re.compile(r"\b(?:aspects?|answers?|descriptors?|keywords?|topics?|features?|sure|okay)\b", re.IGNORECASE)
_NEGATED = re.compile(r"^\W*(?:none|no|not)\b|\bnot\b|n['’]t\b", re.IGNORECASE)
_EXPLAINED = re.compile(r":(?:\s|$)|\s[-–—]+\s")
_PARTS = re.compile(r"[,;|\n]|\s/\s|[.!?](?:\s|$)")
_ASIDE = re.compile(r"\([^()]*\)|\[[^\[\]]*\](?=\S)")
_EDGES = " \t.,;:!?\"'`“”‘’«»*_[](){}<>#-–—"
_DETERMINER = re.compile(r"^(?:the|an?|its|their|this|that|these|those|his|her|my|your|our|and|or)\s+")
_NOTHING = re.compile(
    r"n/?\.?a|null|nil|nothing|not applicable|not mentioned|unknown|unclear|none.*"
    r"|no(?:ne)?\b.*\b(?:aspects?|descriptors?|topics?|keywords?|labels?|features?)\b.*"
)
# fmt: off
_NO_NOUN = frozenset(
    "i we you he she it they it's i'm who which what that there because but so if when while as since although "
    "however also is are was were be been being has have had do does did can could will would should may might "
    "in on at to from than then with by about into of for and or here sorry please yes".split()
)
# fmt: on


def read_phrases(answer: str, words: int) -> list[str]:
    """Read the short phrases of an answer: lower case, each once, in order; none if the answer names no aspect.

    Bullets and numbers, quotes, mark-up, determiners, introductions before a colon, explanations after one, asides in
    brackets and whatever `unwrap` removes are no part of them. A part is no phrase if it has more than `words`
    words, has no letter, or begins or ends with a word that no noun phrase begins or ends with.
    """
    text = unicodedata.normalize("NFKC", unwrap(answer))
    lines = [line.strip() for line in _NUMBER_INSIDE.sub("\n", text).splitlines()]
    bulleted = [_BULLET.sub("", line, count=1) for line in lines if _BULLET.match(line)]
    if bulleted:
        parts = [part for line in bulleted for part in _PARTS.split(_EXPLAINED.split(line)[0])]
        return _clean(parts, words)
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        parts = [part for line in paragraph.splitlines() for part in _split_enumeration(_cut_introduction(line, words))]
        if phrases := _clean(parts, words):
            return phrases
    return []


def names_nothing(answer: str) -> bool:
    """Whether an answer says that the sentence has no aspect."""
    text = " ".join(unicodedata.normalize("NFKC", unwrap(answer)).lower().split())
    return bool(_NOTHING.fullmatch(text.rpartition(":")[2].strip(_EDGES)))


def drop_cut_part(answer: Answer) -> str:
    """The text of an answer without its last part if that was cut off."""
    end = max(map(answer.text.rfind, ",;|\n"))
    return answer.text if is_whole(answer) else answer.text[: max(end, 0)]


def _cut_introduction(line: str, words: int) -> str:
    """Keep what follows the colon of an introduction, or precedes that of an explanation; nothing if the introduction
    says that what follows is missing."""
    first, *rest = _EXPLAINED.split(line, maxsplit=1)
    if not rest:
        return line
    if _NEGATED.search(first):
        return ""
    return rest[0] if _INTRODUCES.search(first) or len(first.split()) > words else first


def _split_enumeration(line: str) -> list[str]:
    """Split an enumeration into its parts; a final `a and b` makes two."""
    parts = [part for part in _PARTS.split(line) if part.strip(_EDGES)]
    if len(parts) > 1 and (last := re.split(r"\s+and\s+", parts[-1])) and all(len(p.split()) <= 2 for p in last):
        parts[-1:] = last
    return parts


def _clean(parts: Sequence[str], words: int) -> list[str]:
    """Clean the parts of an answer and keep those that are phrases, each once."""
    phrases = []
    for part in parts:
        phrase = " ".join(_ASIDE.sub(" ", part).strip(_EDGES).lower().replace("’", "'").split())
        while (shorter := _DETERMINER.sub("", phrase).lstrip(_EDGES)) != phrase:
            phrase = shorter
        tokens = phrase.split()
        if (
            0 < len(tokens) <= words
            and len(phrase) <= LONGEST
            and any(character.isalpha() for character in phrase)
            and not _NOTHING.fullmatch(phrase)
            and not {tokens[0], tokens[-1]} & _NO_NOUN
        ):
            phrases.append(phrase)
    return list(dict.fromkeys(phrases))


@dataclass(frozen=True)
class Example:
    """The one example of the prompt: a sentence, and its aspects, separated by commas."""

    sentence: str
    answer: str


def draw_example(sentences: pd.DataFrame, generator: Generator) -> Example:
    """Draw the example: the sentence of POOL whose candidates by `generator` have the highest mean score.

    sentences: calibration's, in order; of LENGTHS characters if there are any. Errors: InputError if no sentence has a
    candidate.
    """
    texts = sentences["text"].head(POOL)
    fitting = texts[texts.str.len().between(*LENGTHS)]
    pool = sentences.loc[(fitting if len(fitting) else texts).index].reset_index(drop=True)
    candidates = generator.propose(pool).candidates
    if not len(candidates):
        raise InputError("generate: no example could be drawn; give generate.prompted.sentence and .answer")
    means = candidates.groupby("row", sort=True)["score"].mean()
    best = int(means.index.to_numpy()[means.to_numpy().argmax()])
    return Example(str(pool["text"].iloc[best]), ", ".join(candidates.loc[candidates["row"] == best, "candidate"]))


@dataclass(frozen=True)
class Prompted:
    """A generator that is a language model.

    prompt: with FIELDS, or COMPLETED_FIELDS and no example. per_sentence: candidates kept per answer, at most. sample:
    sentences read, at most. words: see `read_phrases`. max_tokens: maximum length of an answer.
    """

    client: Client
    cache: AnswerCache
    prompt: Prompt
    example: Example | None
    per_sentence: int
    sample: int
    words: int
    max_tokens: int

    def request(self, sentence: str) -> Request:
        """Build the request for a sentence."""
        return Request(self._fill(quote(sentence)), self.max_tokens)

    def _fill(self, sentence: str) -> str:
        if self.example is None:
            return self.prompt.fill(sentence=sentence)
        shown = {"example_sentence": quote(self.example.sentence), "example_answer": self.example.answer}
        return self.prompt.fill(**shown, sentence=sentence)

    def propose(self, sentences: pd.DataFrame) -> Proposals:
        """Propose the phrases of every sentence's answer that are no echoes, in its order, with the score
        1 / (1 + rank).

        Errors: InputError if the share of sentences without an answer is above MAX_FAILED, or that of answers without a
        phrase of their own above MAX_UNREAD.
        """
        rows = sample_sentences(sentences, self.sample)
        requests = [self.request(text) for text in sentences["text"].iloc[rows]]
        answers = ask(self.client, requests, self.cache, "generate")
        self._check_failures([answer for answer in answers if not _says_something(answer)], len(rows))
        pairs = zip(rows.tolist(), answers, strict=True)
        answered = [(row, answer) for row, answer in pairs if isinstance(answer, Answer)]
        phrases = self._read([answer for _, answer in answered], [sentences["text"].iloc[row] for row, _ in answered])
        self._check_unread([a.text for (_, a), read in zip(answered, phrases, strict=True) if not read], len(answered))
        proposed = [
            (row, phrase, rank)
            for (row, _), read in zip(answered, phrases, strict=True)
            for rank, phrase in enumerate(read[: self.per_sentence])
        ]
        ranks = np.array([rank for *_, rank in proposed], dtype=np.int64)
        return Proposals(
            build_candidate_table(
                [row for row, *_ in proposed],
                [phrase for _, phrase, _ in proposed],
                1 / (1 + ranks),
                ranks,
                self.client.name,
            ),
            build_answer_table([row for row, _ in answered], [answer.text for _, answer in answered], self.client.name),
        )

    def _read(self, answers: Sequence[Answer], texts: Sequence[str]) -> list[list[str]]:
        """The phrases of answers about `texts`; echoes are reported and left out."""
        said = [drop_cut_part(answer) for answer in answers]
        read = [read_phrases(answer, self.words) for answer in said]
        kept = drop_echoes(read, [unwrap(answer) for answer in said], texts, self._fill(""), self.words)
        if dropped := count_dropped(read, kept):
            shown = ", ".join(f"{phrase} ({count:,})" for phrase, count in dropped.most_common(SHOWN))
            print(
                f"generate: {self.client.name} repeats its prompt: {dropped.total():,} phrases are left out, most "
                f"often {shown}"
            )
        return kept

    def _check_failures(self, lost: Sequence[Answer | Failure], asked: int) -> None:
        if not lost:
            return
        reason = next((answer.reason for answer in lost if isinstance(answer, Failure)), "an empty answer")
        said = f"{self.client.name} gave no answer to {len(lost):,} of {asked:,} sentences ({reason})"
        if len(lost) > MAX_FAILED * asked:
            raise InputError(
                f"generate: {said}; the other answers are kept: run the same command again to ask for these"
            )
        print(f"generate: {said}")

    def _check_unread(self, empty: Sequence[str], answered: int) -> None:
        """Report answers without a phrase of their own, unless they say that there is none or nothing at all."""
        unread = [text for text in empty if unwrap(text) and not names_nothing(text)]
        if not unread:
            return
        shown = ", ".join(repr(" ".join(text.split())[:80]) for text in list(dict.fromkeys(unread))[:SHOWN])
        said = (
            f"{len(unread):,} of {answered:,} answers of {self.client.name} name no phrase of their own, for example "
            f"{shown}"
        )
        if len(unread) > MAX_UNREAD * answered:
            raise InputError(
                f"generate: {said}; see prompts/generate.txt and generate.prompted, or choose another model"
            )
        print(f"generate: {said}")


def _says_something(answer: Answer | Failure) -> bool:
    return isinstance(answer, Answer) and bool(unwrap(answer.text))
