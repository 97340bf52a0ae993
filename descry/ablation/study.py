"""The neurons of every descriptor switched off, beside as many random neurons of the same layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from descry.ablation.effects import (
    Auroc,
    Change,
    LinearProbe,
    compare_changes,
    keep_positives_and_common,
    measure_auroc_loss,
    measure_separation_loss,
    measure_word_loss,
)
from descry.ablation.switching import draw_matched, measure_token_means, represent
from descry.ablation.words import Occurrence, measure_log_probabilities
from descry.assignment import Findings
from descry.models.target import Target
from descry.schemas.ablate import ABLATION_TABLE

LEAST = 20
"""Neurons that a descriptor has, at least, to count in the measures."""


@dataclass(frozen=True)
class Learned:
    """What calibration teaches before anything is switched off: every neuron's mean over tokens, float32 [neurons],
    and the model's final representation of every text, float32 [texts, width]."""

    means: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of(cls, target: Target, texts: Sequence[str], pooling: str, batch_tokens: int) -> Learned:
        """pooling, batch_tokens: as `represent` takes them."""
        means = measure_token_means(target, texts, batch_tokens)
        return cls(means, represent(target, texts, pooling=pooling, batch_tokens=batch_tokens))


@dataclass(frozen=True)
class Sample:
    """Validation's sentences that are looked at: rows int64 [sentences], ascending; common: bool alike, those drawn
    whatever they bear; labels: int8 [sentences, descriptors]; review: int64 [sentences], codes from 0."""

    rows: np.ndarray
    common: np.ndarray
    labels: np.ndarray
    review: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, labels: np.ndarray, reviews: Sequence[str], sentences: int, positives: int) -> Sample:
        """The first `sentences` of the rows are common; of every descriptor, the first `positives` that bear it join.

        rows: int [n], in random order; labels, reviews: of all sentences.
        """
        chosen = set(rows[:sentences].tolist())
        for column in range(labels.shape[1]):
            chosen.update(rows[labels[rows, column] == 1][:positives].tolist())
        kept = np.array(sorted(chosen), dtype=np.int64)
        review = np.unique([reviews[row] for row in kept], return_inverse=True)[1]
        return cls(kept, np.isin(kept, rows[:sentences]), labels[kept], review)

    def around(self, column: int) -> np.ndarray:
        """Places of the common sentences and of those that bear a descriptor: int64."""
        return np.flatnonzero(self.common | (self.labels[:, column] == 1))


@dataclass(frozen=True)
class Words:
    """Where a language model is asked for descriptors' words: the target with its head, the places, what it expects of
    each when no neuron is off, and the reviews of the places, codes int64 from 0."""

    target: Target
    places: Sequence[Occurrence]
    before: np.ndarray
    review: np.ndarray


@dataclass(frozen=True)
class AblationStudy:
    """What is switched off, and what is looked at.

    values: float32 [neurons], what each gives when off; found: on calibration; layer: int [neurons]; texts: of the
    sample's sentences; words: None where the target predicts none.
    """

    target: Target
    values: np.ndarray
    found: Findings
    layer: np.ndarray
    probe: LinearProbe
    sample: Sample
    texts: Sequence[str]
    words: Words | None
    pooling: str
    batch_tokens: int

    def table(self, names: Sequence[str], *, neurons: int, draws: int, seed: int, progress: str = "") -> pd.DataFrame:
        """Every descriptor that a neuron carries: descriptor, assigned (its neurons), neurons (switched off), auroc (of
        its probe, none off), words (places), and `compared` of AUROC, of the separation (`separation_`) and of words
        (`word_`); missing where it cannot be said. progress: the bar's label, "" for none."""
        before = self.scores(np.arange(len(self.texts)))
        rows = []
        generators = np.random.default_rng(seed).spawn(len(names))
        for column in tqdm(range(len(names)), desc=progress, unit="descriptor", disable=not progress):
            own = select_strongest(self.found, column, neurons)
            if not len(own):
                continue
            pool = self.found.described & ~self.found.assigned[:, column]
            sets = [own, *(draw_matched(own, self.layer, pool, one) for one in generators[column].spawn(draws))]
            assigned = int(self.found.assigned[:, column].sum())
            row = {"descriptor": names[column], "assigned": assigned, "neurons": len(own)}
            rows.append(row | self._read_off(before, sets, column) | self._expected(sets, column))
        return pd.DataFrame(rows, columns=list(ABLATION_TABLE.columns))

    def scores(self, places: np.ndarray, off: np.ndarray | None = None) -> np.ndarray:
        """Probe scores of some of the sentences, with some neurons off: float64 [places, descriptors]."""
        vectors = represent(
            self.target,
            [self.texts[place] for place in places],
            pooling=self.pooling,
            batch_tokens=self.batch_tokens,
            off=None if off is None else (off, self.values[off]),
        )
        return self.probe.scores(vectors)

    def _read_off(self, before: np.ndarray, sets: Sequence[np.ndarray], column: int) -> dict[str, float]:
        here = self.sample.around(column)
        labels, common, old = self.sample.labels[here], self.sample.common[here], before[here]
        found = {"auroc": Auroc.of(old[:, column], keep_positives_and_common(common, labels[:, column])).value}
        after = [self.scores(here, off) for off in sets]
        for prefix, lost in (("", measure_auroc_loss), ("separation_", measure_separation_loss)):
            own, *random = (lost(old, new, labels, common, column) for new in after)
            found |= compare_changes(own, Change.mean(random), self.sample.review[here], prefix)
        return found

    def _expected(self, sets: Sequence[np.ndarray], column: int) -> dict[str, float]:
        words = self.words
        nothing = Change(np.nan, np.nan, np.zeros(0))
        if words is None:
            return {"words": 0, **compare_changes(nothing, nothing, np.zeros(0, np.int64), "word_")}
        columns = np.array([place.column for place in words.places], dtype=np.int64)
        options = {"batch_tokens": self.batch_tokens}
        lost = [
            words.before - measure_log_probabilities(words.target, words.places, off=(off, self.values[off]), **options)
            for off in sets
        ]
        changes = [measure_word_loss(one, columns, column) for one in lost]
        told = compare_changes(changes[0], Change.mean(changes[1:]), words.review, "word_")
        return {"words": int((columns == column).sum()), **told}


def select_strongest(found: Findings, column: int, most: int) -> np.ndarray:
    """The neurons of a descriptor with the lowest p, at most so many: int64, ascending."""
    own = np.flatnonzero(found.assigned[:, column])
    return np.sort(own[np.argsort(found.log_p[own, column], kind="stable")[:most]])


PREFIXES = ("", "separation_", "word_")
"""Of the table's columns and of the measures: loss of AUROC, of separation, of words' log-probability."""


def measure_ablation(table: pd.DataFrame, *, seed: int) -> tuple[Mapping[str, Any], dict[str, dict[str, np.ndarray]]]:
    """The measures, under `ablation`, over the descriptors with LEAST neurons, and each null's values of them.

    share_specific: share whose specificity is above that of random neurons; share_clear: share where the whole interval
    is; own_loss, specificity: means; each of AUROC, and of the separation and of words under those prefixes.
    Nulls: `exchangeable_sets` (were a descriptor's neurons no others than random ones, it would be above in one of two
    cases, and clearly so in one of forty), `random_neurons`.
    """
    chosen = table[table["assigned"] >= LEAST]
    generator = np.random.default_rng(seed)
    found: dict[str, Any] = {}
    chance: dict[str, dict[str, np.ndarray]] = {"exchangeable_sets": {}, "random_neurons": {}}
    for prefix in PREFIXES:
        own = chosen.dropna(subset=f"{prefix}above")
        if own.empty:
            continue
        for name, column, expected in (("share_specific", "above", 0.5), ("share_clear", "above_low", 0.025)):
            found[f"{prefix}{name}"] = float((own[f"{prefix}{column}"] > 0).mean())
            drawn = generator.binomial(len(own), expected, 1000) / len(own)
            chance["exchangeable_sets"][f"ablation.{prefix}{name}"] = drawn
        for name, column, random in (("own_loss", "own", "random_own"), ("specificity", "specificity", "random")):
            found[f"{prefix}{name}"] = float(own[f"{prefix}{column}"].mean())
            chance["random_neurons"][f"ablation.{prefix}{name}"] = np.array([own[f"{prefix}{random}"].mean()])
    return {"ablation": found}, chance
