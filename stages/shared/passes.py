"""Passes of the target over tables of sentences, one shard in memory at a time."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from descry.activations.extraction import Reader, cut_shards, extract_shards
from descry.activations.record import Activations
from descry.corpus.sampling import sample_probe
from descry.models.target import TargetLoader, TargetSource
from descry.results import layout
from descry.schemas.split import SENTENCE_TABLE
from descry.settings.base import Section
from descry.settings.neurons import Extract
from descry.settings.runtime import Runtime, Sharding
from descry.storage.tables import count_rows, read_pieces
from stages.shared.shards import choose_engine, keep_shards


def sentences_path(split: str) -> Path:
    """Path of the table of a split's sentences."""
    return layout.SENTENCES / f"{split}.parquet"


def read_texts(split: str, rows: np.ndarray) -> list[str]:
    """Read the sentences of a split in `rows`, in ascending order."""
    wanted = set(rows.tolist())
    texts = chain.from_iterable(read_pieces(sentences_path(split), SENTENCE_TABLE, "text"))
    return [text for row, text in enumerate(texts) if row in wanted]


def target_loader(settings: Extract, runtime: Runtime) -> TargetLoader:
    """What loads the target, with the neurons that are read."""
    return TargetLoader.of(layout.MODELS, settings.model_dump(), runtime.device, runtime.dtype)


@dataclass(frozen=True)
class Passes:
    """The settings of passes."""

    settings: Extract
    runtime: Runtime
    sharding: Sharding

    def target(self) -> TargetLoader:
        """What loads the target."""
        return target_loader(self.settings, self.runtime)

    def keep(self, name: str, tables: Sequence[Path], *more: Section) -> AbstractContextManager[Path]:
        """The folder where the stage `name` keeps finished shards of tables of sentences. more: its other settings."""
        files = [layout.MODELS / role / "manifest.json" for role in ("target", "dictionaries")]
        return keep_shards(name, [self.settings, self.runtime, *more], [*files, *tables], shard=self.sharding.shard)

    def sample(self, split: str, size: int, key: str) -> tuple[str, ...]:
        """The texts of at most `size` sentences of a split, drawn by `sample_probe`."""
        ids = chain.from_iterable(read_pieces(sentences_path(split), SENTENCE_TABLE, "sentence_id"))
        return tuple(read_texts(split, sample_probe(ids, size, key)))

    def describe_cut(self, path: Path) -> str:
        """Say how many sentences of a table the target reads only in part; "" if none."""
        target = self.target().load()
        cut = sum(target.count_cut(texts) for texts in read_pieces(path, SENTENCE_TABLE, "text", self.sharding.shard))
        share = 100 * cut / count_rows(path)
        return f"; {cut:,} ({share:.1f} %) are longer than it reads, and cut" if cut else ""

    def over(
        self, path: Path, loader: TargetSource, poolings: Sequence[str], checkpoint: Path, progress: str
    ) -> list[Activations]:
        """The activations kept of a pass over a table of sentences, for each pooling."""
        ids = chain.from_iterable(read_pieces(path, SENTENCE_TABLE, "sentence_id"))
        probe_rows = sample_probe(ids, self.settings.probe, key=path.stem)
        return extract_shards(
            choose_engine(self.sharding),
            Reader(loader, tuple(poolings), self.settings.top_k, self.runtime.batch_tokens),
            cut_shards(read_pieces(path, SENTENCE_TABLE, "text", self.sharding.shard), probe_rows),
            probe_rows,
            count_rows(path),
            checkpoint=checkpoint,
            progress=progress,
        )
