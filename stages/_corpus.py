"""A split's sentences, read a shard at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from descry import artifacts
from descry.activations import Shard, probe_sample, shards
from stages import _stage


@dataclass(frozen=True)
class Corpus:
    """A split's sentences, of which only a shard is in memory."""

    split: str
    shard: int

    @property
    def path(self) -> Path:
        """The table of its sentences."""
        return _stage.SENTENCES / f"{self.split}.parquet"

    def sample(self, size: int, key: str) -> np.ndarray:
        """Rows of at most `size` sentences, ascending; see `probe_sample`."""
        return probe_sample(
            chain.from_iterable(artifacts.read_pieces(self.path, "sentences", "sentence_id")), size, key
        )

    def texts(self) -> Iterator[list[str]]:
        """Its texts, a shard at a time."""
        return artifacts.read_pieces(self.path, "sentences", "text", self.shard)

    def shards(self, probe_rows: np.ndarray) -> Iterator[Shard]:
        """Its shards."""
        return shards(self.texts(), probe_rows)
