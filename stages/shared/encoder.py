"""The sentence encoder of the stages that embed a corpus."""

from collections.abc import Iterator
from contextlib import contextmanager

from descry.embedding.sharded import EncoderLoader, ShardedEncoder
from descry.embedding.vectors import Encoder
from descry.results import layout
from descry.settings.runtime import Runtime, Sharding
from stages.shared.shards import choose_engine, keep_shards


@contextmanager
def open_encoder(name: str, runtime: Runtime, sharding: Sharding) -> Iterator[Encoder]:
    """The sentence encoder for the stage `name`; it is loaded at its first use."""
    folder = (layout.MODELS / "embedder").absolute()
    with keep_shards(name, [runtime], [folder / "manifest.json"], shard=sharding.shard) as shards:
        loader = EncoderLoader(folder, runtime.device, runtime.batch_tokens)
        yield ShardedEncoder(loader, choose_engine(sharding), sharding.shard, shards)
