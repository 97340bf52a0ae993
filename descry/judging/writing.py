"""Descriptions that a language model writes of units and descriptors, and the choice among them on sentences that it
was not shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from descry.activations.record import Activations
from descry.embedding.vectors import Encoder
from descry.errors import InputError
from descry.judging.fit import SimilarityFitter
from descry.judging.scores import Layer, compute_auroc
from descry.llm.answers import unwrap
from descry.llm.asking import ask
from descry.llm.cache import AnswerCache
from descry.llm.client import Answer, Client, Failure, Request
from descry.llm.prompts import Prompt, quote
from descry.schemas.describe import GLOSS_TABLE
from descry.vocabulary.echoes import drop_echoes
from descry.vocabulary.prompted import drop_cut_part

FIELDS = ("sentences", "others")
"""Fields of the prompt, prompts/describe.txt."""
COMPLETED_FIELDS = ("sentences",)
"""Fields of the prompt that is completed, prompts/describe_complete.txt: a small model takes the others for more."""
LONGEST = 200
"""Most characters of a description; a longer answer is cut at the end of a part or word."""
MAX_FAILED = 0.01
"""Share of the prompts that may stay without an answer, at most."""
_EDGES = " \t.,;:!?\"'`“”‘’*_#-–—"
_PARTS = re.compile(r"\s*[,;]\s*")


class Ranking(NamedTuple):
    """Calibration's sentences as a unit ranks them, or a descriptor.

    strongest: rows, the strongest first; rows: of the probe; values: float32 there, NaN if unknown; fires: bool there.
    """

    strongest: np.ndarray
    rows: np.ndarray
    values: np.ndarray
    fires: np.ndarray


def rank_by_activation(active: Activations, units: Sequence[int] | np.ndarray, most: int) -> list[Ranking]:
    """Rank sentences by the activation of some units, positions in calibration's record. most: of the strongest."""
    rankings = []
    for unit, strongest in zip(units, active.exemplars(most)[units], strict=True):
        values = active.probe[:, unit].astype(np.float32)
        rankings.append(Ranking(strongest[strongest >= 0], active.probe_rows, values, Layer(values[None]).fires[0]))
    return rankings


def rank_by_score(labels: np.ndarray, scores: np.ndarray, probe_rows: np.ndarray) -> list[Ranking]:
    """Rank sentences by how clearly they have each descriptor. labels int8 and scores float32 [sentences, descriptors],
    of calibration; probe_rows: see `Ranking`."""
    rankings = []
    for label, score in zip(labels.T, scores.T, strict=True):
        holds = np.flatnonzero(label == 1)
        strongest = holds[np.argsort(-score[holds], kind="stable")]
        values = np.where(label < 0, np.nan, score)[probe_rows]
        rankings.append(Ranking(strongest, probe_rows, values, label[probe_rows] == 1))
    return rankings


class Shown(NamedTuple):
    """The sentences of a prompt, as rows of calibration: the strongest, and those that almost are."""

    strongest: np.ndarray
    others: np.ndarray


def select_shown(ranking: Ranking, candidates: int, exemplars: int) -> list[Shown]:
    """Select the sentences of each candidate's prompt, at most `exemplars` of either kind.

    Candidates share none: each has every `candidates`-th of the strongest sentences, and of those of the probe that
    come next after the sentences that fire. A candidate without strongest sentences is left out.
    """
    strongest = ranking.strongest[: candidates * exemplars]
    order = np.argsort(-ranking.values, kind="stable")  # noqa: PD011 - no DataFrame
    silent = order[~(ranking.fires | np.isnan(ranking.values))[order]]
    next_rows = ranking.rows[silent]
    others = next_rows[~np.isin(next_rows, strongest)][: candidates * exemplars]
    shown = (Shown(strongest[start::candidates], others[start::candidates]) for start in range(candidates))
    return [one for one in shown if len(one.strongest)]


@dataclass(frozen=True)
class Writer:
    """A language model that describes units and descriptors.

    prompt: with FIELDS or COMPLETED_FIELDS. candidates: descriptions of one, each of other sentences. exemplars: see
    `select_shown`. max_tokens: most tokens of an answer.
    """

    client: Client
    cache: AnswerCache
    prompt: Prompt
    candidates: int
    exemplars: int
    max_tokens: int

    @property
    def most(self) -> int:
        """How many of the strongest sentences the prompts of a ranking show."""
        return self.candidates * self.exemplars

    def describe(
        self, rankings: Sequence[Ranking], texts: Sequence[str], descriptors: Sequence[str], encoder: Encoder
    ) -> pd.DataFrame:
        """Describe what some rankings, of the same probe, have in common: a row for each that any candidate is left of,
        by its position.

        texts: calibration's sentences; descriptors: each ranking's own, which is scored but never kept. Columns:
        description (of the candidates, the one with the highest AUROC of fit and firing on the sentences of the probe
        that no prompt of the ranking shows), auroc, descriptor, descriptor_auroc, candidates, candidate_aurocs (highest
        first; NaN where no such sentence fires). Errors: InputError if the share of prompts without an answer is above
        MAX_FAILED.
        """
        shown = [select_shown(ranking, self.candidates, self.exemplars) for ranking in rankings]
        candidates = self._write([[self._quote(one, texts) for one in of_one] for of_one in shown])
        known = [*(text for of_one in candidates for text in of_one), *descriptors]
        probe_rows = rankings[0].rows if rankings else np.zeros(0, dtype=np.int64)
        fitter = SimilarityFitter(encoder, [texts[row] for row in probe_rows.tolist()], known)
        rows = {}
        for place, (of_one, prompts, descriptor) in enumerate(zip(candidates, shown, descriptors, strict=True)):
            if of_one:
                ranking = rankings[place]
                hidden = ~np.isin(probe_rows, np.concatenate([part for one in prompts for part in one]))
                hidden &= ~np.isnan(ranking.values)
                aurocs = _score(fitter.fit([*of_one, descriptor])[:, hidden], ranking.fires[hidden])
                best = np.argsort(-np.nan_to_num(aurocs[:-1]), kind="stable")
                ordered, scores = [of_one[number] for number in best], aurocs[best]
                rows[place] = ordered[0], scores[0], descriptor, aurocs[-1], ordered, scores
        return pd.DataFrame.from_dict(rows, orient="index", columns=list(GLOSS_TABLE.columns))

    def _quote(self, shown: Shown, texts: Sequence[str]) -> tuple[list[str], list[str]]:
        strongest, others = ([quote(texts[row]) for row in rows] for rows in shown)
        return strongest, others

    def _write(self, shown: Sequence[Sequence[tuple[list[str], list[str]]]]) -> list[list[str]]:
        """The candidates of every unit, each once; answers that say nothing of their own are left out."""
        prompts = [prompt for of_one in shown for prompt in of_one]
        requests = [Request(self._fill(*prompt), self.max_tokens) for prompt in prompts]
        answers = ask(self.client, requests, self.cache, "describe")
        lost = [answer.reason for answer in answers if isinstance(answer, Failure)]
        if len(lost) > MAX_FAILED * len(answers):
            raise InputError(
                f"describe: {self.client.name} leaves {len(lost):,} of {len(answers):,} prompts unanswered ({lost[0]})"
                "; answers are kept: run the same command again to go on, or choose another model"
            )
        read = [read_description(answer) if isinstance(answer, Answer) else "" for answer in answers]
        kept = self._drop_echoes(read, [[*strongest, *others] for strongest, others in prompts])
        if left := sum(not text for text in kept) - len(lost):
            print(f"describe: {left:,} of {len(kept):,} answers repeat their prompt or say nothing, and are left out")
        texts = iter(kept)
        return [list(dict.fromkeys(filter(None, [next(texts) for _ in of_one]))) for of_one in shown]

    def _fill(self, strongest: Sequence[str], others: Sequence[str]) -> str:
        return self.prompt.fill(sentences=_list(strongest), others=_list(others))

    def _drop_echoes(self, read: Sequence[str], shown: Sequence[Sequence[str]]) -> list[str]:
        """The descriptions, "" for one that is copied out of the prompt's own text or repeats a sentence."""
        phrases = [[text] if text else [] for text in read]
        kept = drop_echoes(phrases, read, [" ".join(sentences) for sentences in shown], self.prompt.text, 0)
        return [
            text[0] if text and not _repeats(text[0], sentences) else ""
            for text, sentences in zip(kept, shown, strict=True)
        ]


def _repeats(text: str, sentences: Sequence[str]) -> bool:
    """Whether a description repeats most of one of the sentences."""
    return [] in drop_echoes([[text]] * len(sentences), [text] * len(sentences), sentences, "", 0)


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def read_description(answer: Answer) -> str:
    """Read the description in an answer: its first line without marks around it, each part (between commas) once,
    without a last part that was cut off, unless it is the only one; at most LONGEST characters; "" if there is none. A
    small model repeats parts until it is cut off."""
    said = drop_cut_part(answer)
    lines = [line.strip(_EDGES) for line in unwrap(said if said.strip(_EDGES) else answer.text).splitlines()]
    line = next((line for line in lines if any(map(str.isalpha, line))), "")
    parts = (part.strip(_EDGES) for part in _PARTS.split(" ".join(line.split())))
    text = ", ".join(dict.fromkeys(filter(None, parts)))
    return text if len(text) <= LONGEST else text[: LONGEST + 1].rpartition(" ")[0].strip(_EDGES)


def _score(fits: np.ndarray, fires: np.ndarray) -> np.ndarray:
    """The AUROC of each text's fit for where a unit fires: float64 [texts]; NaN if it fires nowhere, or everywhere.
    fits: [texts, sentences]; fires: bool [sentences]."""
    if fires.all() or not fires.any():
        return np.full(len(fits), np.nan)
    return np.asarray(compute_auroc(fits, fires[None])[:, 0])
