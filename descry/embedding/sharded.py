"""Encode a corpus in shards, on any engine; an interrupted run resumes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from descry.compute.engine import Engine, ignore
from descry.errors import InputError
from descry.schemas.vectors import VECTOR_ARRAYS
from descry.storage.arrays import read_arrays, write_arrays

if TYPE_CHECKING:
    from descry.embedding.encoder import SentenceEncoder


@dataclass(frozen=True)
class EncoderLoader:
    """Loads the encoder and returns its `encode`, on any machine that sees its folder.

    folder: absolute; device, batch_tokens: see `SentenceEncoder`; advance: of its `encode`, on this machine alone.
    """

    folder: Path
    device: str
    batch_tokens: int
    advance: Callable[[int], object] = field(default=ignore, compare=False)

    def __reduce__(self) -> tuple[type[EncoderLoader], tuple[Path, str, int]]:
        return EncoderLoader, (self.folder, self.device, self.batch_tokens)

    def load(self) -> SentenceEncoder:
        """The encoder, loaded once per process."""
        return _load_once(self)

    def __call__(self) -> Callable[[Sequence[str]], np.ndarray]:
        return partial(self.load().encode, advance=self.advance)


@lru_cache(maxsize=1)
def _load_once(loader: EncoderLoader) -> SentenceEncoder:
    from descry.embedding.encoder import SentenceEncoder

    return SentenceEncoder(loader.folder, loader.device, loader.batch_tokens)


class ShardedEncoder:
    """An encoder that works in shards, on any engine; vectors of finished shards are kept in a folder, by content."""

    def __init__(self, source: EncoderLoader, engine: Engine, shard: int, folder: Path) -> None:
        """shard: texts per shard; folder: its name must identify the encoder's weights and settings."""
        self._source, self._engine, self._shard, self._folder = source, engine, shard, folder

    def encode(self, texts: Sequence[str], description: str = "embedding") -> np.ndarray:
        """Unit vectors of the texts, float32 [texts, width]. description: label of the progress bar."""
        shards = [tuple(texts[start : start + self._shard]) for start in range(0, len(texts), self._shard)]
        files = {shard: self._folder / f"{_hash(shard)}.safetensors" for shard in shards}
        vectors_of = {shard: kept for shard, file in files.items() if (kept := _read_kept(file)) is not None}
        missing = [shard for shard in files if shard not in vectors_of]
        with tqdm(
            total=len(texts), initial=sum(map(len, vectors_of)), desc=description, unit="text", disable=not texts
        ) as bar:
            for shard, vectors in self._engine.map(replace(self._source, advance=bar.update), missing):
                write_arrays(files[shard], {"vectors": vectors}, VECTOR_ARRAYS, {})
                vectors_of[shard] = vectors
                bar.update(sum(map(len, vectors_of)) - bar.n)  # on another machine, nothing was told of batches
        return np.concatenate([vectors_of[shard] for shard in shards])

    def words(self) -> list[str]:
        """Whole words of the encoder's vocabulary, in order of their ids."""
        return self._source.load().words()


def _read_kept(file: Path) -> np.ndarray | None:
    try:
        return read_arrays(file, VECTOR_ARRAYS)[0]["vectors"] if file.exists() else None
    except InputError:  # damaged
        return None


def _hash(texts: Sequence[str]) -> str:
    return hashlib.blake2b(json.dumps(texts).encode(), digest_size=16).hexdigest()
