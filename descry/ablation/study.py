"""Switch off the neurons of every descriptor, and for comparison as many random neurons of the same layers."""

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
from descry.ablation.switching import draw_matched, learn, represent
from descry.ablation.words import Occurrence, measure_log_probabilities
from descry.assignment.rules import Findings
from descry.models.target import Target
from descry.schemas.ablate import ABLATION_TABLE

LEAST = 20
"""The fewest neurons of a descriptor that counts in the measures."""


@dataclass(frozen=True)
class Learned:
    """Learned on calibration with no neuron off: every neuron's mean over tokens, float32 [neurons], and the model's
    final representation of every text, float32 [texts, width]."""

    means: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of(cls, target: Target, texts: Sequence[str], pooling: str, batch_tokens: int) -> Learned:
        """Run the target over the texts once. pooling, batch_tokens: see `represent`."""
        return cls(*learn(target, texts, pooling=pooling, batch_tokens=batch_tokens))


@dataclass(frozen=True)
class Sample:
    """The validation sentences of the study: rows int64 [sentences], ascending; common: bool [sentences], those drawn
    regardless of their labels; labels: int8 [sentences, descriptors]; review: int64 [sentences], codes from 0."""

    rows: np.ndarray
    common: np.ndarray
    labels: np.ndarray
    review: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, labels: np.ndarray, reviews: Sequence[str], sentences: int, positives: int) -> Sample:
        """Take the first `sentences` rows as common, and add the first `positives` positive rows of every descriptor.

        rows: int [n], in random order; labels, reviews: of all sentences.
        """
        chosen = set(rows[:sentences].tolist())
        for column in range(labels.shape[1]):
            chosen.update(rows[labels[rows, column] == 1][:positives].tolist())
        kept = np.array(sorted(chosen), dtype=np.int64)
        review = np.unique([reviews[row] for row in kept], return_inverse=True)[1]
        return cls(kept, np.isin(kept, rows[:sentences]), labels[kept], review)

    def select(self, column: int) -> np.ndarray:
        """Positions of the common sentences and of the positives of a descriptor: int64."""
        return np.flatnonzero(self.common | (self.labels[:, column] == 1))


@dataclass(frozen=True)
class Words:
    """The descriptors' words that are predicted: the target with its head, the occurrences (places), their
    log-probabilities with no neuron off, float64 [occurrences], and their reviews, int64 codes from 0."""

    target: Target
    places: Sequence[Occurrence]
    before: np.ndarray
    review: np.ndarray


@dataclass(frozen=True)
class AblationStudy:
    """What is switched off, and on what the effect is measured.

    values: float32 [neurons], the constant of each when off; found: assignments on calibration; layer: int [neurons];
    texts: of the sample's sentences; words: None if the target predicts no words.
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
        """One row for every assigned descriptor: descriptor, assigned (its neurons), neurons (those switched off),
        auroc (of its probe, none off), words (occurrences), and the results of `compare_changes` for AUROC, for
        separation (prefix `separation_`) and for words (`word_`), missing where undefined.

        neurons: at most so many, lowest p first; draws: random sets; progress: label of the progress bar, "" for none.
        """
        before = self.scores(np.arange(len(self.texts)))
        rows = []
        generators = np.random.default_rng(seed).spawn(len(names))
        for column in tqdm(range(len(names)), desc=progress, unit="descriptor", disable=not progress):
            own = select_strongest(self.found, column, neurons)
            if not len(own):
                continue
            pool = self.found.described & ~self.found.assigned[:, column]
            sets = [own, *(draw_matched(own, self.layer, pool, child) for child in generators[column].spawn(draws))]
            assigned = int(self.found.assigned[:, column].sum())
            row = {"descriptor": names[column], "assigned": assigned, "neurons": len(own)}
            rows.append(row | self._measure_probes(before, sets, column) | self._measure_words(sets, column))
        return pd.DataFrame(rows, columns=list(ABLATION_TABLE.columns))

    def scores(self, places: np.ndarray, off: np.ndarray | None = None) -> np.ndarray:
        """Probe scores of some sentences of the sample, with some neurons off: float64 [places, descriptors]."""
        vectors = represent(
            self.target,
            [self.texts[place] for place in places],
            pooling=self.pooling,
            batch_tokens=self.batch_tokens,
            off=None if off is None else (off, self.values[off]),
        )
        return self.probe.scores(vectors)

    def _measure_probes(self, before: np.ndarray, sets: Sequence[np.ndarray], column: int) -> dict[str, float]:
        here = self.sample.select(column)
        labels, common, old = self.sample.labels[here], self.sample.common[here], before[here]
        measures = {"auroc": Auroc.of(old[:, column], keep_positives_and_common(common, labels[:, column])).value}
        after = [self.scores(here, off) for off in sets]
        for prefix, measure_loss in (("", measure_auroc_loss), ("separation_", measure_separation_loss)):
            own, *random = (measure_loss(old, new, labels, common, column) for new in after)
            measures |= compare_changes(own, Change.mean(random), self.sample.review[here], prefix)
        return measures

    def _measure_words(self, sets: Sequence[np.ndarray], column: int) -> dict[str, float]:
        """On the descriptor's own words, and on the others' in common sentences."""
        words = self.words
        undefined = Change(np.nan, np.nan, np.zeros(0))
        if words is None:
            return {"words": 0, **compare_changes(undefined, undefined, np.zeros(0, np.int64), "word_")}
        columns = np.array([place.column for place in words.places], dtype=np.int64)
        common = self.sample.common[np.array([place.text for place in words.places], dtype=np.int64)]
        here = np.flatnonzero(common | (columns == column))
        places = [words.places[at] for at in here.tolist()]
        options = {"batch_tokens": self.batch_tokens}
        lost = [
            words.before[here] - measure_log_probabilities(words.target, places, off=(off, self.values[off]), **options)
            for off in sets
        ]
        changes = [measure_word_loss(loss, columns[here], column) for loss in lost]
        compared = compare_changes(changes[0], Change.mean(changes[1:]), words.review[here], "word_")
        return {"words": int((columns == column).sum()), **compared}


def select_strongest(found: Findings, column: int, most: int) -> np.ndarray:
    """The at most `most` neurons of a descriptor with the lowest p: int64, ascending."""
    own = np.flatnonzero(found.assigned[:, column])
    return np.sort(own[np.argsort(found.log_p[own, column], kind="stable")[:most]])


PREFIXES = ("", "separation_", "word_")
"""Prefixes of columns and measures: loss of AUROC, of separation, of the log-probability of words."""


def measure_ablation(table: pd.DataFrame, *, seed: int) -> tuple[Mapping[str, Any], dict[str, dict[str, np.ndarray]]]:
    """The measures, under `ablation`, over descriptors with at least LEAST neurons, and their values under each null.

    share_specific: share of descriptors with a higher specificity than random neurons; share_clear: share for which the
    whole interval of the difference is above 0; own_loss, specificity: means. Each for AUROC, and with a prefix for the
    separation and for words.
    Nulls: `exchangeable_sets` (if a descriptor's neurons were random ones, the difference would be above 0 with
    probability 1/2 and its interval with 1/40), `random_neurons` (the means of random neurons).
    """
    chosen = table[table["assigned"] >= LEAST]
    generator = np.random.default_rng(seed)
    measures: dict[str, Any] = {}
    chance: dict[str, dict[str, np.ndarray]] = {"exchangeable_sets": {}, "random_neurons": {}}
    for prefix in PREFIXES:
        measured = chosen.dropna(subset=f"{prefix}above")
        if measured.empty:
            continue
        for name, column, expected in (("share_specific", "above", 0.5), ("share_clear", "above_low", 0.025)):
            measures[f"{prefix}{name}"] = float((measured[f"{prefix}{column}"] > 0).mean())
            drawn = generator.binomial(len(measured), expected, 1000) / len(measured)
            chance["exchangeable_sets"][f"ablation.{prefix}{name}"] = drawn
        for name, column, random in (("own_loss", "own", "random_own"), ("specificity", "specificity", "random")):
            measures[f"{prefix}{name}"] = float(measured[f"{prefix}{column}"].mean())
            chance["random_neurons"][f"ablation.{prefix}{name}"] = np.array([measured[f"{prefix}{random}"].mean()])
    return {"ablation": measures}, chance
