"""A pass over a corpus: every neuron of every layer at once, fed to the accumulators, in shards."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from descry.activations.kept import Kept, read_kept, write_kept
from descry.activations.record import Activations
from descry.compute.batching import batch_by_tokens
from descry.compute.checkpoints import Saver
from descry.compute.engine import Engine, LocalEngine, MakeWorker
from descry.errors import InputError
from descry.models.target import Target, TargetSource

SHARD = 4096
"""Sentences of a shard, where nothing else is said; batches are formed among them."""
_TRIM = 512  # sentences after which free memory is given back


@dataclass(frozen=True)
class Shard:
    """Some of a corpus's sentences: the row of the first, their texts, and which rows are in the probe (ascending)."""

    start: int
    texts: list[str]
    probe_rows: np.ndarray


def cut_shards(pieces: Iterable[list[str]], probe_rows: np.ndarray) -> Iterator[Shard]:
    """Pieces of a corpus, one after the other, as shards. probe_rows: of the whole corpus, ascending."""
    start = 0
    for texts in pieces:
        first, last = np.searchsorted(probe_rows, [start, start + len(texts)])
        yield Shard(start, texts, probe_rows[first:last])
        start += len(texts)


def _trim() -> None:
    """Give free memory back to the system: batches of all shapes, one after the other, would leave the C library's heap
    ever wider, a tenth of a gigabyte over 100,000 sentences. Where that library is not glibc, nothing happens."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def read_shard(target: Target, shard: Shard, *, poolings: Sequence[str], top_k: int, batch_tokens: int) -> Kept:
    """What is kept of a shard, all layers in one pass. The same whatever else is read before or beside it."""
    layer = np.repeat([site.layer for site in target.sites], target.widths).astype(np.int16)
    index = np.concatenate([np.arange(width, dtype=np.int32) for width in target.widths])
    kept = Kept(layer, index, poolings, top_k, shard.probe_rows, target.device)
    ids, special = target.encode(shard.texts)
    batches = batch_by_tokens([len(i) for i in ids], batch_tokens)
    order = np.concatenate(batches) + shard.start
    there = torch.from_numpy(order).to(target.device)
    stops = np.cumsum([len(batch) for batch in batches])
    for batch, stop in zip(batches, stops, strict=True):
        here = slice(stop - len(batch), stop)
        pooled = target.pooled([ids[i] for i in batch], [special[i] for i in batch], poolings)
        kept.update(pooled, order[here], there[here])
        if here.start // _TRIM < stop // _TRIM:
            _trim()
    return kept


@dataclass(frozen=True)
class Reader:
    """Loads a target and gives what reads a shard with it: the same on every machine. The options: of `read_shard`."""

    source: TargetSource
    poolings: tuple[str, ...]
    top_k: int
    batch_tokens: int

    def __call__(self) -> Callable[[Shard], Kept]:
        target = self.source.load()
        return partial(read_shard, target, poolings=self.poolings, top_k=self.top_k, batch_tokens=self.batch_tokens)


def extract_shards(
    engine: Engine,
    make: MakeWorker[Shard, Kept],
    corpus: Iterable[Shard],
    probe_rows: np.ndarray,
    count: int,
    *,
    checkpoint: Path | None = None,
    progress: str = "",
) -> list[Activations]:
    """What is kept of a whole corpus, one Activations for each pooling; memory is O(neurons x (top_k + probe)),
    whatever its size.

    make: gives what reads a shard, as `Reader` does. probe_rows and count: of the corpus, whose sentences number
    `count`, at least 1. checkpoint: a file that holds what is done as long as not all is: where it is there, it is
    gone on from, so its name must stand for all that goes into the result. progress: the bar's label, "" for none.
    Errors: InputError as `Kept.compute`.
    """
    kept, done = _resumed(checkpoint)

    def save() -> None:
        if checkpoint and kept:
            write_kept(checkpoint, kept, done)

    saver = Saver(save)
    with tqdm(total=count, initial=sum(done.values()), desc=progress, unit="sentence", disable=not progress) as bar:
        for shard, part in engine.map(make, (shard for shard in corpus if shard.start not in done)):
            kept = (kept or part.empty(probe_rows)).on(part.device)
            kept.merge(part)
            done[shard.start] = len(shard.texts)
            bar.update(len(shard.texts))
            saver.shard_done()
    assert kept is not None
    return kept.compute()


def _resumed(checkpoint: Path | None) -> tuple[Kept | None, dict[int, int]]:
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
    progress: str = "",
) -> list[Activations]:
    """`gathered` over texts in memory, in this process: one Activations for each of `poolings`."""
    pieces = (list(texts[start : start + SHARD]) for start in range(0, len(texts), SHARD))
    reader = Reader(target, tuple(poolings), top_k, batch_tokens)
    return extract_shards(
        LocalEngine(), reader, cut_shards(pieces, probe_rows), probe_rows, len(texts), progress=progress
    )


def extract(
    target: Target, texts: Sequence[str], probe_rows: np.ndarray, *, pooling: str = "mean", **options: Any
) -> Activations:
    """`extract_each` for one pooling."""
    return extract_poolings(target, texts, probe_rows, poolings=[pooling], **options)[0]
