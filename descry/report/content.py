"""What the report shows, picked out of a run's tables and arrays; no HTML, no drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Side:
    """One split.

    sentences: columns review_id, product, text, one row a sentence; labels: int8 [sentences, descriptors], 1,
    0 or -1 (missing); rows int32 and activations float32 [neurons, exemplars]: the sentences of each
    neuron's exemplar set and its values on them, strongest first; pairs: the assignments table.
    """

    sentences: pd.DataFrame
    labels: np.ndarray
    rows: np.ndarray
    activations: np.ndarray
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


class Pairs(NamedTuple):
    """Assigned pairs of each split."""

    calibration: pd.DataFrame
    validation: pd.DataFrame


@dataclass(frozen=True)
class Run:
    """A finished run, as the report needs it.

    layer, index: int [neurons], in order of layer, then index; descriptors: {name, members} in the order of
    the labels' columns; examples: int [descriptors, n], rows of calibration that show each, -1 for none;
    evaluation, consistency: the metrics; rule: the options of `assign`, with `rule` and `exemplars`; target:
    the model's name; pooling: of a neuron's values over a sentence; labeller_is_target: whether the labels
    come from the target's own weights.
    """

    layer: np.ndarray
    index: np.ndarray
    descriptors: Sequence[Mapping[str, Any]]
    calibration: Side
    validation: Side
    examples: np.ndarray
    evaluation: Mapping[str, Any]
    consistency: Mapping[str, Any]
    rule: Mapping[str, Any]
    target: str
    pooling: str
    labeller_is_target: bool

    @cached_property
    def names(self) -> list[str]:
        """The descriptors' names."""
        return [str(descriptor["name"]) for descriptor in self.descriptors]

    @cached_property
    def layers(self) -> list[int]:
        """The layers' numbers, first layer first."""
        return [int(layer) for layer in np.unique(self.layer)]

    @cached_property
    def found(self) -> Pairs:
        """The pairs that the run's rule assigns on either split, with `neuron` and `column` (positions in the
        order of `layer` and of the descriptors) and `rank`, by neuron and rank."""
        return Pairs(self._assigned(self.calibration), self._assigned(self.validation))

    def _assigned(self, side: Side) -> pd.DataFrame:
        rule = self.rule["rule"]
        pairs = side.pairs[side.pairs[f"{rule}_assigned"]].rename(columns={f"{rule}_rank": "rank"})
        place = pd.MultiIndex.from_arrays([self.layer, self.index])
        pairs["neuron"] = place.get_indexer(pd.MultiIndex.from_frame(pairs[["layer", "index"]]))
        pairs["column"] = pd.Index(self.names).get_indexer(pd.Index(pairs["descriptor"]))
        return pairs.sort_values(["neuron", "rank"], kind="stable").reset_index(drop=True)


def strongest(labels: np.ndarray, scores: np.ndarray, count: int) -> np.ndarray:
    """The rows that bear each descriptor with the highest scores: int64 [descriptors, count], -1 for none.

    labels: int8, scores: float [sentences, descriptors]. Ties go to the lower row.
    """
    out = np.full((labels.shape[1], count), -1, dtype=np.int64)
    for column in range(labels.shape[1]):
        bearing = np.flatnonzero(labels[:, column] == 1)
        best = bearing[np.argsort(-scores[bearing, column], kind="stable")[:count]]
        out[column, : len(best)] = best
    return out


def layer_table(run: Run) -> pd.DataFrame:
    """Described neurons of each layer: layer, neurons, described, share (of the layer), split."""
    size = pd.Series(run.layer).value_counts().reindex(run.layers)
    parts = []
    for split, pairs in zip(run.found._fields, run.found, strict=True):
        described = pairs.drop_duplicates("neuron")["layer"].value_counts().reindex(run.layers, fill_value=0)
        parts.append(
            pd.DataFrame(
                {
                    "layer": run.layers,
                    "neurons": size.to_numpy(),
                    "described": described.to_numpy(),
                    "share": described.to_numpy() / size.to_numpy(),
                    "split": split,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def descriptor_table(run: Run) -> pd.DataFrame:
    """Descriptors on calibration, those of most neurons first; the index is the labels' column.

    Columns: descriptor, sentences, prevalence, neurons, and `layer_<n>`: how many of them lie in each layer.
    """
    pairs = run.found.calibration
    table = pd.DataFrame(
        {
            "descriptor": pd.Series(run.names, dtype="str"),
            "sentences": run.calibration.positives,
            "prevalence": run.calibration.prevalence,
            "neurons": np.bincount(pairs["column"], minlength=len(run.names)),
        }
    )
    for layer in run.layers:
        here = pairs.loc[pairs["layer"] == layer, "column"]
        table[f"layer_{layer}"] = np.bincount(here, minlength=len(run.names))
    return table.sort_values(["neurons", "sentences", "descriptor"], ascending=[False, False, True], kind="stable")


def block(measures: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """What lies under a dotted name; empty where nothing does."""
    here: Any = measures
    for part in path.split("."):
        here = here.get(part, {}) if isinstance(here, Mapping) else {}
    return here if isinstance(here, Mapping) else {}


MEASURES = {
    "oracle": "Annotated aspects in place of the labels (oracle)",
    "sentence.gold": "Descriptors found, on sentences, against annotated aspects",
    "descriptors": "The vocabulary",
    "labels": "The labels",
    "neuron": "A neuron's descriptors on calibration, against validation",
    "sentence.labels": "Descriptors found, on sentences, against the pipeline's own labels",
}
"""Blocks of the evaluation in the order of the page, and what they are called there."""

NULLS = ("most_common", "random_exemplars")
"""The controls that stand beside every measure."""


def _flat(measures: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    out: dict[str, float] = {}
    for name, value in measures.items():
        out |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return out


class Row(NamedTuple):
    """A measure, its value, what the two nulls give, and the highest value possible; None where unknown."""

    name: str
    value: float
    most_common: float | None
    random_exemplars: float | None
    ceiling: float | None

    @property
    def counts(self) -> bool:
        """Whether it counts something."""
        return isinstance(self.value, int)


def measure_rows(evaluation: Mapping[str, Any], path: str) -> list[Row]:
    """Every measure of a block under its dotted name; ceilings stand beside what they bound."""
    own = _flat(block(evaluation, path))
    common, random = (_flat(block(evaluation, f"null.{null}.{path}")) for null in NULLS)
    rows = []
    for name, value in own.items():
        *above, last = name.split(".")
        if not last.startswith("ceiling_"):
            ceiling = own.get(".".join([*above, f"ceiling_{last}"]))
            rows.append(Row(f"{path}.{name}", value, common.get(name), random.get(name), ceiling))
    return rows


def sentence_blocks(evaluation: Mapping[str, Any]) -> dict[str, str]:
    """Series of the at-k plot -> dotted name of its block, leading with gold where there is gold."""
    own = "sentence.gold" if block(evaluation, "sentence.gold") else "sentence.labels"
    oracle = {"annotated aspects as labels": "oracle.sentence"} if block(evaluation, "oracle.sentence") else {}
    chance = {
        "chance: always the most common": f"null.most_common.{own}",
        "chance: random exemplars": f"null.random_exemplars.{own}",
    }
    series = oracle | {"descriptors found": own} | chance
    return {name: path for name, path in series.items() if block(evaluation, path)}


def at_k_table(evaluation: Mapping[str, Any]) -> pd.DataFrame:
    """Sentence precision and recall of the k best descriptors: series, k, precision, recall, ceiling (the
    highest precision that any order can reach)."""
    rows = []
    for series, path in sentence_blocks(evaluation).items():
        measures = block(evaluation, path)
        found = sorted(int(name[len("precision_at_") :]) for name in measures if name.startswith("precision_at_"))
        for k in found:
            ceiling = measures.get(f"ceiling_precision_at_{k}", 1.0)
            rows.append((series, k, measures[f"precision_at_{k}"], measures[f"recall_at_{k}"], ceiling))
    return pd.DataFrame(rows, columns=["series", "k", "precision", "recall", "ceiling"])
