"""Which words drive a neuron: is it bound to one, to a few, or to none?

A word's share of a neuron is what its tokens carry of the neuron's activation above its mean, averaged over the
neuron's strongest sentences. What it carries *beyond its part* is that share less the one that it would have were the
activation spread evenly over the tokens, so that a word is not favoured for being common.
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
"""Neurons worked on at once."""
BEGINNING, ENDING = 4, 3
"""Letters that words of a pattern have in common."""
MORE = 1.5
"""A pattern is told where it carries so many times what the best single word does."""


@dataclass(frozen=True)
class WordRule:
    """When words drive a neuron: at most so many `words` of it, which carry at least `share` of its activation beyond
    their part."""

    words: int
    share: float


@dataclass(frozen=True)
class WordShares:
    """What word forms carry of every neuron: float32 [neurons, forms] each.

    share: of its activation above its mean, each row summing to 1 (0 for a neuron that has no exemplar or is nowhere
    above its mean); even: the same were it spread evenly over the tokens; peak: float32 [neurons], the share of a
    sentence's activation that its strongest token carries, mean over the exemplars.
    """

    share: csr_array
    even: csr_array
    peak: np.ndarray

    @property
    def beyond(self) -> csr_array:
        """What each form carries beyond its part, in [-1, 1]."""
        return csr_array(self.share - self.even)


def measure_word_shares(read: TokenReadings, found: WordForms, mean: np.ndarray) -> WordShares:
    """What the word forms carry of every neuron on its exemplars.

    found: the forms of the tokens of `read`; mean: float32 [neurons], above which activation counts. Memory is that of
    the result and of BLOCK neurons' tokens.
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
        own = np.arange(len(here))
        neuron, cell = np.repeat(own, here.sum(axis=1)), np.repeat(np.arange(here.size), here.ravel())
        values = read.on_tokens[ends[start] : ends[min(start + BLOCK, len(sizes))]].astype(np.float32)
        above = np.maximum(values - mean[start + neuron], 0)
        total = np.bincount(cell, above, here.size)
        counted = np.maximum((total > 0).reshape(here.shape).sum(axis=1), 1)
        weight = (total > 0)[cell] / counted[neuron]
        share = np.divide(above, total[cell], out=np.zeros(len(cell)), where=total[cell] > 0)
        for kept, values in ((shares, share / counted[neuron]), (evens, weight / here.ravel()[cell])):
            kept.append(coo_array((values.astype(np.float32), (neuron, form)), shape=shape).tocsr())
        peak = np.zeros(here.size)
        np.maximum.at(peak, cell, share)
        peaks.append(peak.reshape(here.shape).sum(axis=1) / counted)
    return WordShares(_stacked(shares), _stacked(evens), np.concatenate(peaks).astype(np.float32))


def _stacked(blocks: Sequence[csr_array]) -> csr_array:
    ends = np.cumsum([0, *(block.nnz for block in blocks)])
    bounds = [block.indptr[1:] + end for block, end in zip(blocks, ends[:-1], strict=True)]
    shape = (sum(block.shape[0] for block in blocks), blocks[0].shape[1])
    data, columns = (np.concatenate([getattr(block, part) for block in blocks]) for part in ("data", "indices"))
    return csr_array((data, columns, np.concatenate([[0], *bounds])), shape=shape)


def shuffle_tokens(read: TokenReadings, generator: np.random.Generator) -> TokenReadings:
    """The same sentences with each neuron's values in another order of their tokens: what drives it is lost."""
    cell = np.repeat(np.arange(read.sizes.size), read.sizes.ravel())
    return replace(read, on_tokens=read.on_tokens[np.lexsort((generator.random(len(cell)), cell))])


@dataclass(frozen=True)
class Leading:
    """The columns that carry most in every row: column int64 [rows, count], best first, -1 for none; value float32
    alike, above 0, 0 for none. Ties go to the lower column."""

    column: np.ndarray
    value: np.ndarray


def find_leading(beyond: csr_array, count: int) -> Leading:
    """The `count` best of the columns above 0."""
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
    """The class of every neuron, int8: TOKEN_BOUND where one word carries at least `share` of it beyond its part,
    LEXICAL where its `words` together do, CONTEXTUAL where they do not."""
    one, several = words.value[:, 0] >= share, words.value.sum(axis=1) >= share
    return np.where(one, TOKEN_BOUND, np.where(several, LEXICAL, CONTEXTUAL)).astype(np.int8)


def find_patterns(beyond: csr_array, names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """What words of every neuron have in common, where that carries more than any one of them: `cost-` (a beginning) or
    `-ing` (an ending), "" for none; and what they carry together beyond their part, float32 [neurons]."""
    number: dict[str, int] = {}
    pairs = [
        (form, number.setdefault(pattern, len(number))) for form, name in enumerate(names) for pattern in _parts(name)
    ]
    if not pairs:
        return [""] * beyond.shape[0], np.zeros(beyond.shape[0], np.float32)
    rows, columns = np.array(pairs).T
    member = csr_array((np.ones(len(rows), np.float32), (rows, columns)), shape=(len(names), len(number)))
    best, single = find_leading(beyond @ member, 1), find_leading(beyond, 1).value[:, 0]
    more = best.value[:, 0] > MORE * single
    listed = list(number)
    return (
        [listed[column] if more[row] else "" for row, column in enumerate(best.column[:, 0].tolist())],
        np.where(more, best.value[:, 0], np.float32(0)),
    )


def _parts(name: str) -> list[str]:
    if not name.isalpha() or len(name) < BEGINNING:
        return []
    return [f"{name[:BEGINNING]}-", *([f"-{name[-ENDING:]}"] if len(name) > ENDING + 1 else [])]


@dataclass(frozen=True)
class NeuronTriggers:
    """What drives every neuron of a split: names of the word forms, what they carry beyond their part, the leading
    ones, the neurons' classes, and `Carried.peak`."""

    names: list[str]
    beyond: csr_array
    words: Leading
    classes: np.ndarray
    peak: np.ndarray

    @classmethod
    def of(cls, read: TokenReadings, found: WordForms, mean: np.ndarray, rule: WordRule) -> NeuronTriggers:
        """read, found, mean: as `measure_word_shares` takes them."""
        borne = measure_word_shares(read, found, mean)
        best = find_leading(borne.beyond, rule.words)
        return cls(found.names, borne.beyond, best, classify_neurons(best, rule.share), borne.peak)
