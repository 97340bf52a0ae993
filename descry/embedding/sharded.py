"""The sentence encoder at work on a corpus: in shards, on any engine, and going on where it was broken off."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from tqdm import tqdm

from descry.compute.engine import Engine
from descry.embedding.vectors import Encoder
from descry.errors import InputError
from descry.schemas.vectors import VECTOR_ARRAYS
from descry.storage.arrays import read_arrays, write_arrays


@dataclass(frozen=True)
class EncoderLoader:
    """Gives what encodes a shard, on any machine that sees the encoder's folder.

    folder: absolute; device and batch_tokens: as `embedder.Embedder` takes them.
    """

    folder: Path
    device: str
    batch_tokens: int

    def load(self) -> Encoder:
        """The encoder, loaded once in a process."""
        return _loaded(self)

    def __call__(self) -> Callable[[Sequence[str]], np.ndarray]:
        return self.load().encode


@lru_cache(maxsize=1)
def _loaded(source: EncoderLoader) -> Encoder:
    from descry.embedding.encoder import SentenceEncoder

    return SentenceEncoder(source.folder, source.device, source.batch_tokens)


class ShardedEncoder:
    """An encoder that works in shards of so many texts, on any engine; those done are kept in a folder, by content."""

    def __init__(self, source: EncoderLoader, engine: Engine, shard: int, folder: Path) -> None:
        """folder: its name must stand for the encoder's weights and settings."""
        self._source, self._engine, self._shard, self._folder = source, engine, shard, folder

    def encode(self, texts: Sequence[str], description: str = "embedding") -> np.ndarray:
        """Unit vectors of the texts, float32 [texts, width], in their order, behind a progress bar."""
        shards = [tuple(texts[start : start + self._shard]) for start in range(0, len(texts), self._shard)]
        files = {shard: self._folder / f"{_content(shard)}.safetensors" for shard in shards}
        found = {shard: kept for shard, file in files.items() if (kept := _kept(file)) is not None}
        missing = [shard for shard in files if shard not in found]
        with tqdm(
            total=len(texts), initial=sum(map(len, found)), desc=description, unit="text", disable=not texts
        ) as bar:
            for shard, vectors in self._engine.map(self._source, missing):
                write_arrays(files[shard], {"vectors": vectors}, VECTOR_ARRAYS, {})
                found[shard] = vectors
                bar.update(len(shard))
        return np.concatenate([found[shard] for shard in shards])

    def words(self) -> list[str]:
        """Whole words that the encoder knows, most frequent first."""
        return self._source.load().words()


def _kept(file: Path) -> np.ndarray | None:
    try:
        return read_arrays(file, VECTOR_ARRAYS)[0]["vectors"] if file.exists() else None
    except InputError:  # damaged
        return None


def _content(texts: Sequence[str]) -> str:
    return hashlib.blake2b(json.dumps(texts).encode(), digest_size=16).hexdigest()
