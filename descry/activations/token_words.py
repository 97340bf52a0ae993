"""The exemplars of every neuron token by token, and the words that their tokens belong to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


@dataclass(frozen=True)
class TokenReadings:
    """Activations of neurons on each token of their exemplars.

    rows: int32 [sentences], ascending, of the split; lengths: int32 [sentences], tokens of each; start, stop: int32
    [tokens], the characters [start, stop) of each in its text; exemplars: int32 [neurons, shown], rows of the split,
    best first, -1 for none; on_tokens: float16 [values], for every neuron and exemplar in turn, the neuron's activation
    on each token.
    """

    rows: np.ndarray
    lengths: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    exemplars: np.ndarray
    on_tokens: np.ndarray

    @property
    def firsts(self) -> np.ndarray:
        """int64 [sentences]: the position of each sentence's first token."""
        return np.asarray(np.cumsum(self.lengths, dtype=np.int64) - self.lengths)

    @property
    def places(self) -> np.ndarray:
        """int64 [neurons, shown]: the position of each exemplar in `rows`; for none, that of row 0."""
        return np.asarray(np.searchsorted(self.rows, np.maximum(self.exemplars, 0)))

    @property
    def sizes(self) -> np.ndarray:
        """int64 [neurons, shown]: tokens of each exemplar; 0 for none."""
        lengths = np.append(self.lengths, 0)[self.places]
        return np.where(self.exemplars >= 0, lengths, 0).astype(np.int64)


def concatenate_ranges(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """start, start + 1, ..., start + size - 1 of every range, one after the other: int64."""
    first = np.cumsum(sizes) - sizes
    return np.asarray(np.arange(int(sizes.sum())) + np.repeat(starts - first, sizes))


def find_words(text: str) -> list[tuple[int, int]]:
    """Where the words and punctuation marks of a text lie: the characters [start, stop) of each."""
    return [match.span() for match in _WORD.finditer(text)]


@dataclass(frozen=True)
class WordForms:
    """Word forms: names, in lower case, each once; of_token: int64 [tokens], the form that each token is or is a part
    of."""

    names: list[str]
    of_token: np.ndarray


def find_word_forms(texts: Sequence[str], lengths: np.ndarray, stop: np.ndarray) -> WordForms:
    """Find the word forms of the tokens of some sentences.

    lengths: int [sentences], tokens of each; stop: int [tokens], the character after each, 0 for a token without a
    place, whose form is the empty one. A token belongs to the word of its last character, since its first may be a
    blank.
    """
    number: dict[str, int] = {}
    of_token = np.empty(len(stop), dtype=np.int64)
    ends = np.cumsum(lengths)
    for text, first, end in zip(texts, (ends - lengths).tolist(), ends.tolist(), strict=True):
        spans = find_words(text)
        names = ["", *(text[start:after].lower() for start, after in spans)]
        within = np.searchsorted([start for start, _ in spans], stop[first:end] - 1, side="right")
        for token, word in enumerate(np.where(stop[first:end] > 0, within, 0).tolist(), start=first):
            of_token[token] = number.setdefault(names[word], len(number))
    return WordForms(list(number), of_token)


def build_word_presence(texts: Sequence[str], names: Sequence[str]) -> csr_array:
    """Which word forms occur in which texts: int16 [texts, names], 1 or 0."""
    number = {name: column for column, name in enumerate(names)}
    present = [
        sorted({number[form] for start, stop in find_words(text) if (form := text[start:stop].lower()) in number})
        for text in texts
    ]
    ends = np.cumsum([0, *map(len, present)])
    columns = np.array([column for row in present for column in row], dtype=np.int64)
    return csr_array((np.ones(len(columns), np.int16), columns, ends), shape=(len(texts), len(names)))
