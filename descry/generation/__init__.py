"""Candidate descriptors of single sentences: one module a way, one protocol, one kind of table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pandas as pd

COLUMNS = {"row": "int32", "candidate": "str", "score": "float32", "rank": "int16", "generator": "str"}
"""A table of candidates: the sentence (0-based row of the calibration table), the candidate, how strongly it
applies (comparable within a generator), its rank in the sentence from 0, and who named it."""


class Generator(Protocol):
    """A way to name candidates."""

    def candidates(self, sentences: pd.DataFrame) -> pd.DataFrame:
        """The table described by COLUMNS for `sentences` (columns review_id and text at least)."""


def candidate_table(
    rows: Sequence[int] | np.ndarray,
    candidates: Sequence[str],
    scores: Sequence[float] | np.ndarray,
    ranks: Sequence[int] | np.ndarray,
    generator: str,
) -> pd.DataFrame:
    """The columns as one table with the types of COLUMNS, ordered by row, then rank."""
    table = pd.DataFrame(
        {"row": rows, "candidate": list(candidates), "score": scores, "rank": ranks, "generator": generator}
    )
    return table.astype(COLUMNS).sort_values(["row", "rank"], kind="stable", ignore_index=True)
