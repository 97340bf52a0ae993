"""Candidate descriptors of single sentences. One module per generator, all behind the protocol `Generator`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

RETRIEVAL = "retrieval"
"""Name of the generator that needs no language model."""
COLUMNS = {"row": "int32", "candidate": "str", "score": "float32", "rank": "int16", "generator": "str"}
"""A table of candidates: the sentence (0-based row of the calibration table), the candidate, its score (comparable
within a generator), its rank in the sentence, from 0, and its generator."""
ANSWERS = {"row": "int32", "generator": "str", "answer": "str"}
"""A table of raw answers: the sentence, the generator, and its answer, verbatim."""

TOKEN = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|[^\w\s]|\d+")
"""A word of a text, with what follows its apostrophe, a sign or a number."""

# Thai, Lao, Myanmar, Khmer, Japanese, Chinese.
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003134f]"
)


@dataclass(frozen=True)
class Proposals:
    """Candidates (COLUMNS), and the raw answers that they were read from (ANSWERS; none without a language model)."""

    candidates: pd.DataFrame
    answers: pd.DataFrame = field(default_factory=lambda: build_answer_table([], [], ""))


class Generator(Protocol):
    """A generator of candidates."""

    def propose(self, sentences: pd.DataFrame) -> Proposals:
        """Propose candidates for `sentences` (at least the columns review_id and text)."""


def build_candidate_table(
    rows: Sequence[int] | np.ndarray,
    candidates: Sequence[str],
    scores: Sequence[float] | np.ndarray,
    ranks: Sequence[int] | np.ndarray,
    generator: str,
) -> pd.DataFrame:
    """Build a table with the columns and types of COLUMNS, ordered by row, then rank."""
    table = pd.DataFrame(
        {"row": rows, "candidate": list(candidates), "score": scores, "rank": ranks, "generator": generator}
    )
    return table.astype(COLUMNS).sort_values(["row", "rank"], kind="stable", ignore_index=True)


def build_answer_table(rows: Sequence[int] | np.ndarray, answers: Sequence[str], generator: str) -> pd.DataFrame:
    """Build a table with the columns and types of ANSWERS."""
    return pd.DataFrame({"row": rows, "generator": generator, "answer": list(answers)}).astype(ANSWERS)


def unite(proposals: Sequence[Proposals]) -> Proposals:
    """Concatenate the proposals of several generators, ordered by row, then rank, then generator.

    A candidate that several generators propose for a sentence is kept once for each of them.
    """
    candidates = pd.concat([proposal.candidates for proposal in proposals], ignore_index=True)
    answers = pd.concat([proposal.answers for proposal in proposals], ignore_index=True)
    return Proposals(
        candidates.sort_values(["row", "rank"], kind="stable", ignore_index=True),
        answers.sort_values("row", kind="stable", ignore_index=True),
    )


def count_unspaced(texts: Iterable[str]) -> int:
    """How many texts are for the most part in a script that puts no blanks between words."""
    return sum(2 * len(_UNSPACED.findall(text)) > sum(map(str.isalpha, text)) for text in texts)


def locate_terms(texts: Sequence[str], terms: Sequence[str]) -> csr_matrix:
    """Locate the terms that stand in each text as whole words in a row, in any case: bool [texts, terms]."""
    places: dict[tuple[str, ...], list[int]] = {}
    for place, term in enumerate(terms):
        places.setdefault(tuple(TOKEN.findall(term.lower())), []).append(place)
    lengths = {len(words) for words in places} - {0}
    rows: list[int] = []
    columns: list[int] = []
    for row, text in enumerate(texts):
        words = TOKEN.findall(text.lower())
        runs = {tuple(words[start : start + n]) for n in lengths for start in range(len(words) - n + 1)}
        present = [place for run in runs & places.keys() for place in places[run]]
        rows += [row] * len(present)
        columns += present
    return csr_matrix((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(len(texts), len(terms)))
