"""A finished run as pandas tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from descry.results import columns, layout
from descry.results.columns import Folder
from descry.schemas.split import GOLD_TABLE, SENTENCE_TABLE
from descry.splits import REPLICATES, SPLITS
from descry.storage.tables import read_table

PLACE = ["layer", "index"]


@dataclass(frozen=True)
class Run:
    """A finished run; each table is read when it is first asked for. Columns: docs/prompt.md.

    Errors, of every table: InputError where its file is damaged.
    """

    folder: Folder

    @property
    def settings(self) -> dict[str, Any]:
        """The section `assign` with which the run was made: rule, exemplars, thresholds."""
        return self.folder.settings

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Every pair of a neuron and a descriptor that the run's rule assigns, by layer, index and place: what
        calibration says, what validation says, how strongly they go together there."""
        return pd.DataFrame(columns.read_pairs(self.folder)).infer_objects()

    @cached_property
    def neurons(self) -> pd.DataFrame:
        """Every neuron, by layer and index: its moments on calibration, how many descriptors it has, and its first."""
        moments = {name: self.folder.part("calibration", name) for name in (*PLACE, "mean", "std", "maximum")}
        count = self.pairs.groupby(PLACE).size().rename("descriptors").reset_index()
        first = self.pairs.loc[self.pairs["place"] == 1, [*PLACE, *FIRST]]
        table = pd.DataFrame(moments).merge(count, how="left").merge(first, how="left", on=PLACE)
        table["descriptors"] = table["descriptors"].fillna(0).astype(np.int64)
        return table[[*PLACE, "descriptors", *FIRST, "mean", "std", "maximum"]]

    @cached_property
    def descriptors(self) -> pd.DataFrame:
        """The vocabulary, in its order, with how common each descriptor is and which neurons carry it."""
        table = pd.DataFrame(columns.read_descriptors(self.folder))[["name", "members", "sentences"]]
        (labels, names), (there, _) = (self.folder.labels(split) for split in SPLITS)
        for prefix, given in (("", labels), ("validation_", there)):
            share = (given == 1).sum(axis=0) / np.maximum((given >= 0).sum(axis=0), 1)
            table[f"{prefix}prevalence"] = table["name"].map(dict(zip(names, share, strict=True)))
        carried = self.pairs.groupby("descriptor").agg(
            neurons=("place", "size"),
            first=("place", lambda place: int((place == 1).sum())),
            replicates=("replicates", "mean"),
            pearson=("pearson", "median"),
        )
        joined = table.merge(carried, how="left", left_on="name", right_index=True)
        return joined.assign(**{name: joined[name].fillna(0).astype(np.int64) for name in ("neurons", "first")})

    @cached_property
    def sentences(self) -> pd.DataFrame:
        """The sentences of both splits: split, row (in it), sentence_id, review_id, position, product, text, and
        aspects: gold, None where it is not known."""
        return pd.concat([self._sentences(split) for split in SPLITS], ignore_index=True)

    def _sentences(self, split: str) -> pd.DataFrame:
        table = read_table(self.folder.root / layout.SENTENCES / f"{split}.parquet", SENTENCE_TABLE)
        table = pd.concat([pd.DataFrame({"split": split, "row": np.arange(len(table))}), table], axis=1)
        gold = self.folder.root / layout.GOLD / f"{split}.parquet"
        if not gold.is_file():
            return table
        return table.assign(aspects=read_table(gold, GOLD_TABLE)["aspects"].map(list, na_action="ignore"))

    @cached_property
    def labels(self) -> pd.DataFrame:
        """Which descriptors apply to which sentence: a row for each of `sentences`, in its order, a column for each
        descriptor; 1, 0, or -1 where the label is missing."""
        found = [self.folder.labels(split) for split in SPLITS]
        return pd.DataFrame(np.concatenate([labels for labels, _ in found]), columns=found[0][1])

    @cached_property
    def triggers(self) -> pd.DataFrame:
        """Which words drive every neuron, by layer and index; without rows where that was left out."""
        return self._further("triggers")

    @cached_property
    def relations(self) -> pd.DataFrame:
        """Every ordered pair of descriptors: how they go together in sentences and in neurons on calibration, and
        `replicates`: whether the neurons' do on validation too; without rows where that was left out."""
        table, there = self._further("relations"), self._further("relations_there")
        return table.assign(replicates=there["p"].to_numpy() <= REPLICATES)

    @cached_property
    def depth(self) -> pd.DataFrame:
        """Where in depth each descriptor lives that a neuron carries; without rows where that was left out."""
        return self._further("depth")

    @cached_property
    def transfer(self) -> pd.DataFrame:
        """What becomes of every descriptor in the other corpus; without rows where that was left out."""
        return self._further("transfer")

    @cached_property
    def transfer_pairs(self) -> pd.DataFrame:
        """What becomes of every one of `pairs` in the other corpus, and `replicates`: whether its p there is at most
        0.05; without rows where that was left out."""
        table = self._further("transfer_pairs")
        return table.assign(replicates=table["p"] <= REPLICATES)

    @cached_property
    def ablation(self) -> pd.DataFrame:
        """What is lost of every descriptor with its neurons switched off; without rows where that was left out."""
        return self._further("ablation")

    def _further(self, name: str) -> pd.DataFrame:
        path, schema = columns.FURTHER[name]
        path = self.folder.root / path
        return read_table(path, schema) if path.is_file() else pd.DataFrame(columns=list(schema.columns))

    @cached_property
    def measures(self) -> pd.DataFrame:
        """Every measure, once for each null beside it: measure, null, value, chance, low, high, repeats, adjusted."""
        return pd.DataFrame(columns.read_measures(self.folder)).infer_objects()

    def exemplars(self, layer: int, index: int, count: int = 10) -> pd.DataFrame:
        """The strongest sentences of a neuron, at most `count` of each split, best first: split, rank, activation,
        sentence_id, review_id, product, text. Errors: InputError where there is no such neuron."""
        return pd.DataFrame(columns.read_exemplars(self.folder, layer, index, count)).infer_objects()


FIRST = ["descriptor", "q", "composition", "lift", "pearson"]
"""What `neurons` says of a neuron's first descriptor."""


def load(path: str | Path = ".") -> Run:
    """The finished run in a folder. Errors: InputError where there is none."""
    return Run(Folder.of(path))
