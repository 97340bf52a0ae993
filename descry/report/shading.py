"""Sentences shaded token by token: how strongly a neuron is active on each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from descry.report.content import SplitContent

LEVELS = 9
"""Levels of shading, from 1; 0 is none."""


class Piece(NamedTuple):
    """A piece of a sentence with its level of shading; strongest: whether no other has a higher one."""

    text: str
    level: int = 0
    strongest: bool = False


def find_peaks(split: SplitContent) -> np.ndarray:
    """Each neuron's highest value on a token of its exemplars: float32 [neurons], -inf without any token."""
    sizes = split.read.sizes.sum(axis=1)
    starts = np.cumsum(sizes) - sizes
    peaks = np.full(len(sizes), -np.inf, dtype=np.float32)
    some = np.flatnonzero(sizes)
    if len(some):
        peaks[some] = np.maximum.reduceat(split.read.on_tokens.astype(np.float32), starts[some])
    return peaks


def compute_levels(values: np.ndarray, mean: np.ndarray, peak: np.ndarray) -> np.ndarray:
    """uint8, each value as a level from 0 (the neuron's mean over sentences, or below) to LEVELS (its peak).

    mean, peak: of the neuron of each value.
    """
    height = np.where(peak > mean, peak - mean, np.inf)
    scaled = (values.astype(np.float32) - mean) / height
    return np.asarray(np.rint(LEVELS * np.clip(scaled, 0, 1)).astype(np.uint8))


def list_spans(split: SplitContent, rows: np.ndarray) -> list[np.ndarray]:
    """Where the tokens of each of these rows lie: int [tokens, 2], first character and the one after the last; empty
    for a row that was not read."""
    read, firsts = split.read, split.read.firsts
    spans = np.stack([read.start, read.stop], axis=1)
    return [
        spans[firsts[place] : firsts[place] + read.lengths[place]] if known else spans[:0]
        for place, known in zip(np.searchsorted(read.rows, rows), np.isin(rows, read.rows), strict=True)
    ]


def split_sentence(text: str, spans: np.ndarray, levels: np.ndarray, longest: int) -> Sequence[Piece]:
    """The pieces of a sentence, an excerpt around its strongest token where it has more than `longest` characters.

    spans: int [tokens, 2], first character and the one after the last, both 0 for a token without a place; levels: int
    [tokens]. The app's `Shaded` does the same for whole sentences.
    """
    strongest = int(levels.max(initial=0))
    middle = int(spans[np.argmax(levels)].sum()) // 2 if strongest else 0
    first, last = choose_excerpt(text, middle, longest)
    pieces = [Piece("…")] if first else []
    place = first
    for (start, stop), level in zip(spans.tolist(), levels.tolist(), strict=True):
        start, stop = max(start, place), min(stop, last)
        if level == 0 or stop <= start:
            continue
        if start > place:
            pieces.append(Piece(text[place:start]))
        pieces.append(Piece(text[start:stop], level, level == strongest))
        place = stop
    if place < last:
        pieces.append(Piece(text[place:last]))
    return [*pieces, Piece("…")] if last < len(text) else pieces


def choose_excerpt(text: str, middle: int, longest: int) -> tuple[int, int]:
    """Where an excerpt of about `longest` characters around a place starts and ends: between words where it can."""
    if len(text) <= longest:
        return 0, len(text)
    first = min(max(middle - longest // 2, 0), len(text) - longest)
    last = first + longest
    if first:
        first = text.find(" ", first, max(middle, first)) + 1 or first
    if last < len(text):
        blank = text.rfind(" ", middle, last)
        last = blank if blank > 0 else last
    return first, last
