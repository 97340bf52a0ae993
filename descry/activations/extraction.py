"""Extract activations: one pass over a corpus, in shards, with all neurons of all layers fed to accumulators."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from tqdm import tqdm

from descry.activations.accumulators import on_cpu
from descry.activations.kept import Kept, read_kept, write_kept
from descry.activations.record import Activations
from descry.compute.checkpoints import Saver
from descry.compute.engine import Engine, LocalEngine, TwoSteps, ignore
from descry.errors import InputError
from descry.models.neurons import describe_sites
from descry.models.target import Target, TargetSource

SHARD = 4096
"""Sentences of a shard of texts in memory; batches are formed within a shard."""
_TRIM = 512  # sentences after which free memory is returned


@dataclass(frozen=True)
class Shard:
    """A part of a corpus: the row of its first sentence, the texts, and the rows that are in the probe (ascending)."""

    start: int
    texts: list[str]
    probe_rows: np.ndarray


def cut_shards(pieces: Iterable[list[str]], probe_rows: np.ndarray) -> Iterator[Shard]:
    """Turn consecutive pieces of a corpus into shards. probe_rows: of the whole corpus, ascending."""
    start = 0
    for texts in pieces:
        first, last = np.searchsorted(probe_rows, [start, start + len(texts)])
        yield Shard(start, texts, probe_rows[first:last])
        start += len(texts)


def _trim_heap() -> None:
    """Return free memory to the system if the C library is glibc: batches of many shapes fragment its heap, which grows
    by 0.1 GB over 100,000 sentences."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


@dataclass(frozen=True)
class Packed:
    """A shard whose batches are ready for the model. batches: the rows of each in the corpus, and its `Target.pack`."""

    probe_rows: np.ndarray
    batches: list[tuple[np.ndarray, Tensor]]


def pack_shard(target: Target, shard: Shard, batch_tokens: int) -> Packed:
    """Tokenize a shard and form its batches."""
    ids, special = target.encode(shard.texts)
    packed = [
        (rows + shard.start, target.pack([ids[i] for i in rows], [special[i] for i in rows]))
        for rows in target.make_batches(ids, batch_tokens)
    ]
    return Packed(shard.probe_rows, packed)


def make_kept(target: Target, poolings: Sequence[str], top_k: int, probe_rows: np.ndarray) -> Kept:
    """Empty accumulators for a target."""
    return Kept(*target.neurons, poolings, top_k, probe_rows, target.device, units=describe_sites(target.sites))


def read_packed(target: Target, packed: Packed, kept: Kept, advance: Callable[[int], object] = ignore) -> Kept:
    """Read a shard into accumulators, all layers in one pass, and return them. advance: is told the number of sentences
    of every batch, once it is read."""
    read = 0
    for rows, batch in packed.batches:
        kept.update(target.pool_packed(batch, kept.poolings), rows)
        advance(len(rows))
        if on_cpu(target.device) and read // _TRIM < (read + len(rows)) // _TRIM:
            _trim_heap()
        read += len(rows)
    return kept


def read_shard(
    target: Target,
    shard: Shard,
    *,
    poolings: Sequence[str],
    top_k: int,
    batch_tokens: int,
    advance: Callable[[int], object] = ignore,
) -> Kept:
    """Read a shard by itself; what is kept does not depend on any other shard. advance: see `read_packed`."""
    kept = make_kept(target, poolings, top_k, shard.probe_rows)
    return read_packed(target, pack_shard(target, shard, batch_tokens), kept, advance)


@dataclass(frozen=True)
class Reader:
    """Loads a target and returns what reads shards with it. Options: see `read_shard`.

    On another machine each shard has accumulators of its own, and nothing is told of batches. begin: makes those of
    this process from the target, to which all shards read here are added.
    """

    source: TargetSource
    poolings: tuple[str, ...]
    top_k: int
    batch_tokens: int
    advance: Callable[[int], object] = ignore
    begin: Callable[[Target], Kept] | None = None

    def __reduce__(self) -> tuple[type[Reader], tuple[Any, ...]]:
        return Reader, (self.source, self.poolings, self.top_k, self.batch_tokens)

    def __call__(self) -> TwoSteps[Shard, Kept]:
        target = self.source.load()
        together = self.begin(target) if self.begin else None

        def read(packed: Packed) -> Kept:
            kept = together or make_kept(target, self.poolings, self.top_k, packed.probe_rows)
            return read_packed(target, packed, kept, self.advance)

        return TwoSteps(lambda shard: pack_shard(target, shard, self.batch_tokens), read)


def extract_shards(
    engine: Engine,
    make: Reader,
    corpus: Iterable[Shard],
    probe_rows: np.ndarray,
    count: int,
    *,
    checkpoint: Path | None = None,
    progress: str = "",
) -> list[Activations]:
    """Extract the activations of a whole corpus, one Activations for each pooling; memory is O(neurons x (top_k +
    probe)), whatever the size of the corpus.

    make: makes the function that reads a shard. probe_rows: of the corpus; count: its sentences, at
    least 1. checkpoint: a file with the shards done so far; if it exists, the pass resumes from it, so its name must
    identify all that goes into the result. progress: label of the progress bar, "" for none. Errors: InputError, see
    `Kept.compute`.
    """
    kept, done = _read_checkpoint(checkpoint)

    def begin(target: Target) -> Kept:
        nonlocal kept
        kept = (kept or make_kept(target, make.poolings, make.top_k, probe_rows)).to(target.device)
        return kept

    def save() -> None:
        if checkpoint and kept:
            write_kept(checkpoint, kept, done)

    saver = Saver(save)
    with tqdm(total=count, initial=sum(done.values()), desc=progress, unit="sentence", disable=not progress) as bar:
        reader = replace(make, advance=bar.update, begin=begin)
        for shard, part in engine.map(reader, (shard for shard in corpus if shard.start not in done)):
            kept = kept or part.empty(probe_rows)
            if part is not kept:
                kept.merge(part)
            done[shard.start] = len(shard.texts)
            bar.update(sum(done.values()) - bar.n)  # on another machine, nothing was told of batches
            saver.shard_done()
    assert kept is not None
    return kept.compute()


def _read_checkpoint(checkpoint: Path | None) -> tuple[Kept | None, dict[int, int]]:
    try:
        return read_kept(checkpoint) if checkpoint and checkpoint.exists() else (None, {})
    except InputError:  # damaged
        return None, {}


def extract_poolings(
    target: Target,
    texts: Sequence[str],
    probe_rows: np.ndarray,
    *,
    poolings: Sequence[str],
    top_k: int = 200,
    batch_tokens: int = 1024,
    shard: int = SHARD,
    progress: str = "",
) -> list[Activations]:
    """`extract_shards` over texts in memory, in this process: one Activations for each of `poolings`."""
    pieces = (list(texts[start : start + shard]) for start in range(0, len(texts), shard))
    reader = Reader(target, tuple(poolings), top_k, batch_tokens)
    return extract_shards(
        LocalEngine(), reader, cut_shards(pieces, probe_rows), probe_rows, len(texts), progress=progress
    )


def extract(
    target: Target, texts: Sequence[str], probe_rows: np.ndarray, *, pooling: str = "mean", **options: Any
) -> Activations:
    """`extract_poolings` for one pooling."""
    return extract_poolings(target, texts, probe_rows, poolings=[pooling], **options)[0]
