"""What is worked on in shards: a split's sentences, and where finished shards are kept until all are."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from descry import artifacts
from descry.activations import Shard, probe_sample, shards
from descry.engine import Engine, Local
from descry.errors import InputError
from descry.settings import Section, Sharding
from descry.shards import digest, fingerprint, workspace
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


def kept(name: str, sections: Sequence[Section], files: Sequence[Path], **more: Any) -> AbstractContextManager[Path]:
    """Where the stage `name` keeps finished shards: a folder of its own for every other content of these settings
    and files, and for every other code."""
    given = {section.section: section.model_dump() for section in sections}
    return workspace(_stage.SHARDS / name, fingerprint(given | more | {str(path): digest(path) for path in files}))


def engine(settings: Sharding) -> Engine:
    """Who works on shards."""
    if settings.engine == "local":
        return Local()
    try:
        from descry.cluster import Cluster
    except ImportError:
        raise InputError("params.yaml: runtime.engine is ray, which is not installed; pip install '.[ray]'") from None
    return Cluster(**settings.ray.model_dump())
