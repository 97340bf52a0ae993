"""Passes of a target over sentences, a shard of them in memory at a time."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from descry import artifacts
from descry.activations import Reader, gathered, probe_sample, shards
from descry.artifacts import Activations
from descry.settings import Extract, Runtime, Section, Sharding
from descry.target import Source, TargetSource
from stages import _shards, _stage


def sentences(split: str) -> Path:
    """The table of a split's sentences."""
    return _stage.SENTENCES / f"{split}.parquet"


def target_source(settings: Extract, runtime: Runtime) -> TargetSource:
    """The target, and which of its neurons are read."""
    layers = None if settings.layers is None else tuple(settings.layers)
    neurons = {"site": settings.site, "stack": settings.stack, "layers": layers, "modules": settings.modules}
    folder = (_stage.MODELS / "target").absolute()
    return TargetSource(folder, runtime.device, runtime.dtype, tuple(neurons.items()))


@dataclass(frozen=True)
class Passes:
    """How passes are made, and what is kept of them."""

    settings: Extract
    runtime: Runtime
    sharding: Sharding

    def target(self) -> TargetSource:
        """The target."""
        return target_source(self.settings, self.runtime)

    def kept(self, name: str, tables: Sequence[Path], *more: Section) -> AbstractContextManager[Path]:
        """Where the stage `name` keeps finished shards of some tables of sentences; more: other settings that it
        reads."""
        files = [_stage.MODELS / "target/manifest.json", *tables]
        return _shards.kept(name, [self.settings, self.runtime, *more], files, shard=self.sharding.shard)

    def sample(self, split: str, size: int, key: str) -> tuple[str, ...]:
        """The texts of at most `size` sentences, drawn by `probe_sample`."""
        pieces = artifacts.read_pieces(sentences(split), "sentences", "sentence_id")
        rows = set(probe_sample(chain.from_iterable(pieces), size, key).tolist())
        texts = chain.from_iterable(artifacts.read_pieces(sentences(split), "sentences", "text"))
        return tuple(text for row, text in enumerate(texts) if row in rows)

    def over(
        self, path: Path, source: Source, poolings: Sequence[str], checkpoint: Path, progress: str
    ) -> list[Activations]:
        """What is kept of a pass over a table of sentences, one for each pooling."""
        ids = chain.from_iterable(artifacts.read_pieces(path, "sentences", "sentence_id"))
        probe_rows = probe_sample(ids, self.settings.probe, key=path.stem)
        return gathered(
            _shards.engine(self.sharding),
            Reader(source, tuple(poolings), self.settings.top_k, self.runtime.batch_tokens),
            shards(artifacts.read_pieces(path, "sentences", "text", self.sharding.shard), probe_rows),
            probe_rows,
            artifacts.table_rows(path),
            checkpoint=checkpoint,
            progress=progress,
        )
