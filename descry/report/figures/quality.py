"""How good the labels are against gold aspects: aspect by aspect, and the confusion of aspects and descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

SHOWN = 40
"""Aspects in the table of confusion, at most."""


class Aspect(NamedTuple):
    """A gold aspect on validation, with the descriptor that matched it best on calibration.

    precision: average precision of that descriptor's scores; chance: the aspect's own share of the sentences.
    """

    name: str
    descriptor: str
    precision: float
    chance: float
    f1: float
    prevalence: float
    sentences: int


class Cell(NamedTuple):
    """Sentences of an aspect that bear a descriptor; share: of the row; best: whether it matches the aspect best."""

    sentences: int
    share: float
    best: bool


class Confusion(NamedTuple):
    """Aspects x descriptors: columns are the descriptors that match some aspect best, then all others together,
    then none; rows: an aspect's name and cells, the last one those of no aspect (an empty name)."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]
    more: int


def list_aspect_rows(table: pd.DataFrame) -> list[Aspect]:
    """The rows of the table of aspects, in its order."""
    return [
        Aspect(
            name=str(row["aspect"]),
            descriptor=str(row["descriptor"]),
            precision=float(row["average_precision"]),
            chance=float(row["chance"]),
            f1=float(row["f1"]),
            prevalence=float(row["prevalence"]),
            sentences=int(row["sentences"]),
        )
        for row in table.to_dict("records")
    ]


def arrange_confusion(counts: pd.DataFrame, matched: Sequence[Aspect]) -> Confusion | None:
    """The sentences of every aspect by their descriptors; None without aspects. counts: the table of confusion."""
    if not matched:
        return None
    numbered: dict[str, dict[str, int]] = {}
    for aspect, descriptor, number in counts[["aspect", "descriptor", "sentences"]].itertuples(index=False):
        numbered.setdefault(str(aspect), {})[str(descriptor)] = int(number)
    top = matched[:SHOWN]
    best = list(dict.fromkeys(aspect.descriptor for aspect in top))
    matches = {aspect.name: aspect.descriptor for aspect in top} | {"": None}
    rows = []
    for name, descriptor in matches.items():
        row = numbered.get(name, {})
        seen = [row.get(column, 0) for column in best]
        numbers = [*seen, sum(row.values()) - sum(seen) - row.get("", 0), row.get("", 0)]
        shares = np.array(numbers) / max(sum(numbers), 1)
        marks = [column == descriptor for column in best] + [False, False]
        rows.append((name, [Cell(*cell) for cell in zip(numbers, shares.tolist(), marks, strict=True)]))
    return Confusion(best, rows, len(matched) - len(top))
