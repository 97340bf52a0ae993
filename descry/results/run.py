"""A finished run as pandas tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
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
    """A finished run. Each table is read at its first use; its columns: docs/prompt.md.

    Errors of every table: InputError if its file is damaged.
    """

    folder: Folder

    @property
    def settings(self) -> dict[str, Any]:
        """The section `assign` that the run was made with: rule, exemplars, thresholds."""
        return self.folder.settings

    @cached_property
    def pairs(self) -> pd.DataFrame:
        """Every pair of a neuron and a descriptor that the run's rule assigns, sorted by layer, index and place: its
        test on calibration, the same on validation, and its correlation there."""
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
        """The vocabulary, in its order: how common each descriptor is, and how many neurons carry it."""
        table = pd.DataFrame(columns.read_descriptors(self.folder))[["name", "members", "sentences"]]
        (calibration, names), (validation, _) = (self.folder.labels(split) for split in SPLITS)
        for prefix, labels in (("", calibration), ("validation_", validation)):
            share = (labels == 1).sum(axis=0) / np.maximum((labels >= 0).sum(axis=0), 1)
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
        """The sentences of both splits: split, row (within it), sentence_id, review_id, position, product, text, and
        aspects (gold; None if unknown)."""
        return pd.concat([self._read_sentences(split) for split in SPLITS], ignore_index=True)

    def _read_sentences(self, split: str) -> pd.DataFrame:
        table = read_table(self.folder.root / layout.SENTENCES / f"{split}.parquet", SENTENCE_TABLE)
        table = pd.concat([pd.DataFrame({"split": split, "row": np.arange(len(table))}), table], axis=1)
        gold = self.folder.root / layout.GOLD / f"{split}.parquet"
        if not gold.is_file():
            return table
        return table.assign(aspects=read_table(gold, GOLD_TABLE)["aspects"].map(list, na_action="ignore"))

    @cached_property
    def labels(self) -> pd.DataFrame:
        """Which descriptors apply to which sentence: the rows of `sentences`, a column for each descriptor; 1, 0, or -1
        for a missing label."""
        parts = [self.folder.labels(split) for split in SPLITS]
        return pd.DataFrame(np.concatenate([labels for labels, _ in parts]), columns=parts[0][1])

    @cached_property
    def triggers(self) -> pd.DataFrame:
        """Which words drive every neuron, by layer and index; no rows if the stage is off."""
        return self._read_further("triggers")

    @cached_property
    def relations(self) -> pd.DataFrame:
        """Every ordered pair of descriptors: how they go together in sentences and in neurons on calibration, and
        `replicates` (in neurons, on validation too); no rows if the stage is off."""
        table, validation = self._read_further("relations"), self._read_further("relations_there")
        return table.assign(replicates=validation["p"].to_numpy() <= REPLICATES)

    @cached_property
    def cofiring(self) -> pd.DataFrame:
        """Whether the neurons of each first descriptor fire together on its validation sentences, and how many pairs of
        them split these or absorb one another; no rows if the stage is off."""
        return self._read_further("cofiring")

    @cached_property
    def exclusive(self) -> pd.DataFrame:
        """The pairs of neurons that split the sentences of their first descriptor, or of which one is absorbed; no rows
        if there are none or the stage is off."""
        return self._read_further("exclusive")

    @cached_property
    def depth(self) -> pd.DataFrame:
        """In which layers each descriptor that a neuron carries is found; no rows if the stage is off."""
        return self._read_further("depth")

    @cached_property
    def transfer(self) -> pd.DataFrame:
        """How every descriptor does in the other corpus; no rows if the stage is off."""
        return self._read_further("transfer")

    @cached_property
    def transfer_pairs(self) -> pd.DataFrame:
        """How each of `pairs` does in the other corpus, and `replicates` (p at most 0.05); no rows if the stage is
        off."""
        table = self._read_further("transfer_pairs")
        return table.assign(replicates=table["p"] <= REPLICATES)

    @cached_property
    def ablation(self) -> pd.DataFrame:
        """What the model loses of every descriptor when its neurons are switched off; no rows if the stage is off."""
        return self._read_further("ablation")

    @cached_property
    def negative_pairs(self) -> pd.DataFrame:
        """The same as `pairs`, of the neurons' negative ends: of the sentences on which they are most negative; no rows
        if the run has none (`extract.also`)."""
        if self._read_further("negative").empty:
            return self.pairs.iloc[:0]
        return pd.DataFrame(columns.read_pairs(self.folder, end="negative")).infer_objects()

    @cached_property
    def writes(self) -> pd.DataFrame:
        """Which tokens every neuron promotes and suppresses, by layer and index; no rows if the stage is off or the
        target predicts no words."""
        return self._read_further("writes")

    @cached_property
    def written_pairs(self) -> pd.DataFrame:
        """How far the words of each assigned pair's descriptor are among the tokens that the neuron promotes, at either
        end; no rows if the stage is off or the target predicts no words."""
        return self._read_further("written_pairs")

    @cached_property
    def judged(self) -> pd.DataFrame:
        """The scores of the descriptions that the stage `judge` judged, a row a unit (`whose`: given in a file, or
        written by a language model); no rows if there were none."""
        return self._read_further("judged")

    @cached_property
    def written(self) -> pd.DataFrame:
        """What a language model wrote of neurons (stage `describe`); no rows if none is named."""
        return self._read_further("written")

    @cached_property
    def glosses(self) -> pd.DataFrame:
        """What a language model wrote of descriptors (stage `describe`); no rows if none is named."""
        return self._read_further("glosses")

    def _read_further(self, name: str) -> pd.DataFrame:
        path, schema = columns.FURTHER[name]
        path = self.folder.root / path
        return read_table(path, schema) if path.is_file() else pd.DataFrame(columns=list(schema.columns))

    @cached_property
    def measures(self) -> pd.DataFrame:
        """Every measure, a row for each null that it is compared with: measure, null, value, chance, low, high,
        repeats, adjusted."""
        return pd.DataFrame(columns.read_measures(self.folder)).infer_objects()

    def exemplars(self, layer: int, index: int, count: int = 10, end: str = "positive") -> pd.DataFrame:
        """The strongest sentences of a neuron, at most `count` of each split, best first: split, rank, activation,
        sentence_id, review_id, product, text. end: "negative" for those on which it is most negative. Errors:
        InputError if there is no such neuron, or the run has no negative ends."""
        return pd.DataFrame(columns.read_exemplars(self.folder, layer, index, count, end)).infer_objects()


FIRST = ["descriptor", "q", "composition", "lift", "pearson"]
"""The columns of a neuron's first descriptor in `Run.neurons`."""
