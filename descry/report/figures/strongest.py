"""The strongest units of the best descriptors, each with its strongest sentences of validation, shaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from descry.report.content import Content, tabulate_pairs
from descry.report.shading import Piece, compute_levels, find_peaks, list_spans, split_sentence
from descry.splits import REPLICATES

UNITS = 6
"""Units that are shown."""
SENTENCES = 2
"""Sentences shown of each."""
LONGEST = 92
"""Characters of a sentence that are shown."""


class Sentence(NamedTuple):
    """A sentence in pieces, and its label for the unit's descriptor: 1, 0, or -1 where it is missing."""

    pieces: Sequence[Piece]
    label: int


class Unit(NamedTuple):
    """A unit with one of its descriptors, and how they are associated on validation.

    address: layer:index; correlation, low, high: of activation and label, with its 95 % interval.
    """

    address: str
    descriptor: str
    correlation: float
    low: float
    high: float
    sentences: Sequence[Sentence]


def rank_pairs(pairs: pd.DataFrame) -> pd.DataFrame:
    """Each descriptor's clearest pair that replicates, the clearest descriptor first, no unit twice.

    Clearest is the highest lower end of the correlation's 95 % interval on validation, so that a rare descriptor is not
    first by luck; ties keep their order. pairs: of `tabulate_pairs`.
    """
    kept = pairs[(pairs["validation_p"] <= REPLICATES) & (pairs["pearson_low"] > 0)]
    order = kept.sort_values("pearson_low", ascending=False, kind="stable")
    chosen, columns, neurons = [], set(), set()
    for place, column, neuron in zip(order.index, order["column"], order["neuron"], strict=True):
        if column not in columns and neuron not in neurons:
            chosen.append(place)
            columns.add(column)
            neurons.add(neuron)
    return pairs.loc[chosen]


def list_sentences(run: Content, neuron: int, column: int, peak: float) -> list[Sentence]:
    """A neuron's strongest sentences of validation, shaded. column: of the descriptor; peak: of the neuron."""
    split = run.validation
    sizes = split.read.sizes
    start = int(sizes[:neuron].sum())
    sentences = []
    for row, size in zip(split.read.exemplars[neuron, :SENTENCES].tolist(), sizes[neuron].tolist(), strict=False):
        values = split.read.on_tokens[start : start + size]
        start += size
        if row >= 0:
            (spans,) = list_spans(split, np.array([row]))
            levels = compute_levels(values, run.calibration.mean[[neuron]], np.array([peak], dtype=np.float32))
            pieces = split_sentence(str(split.sentences["text"].iloc[row]), spans, levels, LONGEST)
            sentences.append(Sentence(pieces, int(split.labels[row, column])))
    return sentences


def select_strongest(run: Content) -> list[Unit]:
    """The units of the first UNITS pairs of `rank_pairs`; empty where no pair replicates."""
    peaks = np.maximum(find_peaks(run.calibration), find_peaks(run.validation))
    units = []
    for pair in rank_pairs(tabulate_pairs(run)).head(UNITS).to_dict("records"):
        neuron, column = int(pair["neuron"]), int(pair["column"])
        units.append(
            Unit(
                address=f"{run.layer[neuron]}:{run.index[neuron]}",
                descriptor=run.names[column],
                correlation=float(pair["pearson"]),
                low=float(pair["pearson_low"]),
                high=float(pair["pearson_high"]),
                sentences=list_sentences(run, neuron, column, float(peaks[neuron])),
            )
        )
    return units
