"""Passes of a target over sentences, a shard of them in memory at a time."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

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
    """The table of a split's sentences."""
    return layout.SENTENCES / f"{split}.parquet"


def target_loader(settings: Extract, runtime: Runtime) -> TargetLoader:
    """The target, and which of its neurons are read."""
    layers = None if settings.layers is None else tuple(settings.layers)
    neurons = {"site": settings.site, "stack": settings.stack, "layers": layers, "modules": settings.modules}
    folder = (layout.MODELS / "target").absolute()
    return TargetLoader(folder, runtime.device, runtime.dtype, tuple(neurons.items()))


@dataclass(frozen=True)
class Passes:
    """How passes are made, and what is kept of them."""

    settings: Extract
    runtime: Runtime
    sharding: Sharding

    def target(self) -> TargetLoader:
        """The target."""
        return target_loader(self.settings, self.runtime)

    def kept(self, name: str, tables: Sequence[Path], *more: Section) -> AbstractContextManager[Path]:
        """Where the stage `name` keeps finished shards of some tables of sentences; more: other settings that it
        reads."""
        files = [layout.MODELS / "target/manifest.json", *tables]
        return keep_shards(name, [self.settings, self.runtime, *more], files, shard=self.sharding.shard)

    def sample(self, split: str, size: int, key: str) -> tuple[str, ...]:
        """The texts of at most `size` sentences, drawn by `probe_sample`."""
        pieces = read_pieces(sentences_path(split), SENTENCE_TABLE, "sentence_id")
        rows = set(sample_probe(chain.from_iterable(pieces), size, key).tolist())
        texts = chain.from_iterable(read_pieces(sentences_path(split), SENTENCE_TABLE, "text"))
        return tuple(text for row, text in enumerate(texts) if row in rows)

    def over(
        self, path: Path, source: TargetSource, poolings: Sequence[str], checkpoint: Path, progress: str
    ) -> list[Activations]:
        """What is kept of a pass over a table of sentences, one for each pooling."""
        ids = chain.from_iterable(read_pieces(path, SENTENCE_TABLE, "sentence_id"))
        probe_rows = sample_probe(ids, self.settings.probe, key=path.stem)
        return extract_shards(
            choose_engine(self.sharding),
            Reader(source, tuple(poolings), self.settings.top_k, self.runtime.batch_tokens),
            cut_shards(read_pieces(path, SENTENCE_TABLE, "text", self.sharding.shard), probe_rows),
            probe_rows,
            count_rows(path),
            checkpoint=checkpoint,
            progress=progress,
        )
