"""What the report shows, picked out of a run's tables and arrays; no HTML, no drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from descry.activations.neighbours import Neighbours
from descry.activations.token_words import TokenReadings
from descry.assignment.rules import Rule
from descry.report.measures import Score, collect_scores
from descry.results.noise import select_stds, summarise_splits
from descry.splits import Pair

ASSOCIATIONS = ("pearson", "auprc")
"""Measures of how strongly a neuron and a descriptor are associated that the page shows."""


@dataclass(frozen=True)
class SplitContent:
    """One split.

    sentences: columns review_id, product, text, one row a sentence; labels: int8 [sentences, descriptors], 1,
    0 or -1 (missing); rows int32 and activations float32 [neurons, exemplars]: the sentences of each
    neuron's exemplar set and its values on them, strongest first; mean: float32 [neurons]; probe: float16 [sampled,
    neurons], its values on a sample of the sentences; read: its strongest sentences token by token; pairs: the
    assignments table.
    """

    sentences: pd.DataFrame
    labels: np.ndarray
    rows: np.ndarray
    activations: np.ndarray
    mean: np.ndarray
    probe: np.ndarray
    read: TokenReadings
    pairs: pd.DataFrame

    @cached_property
    def positives(self) -> np.ndarray:
        """int64 [descriptors]: sentences that bear each."""
        return np.asarray((self.labels == 1).sum(axis=0))

    @cached_property
    def population(self) -> np.ndarray:
        """int64 [descriptors]: sentences whose label is not missing."""
        return np.asarray((self.labels >= 0).sum(axis=0))

    @property
    def prevalence(self) -> np.ndarray:
        """float64 [descriptors]: share of the known sentences that bear each."""
        return np.asarray(self.positives / np.maximum(self.population, 1))


class Guess(NamedTuple):
    """A descriptor that a sentence's neurons vote for.

    column: of the labels; probability: by the vote; prevalence: share of calibration's sentences that bear it;
    tokens: what each token adds; neurons: (position, z, contribution) of those with the largest contributions.
    """

    column: int
    probability: float
    prevalence: float
    tokens: Sequence[float]
    neurons: Sequence[tuple[int, float, float]]


class Explained(NamedTuple):
    """A sentence, its tokens' places (first character, character after the last), its gold aspects, and the best
    guesses."""

    text: str
    spans: Sequence[tuple[int, int]]
    aspects: Sequence[str]
    guesses: Sequence[Guess]


class AssignedPairs(NamedTuple):
    """Assigned pairs of each split."""

    calibration: pd.DataFrame
    validation: pd.DataFrame


@dataclass(frozen=True)
class NegativeEnd:
    """The neurons' negative ends.

    pairs: assigned on calibration, with what validation says of them, by layer, index and rank; rows int32 and
    activations float32 [neurons, exemplars] of each split: the sentences on which a neuron is most negative, -1 for
    none, and its values there.
    """

    pairs: pd.DataFrame
    rows: Pair[np.ndarray]
    activations: Pair[np.ndarray]


@dataclass(frozen=True)
class Beyond:
    """What the analyses beyond the paper wrote: tables of descry.schemas, each without rows where its stage is switched
    off.

    triggers, writes: a row a neuron; relations, relations_validation: of calibration's and of validation's descriptors;
    cofiring, depth, transfer, ablation: a row a descriptor; transfer_pairs, written_pairs: a row a pair; negative: None
    where the run has no negative ends; judged: a row a description of a neuron in free text; glosses: of a descriptor;
    measures: of all of them.
    """

    triggers: pd.DataFrame
    relations: pd.DataFrame
    relations_validation: pd.DataFrame
    cofiring: pd.DataFrame
    depth: pd.DataFrame
    transfer: pd.DataFrame
    transfer_pairs: pd.DataFrame
    ablation: pd.DataFrame
    writes: pd.DataFrame
    written_pairs: pd.DataFrame
    negative: NegativeEnd | None
    judged: pd.DataFrame
    glosses: pd.DataFrame
    measures: pd.DataFrame


@dataclass(frozen=True)
class Content:
    """A finished run, as the report needs it.

    layer, index: int [neurons], in order of layer, then index; descriptors: {name, members} in the order of
    the labels' columns; examples: int [descriptors, n], rows of calibration that show each, -1 for none;
    neighbours: of every neuron; explained: sentences drawn at random, as
    `descry explain` explains them; consistency, evaluation (measures), p_values, resplits, sweeps, associations,
    aspects, confusion: tables of descry.schemas; agreement: of the first labeller with the language model that taught
    it, empty where none did; rule: by which descriptors are assigned; target: the model's name; pooling: of a neuron's
    values over a sentence; units: what the neurons are, in words, or empty; labellers: the first, whose labels describe
    the neurons, and the second; encoder_is_target: whether the encoder's weights are the target's.
    """

    layer: np.ndarray
    index: np.ndarray
    descriptors: Sequence[Mapping[str, Any]]
    calibration: SplitContent
    validation: SplitContent
    examples: np.ndarray
    neighbours: Neighbours
    explained: Sequence[Explained]
    consistency: pd.DataFrame
    evaluation: pd.DataFrame
    p_values: pd.DataFrame
    resplits: pd.DataFrame
    sweeps: pd.DataFrame
    associations: pd.DataFrame
    aspects: pd.DataFrame
    confusion: pd.DataFrame
    agreement: pd.DataFrame
    beyond: Beyond
    rule: Rule
    target: str
    pooling: str
    units: str
    labellers: tuple[str, str]
    encoder_is_target: bool

    @cached_property
    def scores(self) -> dict[str, Score]:
        """Every measure, by its dotted name."""
        tables = pd.concat([self.consistency, self.evaluation, self.beyond.measures])
        return collect_scores(tables, select_stds(summarise_splits(self.resplits)))

    @property
    def reference(self) -> str:
        """What sentences are measured against: gold aspects where there are any, the labels otherwise."""
        gold = any(name.startswith("sentence.gold.") for name in self.scores)
        return "sentence.gold" if gold else "sentence.labels"

    @cached_property
    def names(self) -> list[str]:
        """The descriptors' names."""
        return [str(descriptor["name"]) for descriptor in self.descriptors]

    @cached_property
    def layers(self) -> list[int]:
        """The layers' numbers, first layer first."""
        return [int(layer) for layer in np.unique(self.layer)]

    @cached_property
    def assigned(self) -> AssignedPairs:
        """The pairs that the run's rule assigns on either split, with `neuron` and `column` (positions in the
        order of `layer` and of the descriptors) and `rank`, by neuron and rank."""
        return AssignedPairs(self._select_assigned(self.calibration), self._select_assigned(self.validation))

    def _select_assigned(self, split: SplitContent) -> pd.DataFrame:
        rule = self.rule.name
        pairs = split.pairs[split.pairs[f"{rule}_assigned"]].rename(columns={f"{rule}_rank": "rank"})
        neurons = pd.MultiIndex.from_arrays([self.layer, self.index])
        pairs["neuron"] = neurons.get_indexer(pd.MultiIndex.from_frame(pairs[["layer", "index"]]))
        pairs["column"] = pd.Index(self.names).get_indexer(pd.Index(pairs["descriptor"]))
        return pairs.sort_values(["neuron", "rank"], kind="stable").reset_index(drop=True)


def select_clearest(labels: np.ndarray, scores: np.ndarray, count: int) -> np.ndarray:
    """The rows that bear each descriptor with the highest scores: int64 [descriptors, count], -1 for none.

    labels: int8, scores: float [sentences, descriptors]. Ties go to the lower row.
    """
    rows = np.full((labels.shape[1], count), -1, dtype=np.int64)
    for column in range(labels.shape[1]):
        bearing = np.flatnonzero(labels[:, column] == 1)
        best = bearing[np.argsort(-scores[bearing, column], kind="stable")[:count]]
        rows[column, : len(best)] = best
    return rows


def tabulate_pairs(run: Content) -> pd.DataFrame:
    """The pairs assigned on calibration, by neuron and rank: neuron, column, q, count, known, lift, validation_count,
    validation_known, validation_p, and each of ASSOCIATIONS with `_low` and `_high`, missing where unknown."""
    pairs = run.assigned.calibration.merge(run.associations, on=["layer", "index", "descriptor"], how="left")
    pairs = pairs.sort_values(["neuron", "rank"], kind="stable")
    validation = [f"validation_{name}" for name in ("count", "known", "p")]
    strengths = [f"{measure}{bound}" for measure in ASSOCIATIONS for bound in ("", "_low", "_high")]
    columns = ["neuron", "column", "q", "count", "known", "lift", *validation, *strengths]
    return pairs[columns].reset_index(drop=True)


def tabulate_carriers(run: Content) -> pd.DataFrame:
    """Descriptors on calibration, those of most neurons first; the index is the labels' column.

    Columns: descriptor, sentences, prevalence, neurons, and `layer_<n>`: how many of them lie in each layer.
    """
    pairs = run.assigned.calibration
    table = pd.DataFrame(
        {
            "descriptor": pd.Series(run.names, dtype="str"),
            "sentences": run.calibration.positives,
            "prevalence": run.calibration.prevalence,
            "neurons": np.bincount(pairs["column"], minlength=len(run.names)),
        }
    )
    for layer in run.layers:
        columns = pairs.loc[pairs["layer"] == layer, "column"]
        table[f"layer_{layer}"] = np.bincount(columns, minlength=len(run.names))
    return table.sort_values(["neurons", "sentences", "descriptor"], ascending=[False, False, True], kind="stable")
