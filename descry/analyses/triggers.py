"""Triggers: the words that drive a neuron, and whether they are one, a few, or none.

A word's share of a neuron is the share of the neuron's activation above its mean that falls on the word's tokens,
averaged over the neuron's exemplars. Its excess is that share less the one it would have if the activation were spread
evenly over all tokens, so that common words are not favoured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_array, csr_array

from descry.activations.token_words import TokenReadings, WordForms, concatenate_ranges

CLASSES = ("token-bound", "lexical", "contextual")
TOKEN_BOUND, LEXICAL, CONTEXTUAL = range(3)
BLOCK = 1024
"""Neurons processed at once."""
BEGINNING, ENDING = 4, 3
"""Letters that the words of a pattern have in common."""
MORE = 1.5
"""A pattern is reported if its excess is more than so many times that of the best single word."""


@dataclass(frozen=True)
class WordRule:
    """When words drive a neuron: if at most `words` of them together have an excess of at least `share`."""

    words: int
    share: float


@dataclass(frozen=True)
class WordShares:
    """The shares of word forms in every neuron's activation: float32 [neurons, forms].

    share: of the activation above the mean, each row summing to 1 (0 for a neuron without exemplars, or nowhere above
    its mean); even: the same if the activation were spread evenly over the tokens; peak: float32 [neurons], the share
    of a sentence's strongest token, mean over the exemplars.
    """

    share: csr_array
    even: csr_array
    peak: np.ndarray

    @property
    def beyond(self) -> csr_array:
        """The excess of each form, in [-1, 1]."""
        return csr_array(self.share - self.even)


def measure_word_shares(read: TokenReadings, found: WordForms, mean: np.ndarray) -> WordShares:
    """Measure the shares of word forms in every neuron's activation on its exemplars.

    found: the forms of the tokens of `read`; mean: float32 [neurons]; only activation above it counts. Memory is that
    of the result and of the tokens of BLOCK neurons.
    """
    sizes, places, firsts = read.sizes, read.places, read.firsts
    ends = np.cumsum(np.append(0, sizes.sum(axis=1)))
    shares: list[csr_array] = []
    evens: list[csr_array] = []
    peaks = []
    for start in range(0, len(sizes), BLOCK):
        here = sizes[start : start + BLOCK]
        shape = (len(here), len(found.names))
        form = found.of_token[
            concatenate_ranges(firsts[np.where(here > 0, places[start : start + BLOCK], 0)].ravel(), here.ravel())
        ]
        neuron, cell = np.repeat(np.arange(len(here)), here.sum(axis=1)), np.repeat(np.arange(here.size), here.ravel())
        values = read.on_tokens[ends[start] : ends[min(start + BLOCK, len(sizes))]].astype(np.float32)
        above = np.maximum(values - mean[start + neuron], 0)
        total = np.bincount(cell, above, here.size)
        counted = np.maximum((total > 0).reshape(here.shape).sum(axis=1), 1)
        weight = (total > 0)[cell] / counted[neuron]
        share = np.divide(above, total[cell], out=np.zeros(len(cell)), where=total[cell] > 0)
        for blocks, values in ((shares, share / counted[neuron]), (evens, weight / here.ravel()[cell])):
            blocks.append(coo_array((values.astype(np.float32), (neuron, form)), shape=shape).tocsr())
        peak = np.zeros(here.size)
        np.maximum.at(peak, cell, share)
        peaks.append(peak.reshape(here.shape).sum(axis=1) / counted)
    return WordShares(_stack_rows(shares), _stack_rows(evens), np.concatenate(peaks).astype(np.float32))


def _stack_rows(blocks: Sequence[csr_array]) -> csr_array:
    ends = np.cumsum([0, *(block.nnz for block in blocks)])
    bounds = [block.indptr[1:] + end for block, end in zip(blocks, ends[:-1], strict=True)]
    shape = (sum(block.shape[0] for block in blocks), blocks[0].shape[1])
    data, columns = (np.concatenate([getattr(block, part) for block in blocks]) for part in ("data", "indices"))
    return csr_array((data, columns, np.concatenate([[0], *bounds])), shape=shape)


def shuffle_tokens(read: TokenReadings, generator: np.random.Generator) -> TokenReadings:
    """Shuffle each neuron's values among the tokens of each exemplar, so that words no longer matter."""
    cell = np.repeat(np.arange(read.sizes.size), read.sizes.ravel())
    return replace(read, on_tokens=read.on_tokens[np.argsort(cell + generator.random(len(cell)))])


@dataclass(frozen=True)
class Leading:
    """The columns with the largest positive values of every row: column int64 [rows, count], best first, -1 for none;
    value float32, same shape, 0 for none. Ties go to the lower column."""

    column: np.ndarray
    value: np.ndarray


def find_leading(beyond: csr_array, count: int) -> Leading:
    """Find the `count` columns with the largest positive values of every row."""
    entries = beyond.tocoo()
    above = entries.data > 0
    rows, columns, values = (part[above] for part in (*entries.coords, entries.data))
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    column, value = np.full((beyond.shape[0], count), -1), np.zeros((beyond.shape[0], count), np.float32)
    best = place < count
    column[rows[best], place[best]], value[rows[best], place[best]] = columns[best], values[best]
    return Leading(column, value)


def classify_neurons(words: Leading, share: float) -> np.ndarray:
    """The class of every neuron, int8: TOKEN_BOUND if one word has an excess of at least `share`, LEXICAL if all its
    `words` together have, else CONTEXTUAL."""
    one, several = words.value[:, 0] >= share, words.value.sum(axis=1) >= share
    return np.where(one, TOKEN_BOUND, np.where(several, LEXICAL, CONTEXTUAL)).astype(np.int8)


def find_patterns(beyond: csr_array, names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Find the pattern that a neuron's words have in common, if its excess is MORE times that of any single word: a
    beginning (`cost-`) or an ending (`-ing`), "" for none; and its excess, float32 [neurons], 0 for none."""
    number: dict[str, int] = {}
    pairs = [
        (form, number.setdefault(pattern, len(number)))
        for form, name in enumerate(names)
        for pattern in _list_patterns(name)
    ]
    if not pairs:
        return [""] * beyond.shape[0], np.zeros(beyond.shape[0], np.float32)
    rows, columns = np.array(pairs).T
    member = csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(len(names), len(number)))
    best, single = find_leading(beyond @ member, 1), find_leading(beyond, 1).value[:, 0]
    reported = best.value[:, 0] > MORE * single
    patterns = list(number)
    return (
        [patterns[column] if reported[row] else "" for row, column in enumerate(best.column[:, 0].tolist())],
        np.where(reported, best.value[:, 0], np.float32(0)),
    )


def _list_patterns(name: str) -> list[str]:
    if not name.isalpha() or len(name) < BEGINNING:
        return []
    return [f"{name[:BEGINNING]}-", *([f"-{name[-ENDING:]}"] if len(name) > ENDING + 1 else [])]


@dataclass(frozen=True)
class NeuronTriggers:
    """The triggers of every neuron of a split: names of the word forms, their excess (`beyond`), the leading ones
    (`words`), the classes of the neurons, and `WordShares.peak`."""

    names: list[str]
    beyond: csr_array
    words: Leading
    classes: np.ndarray
    peak: np.ndarray

    @classmethod
    def of(cls, read: TokenReadings, found: WordForms, mean: np.ndarray, rule: WordRule) -> NeuronTriggers:
        """Find the triggers by a rule. read, found, mean: see `measure_word_shares`."""
        shares = measure_word_shares(read, found, mean)
        leading = find_leading(shares.beyond, rule.words)
        return cls(found.names, shares.beyond, leading, classify_neurons(leading, rule.share), shares.peak)
