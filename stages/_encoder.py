"""The sentence encoder of the stages that embed a corpus."""

from collections.abc import Iterator
from contextlib import contextmanager

from descry.embedding import Encoder
from descry.encoding import EncoderSource, ShardedEncoder
from descry.settings import Runtime, Sharding
from stages import _shards, _stage


@contextmanager
def encoder(name: str, runtime: Runtime, sharding: Sharding) -> Iterator[Encoder]:
    """The sentence encoder, for the stage `name`; it is loaded when it is first asked."""
    folder = (_stage.MODELS / "embedder").absolute()
    with _shards.kept(name, [runtime], [folder / "manifest.json"], shard=sharding.shard) as shards:
        source = EncoderSource(folder, runtime.device, runtime.batch_tokens)
        yield ShardedEncoder(source, _shards.engine(sharding), sharding.shard, shards)
