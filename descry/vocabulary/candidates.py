"""Candidate descriptors of single sentences: one module a way, one protocol, one kind of table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pandas as pd

RETRIEVAL = "retrieval"
"""The generator that is no language model."""
COLUMNS = {"row": "int32", "candidate": "str", "score": "float32", "rank": "int16", "generator": "str"}
"""A table of candidates: the sentence (0-based row of the calibration table), the candidate, how strongly it
applies (comparable within a generator), its rank in the sentence from 0, and who named it."""
ANSWERS = {"row": "int32", "generator": "str", "answer": "str"}
"""A table of raw answers: the sentence, who answered, and what, word for word."""


@dataclass(frozen=True)
class Proposals:
    """Candidates (COLUMNS), and the raw answers that they were read from (ANSWERS; none where nobody was asked)."""

    candidates: pd.DataFrame
    answers: pd.DataFrame = field(default_factory=lambda: build_answer_table([], [], ""))


class Generator(Protocol):
    """A way to name candidates."""

    def propose(self, sentences: pd.DataFrame) -> Proposals:
        """Candidates of `sentences` (columns review_id and text at least)."""


def build_candidate_table(
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


def build_answer_table(rows: Sequence[int] | np.ndarray, answers: Sequence[str], generator: str) -> pd.DataFrame:
    """The columns as one table with the types of ANSWERS."""
    return pd.DataFrame({"row": rows, "generator": generator, "answer": list(answers)}).astype(ANSWERS)


def unite(proposals: Sequence[Proposals]) -> Proposals:
    """All proposals: a candidate that several generators named of a sentence stands once for each of them.

    Ordered by row, then rank, then by the order of the generators.
    """
    candidates = pd.concat([one.candidates for one in proposals], ignore_index=True)
    answers = pd.concat([one.answers for one in proposals], ignore_index=True)
    return Proposals(
        candidates.sort_values(["row", "rank"], kind="stable", ignore_index=True),
        answers.sort_values("row", kind="stable", ignore_index=True),
    )
