"""The forward pass: every neuron of every layer at once, pooled on the fly, fed to the accumulators; in shards."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from heapq import nsmallest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

from descry.artifacts import Activations
from descry.batching import token_batches
from descry.devices import DTYPES, usable
from descry.engine import Engine, Local, Make
from descry.errors import InputError
from descry.exemplars import Kept, read_kept, write_kept
from descry.neurons import Site, ffn_sites
from descry.shards import Saver

SHARD = 4096
"""Sentences of a shard, where nothing else is said; batches are formed among them."""


def _max(values: Tensor, own: Tensor) -> Tensor:
    return values.masked_fill(~own.unsqueeze(-1), -torch.inf).amax(1)


def _mean(values: Tensor, own: Tensor) -> Tensor:
    weights = own.to(values.dtype) / own.sum(1, keepdim=True)
    return torch.bmm(weights.unsqueeze(1), values).squeeze(1)


def _first(values: Tensor, own: Tensor) -> Tensor:
    return values[torch.arange(len(values)), own.int().argmax(1)]


def _last(values: Tensor, own: Tensor) -> Tensor:
    return values[torch.arange(len(values)), own.shape[1] - 1 - own.flip(1).int().argmax(1)]


See = Callable[[Tensor, Tensor], Tensor]
"""What is kept of values [batch, tokens, width], given the own-token mask [batch, tokens]."""

POOLINGS: dict[str, See] = {
    "max": _max,
    "mean": _mean,
    "first": _first,
    "last": _last,
}
"""How a neuron's values over a sentence's own tokens become one, by name: each gives [batch, width]."""


def probe_sample(ids: Iterable[str], size: int, key: str) -> np.ndarray:
    """Rows of a sample of at most `size`, ascending int32: those whose keyed hash is lowest, so that the
    sample depends on the sentences and not on their order. Memory is O(size)."""
    keyed = hashlib.blake2b(key=key.encode(), digest_size=8)

    def digest(text: str) -> bytes:
        own = keyed.copy()
        own.update(text.encode())
        return own.digest()

    lowest = nsmallest(size, ((digest(text), row) for row, text in enumerate(ids)))
    return np.array(sorted(row for _, row in lowest), dtype=np.int32)


class Target:
    """A model whose neurons are read: tokenizer, weights, sites."""

    def __init__(self, folder: Path, *, device: str = "cpu", dtype: str = "float32") -> None:
        """folder: a local model folder with safetensors weights. Errors: InputError where it cannot load or the device
        is not there."""
        self.device = usable(device)
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=DTYPES[dtype])
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{folder}: the target model does not load: {reason}") from error
        self.model: Any = model.eval().to(self.device)
        self.sites: list[Site] = ffn_sites(self.model)

    @property
    def widths(self) -> list[int]:
        """Neurons of each layer, first layer first."""
        return [site.width for site in self.sites]

    def encode(self, texts: Sequence[str]) -> tuple[list[list[int]], list[list[int]]]:
        """Token ids and special-token masks, cut to the model's longest input."""
        longest = min(self.tokenizer.model_max_length, getattr(self.model.config, "max_position_embeddings", 512))
        out = self.tokenizer(list(texts), truncation=True, max_length=longest, return_special_tokens_mask=True)
        return out["input_ids"], out["special_tokens_mask"]

    def replaced(self, model: nn.Module, width: int | None = None) -> Target:
        """The same tokenizer and device with another model, of which the last `width` neurons of every layer are
        read (None: all)."""
        other = copy(self)
        other.model = model.eval().to(self.device)
        other.sites = ffn_sites(model)
        if width is not None:
            other.sites = [replace(site, width=width) for site in other.sites]
        return other

    def batch(self, ids: list[list[int]], special: list[list[int]]) -> tuple[Tensor, Tensor, Tensor]:
        """Token ids and attention mask, int64, and the mask of own tokens, bool: each [batch, tokens], padded on the
        right. Errors: InputError where a sentence has no token of its own."""
        tokens = pad_sequence([torch.tensor(i, dtype=torch.int64) for i in ids], batch_first=True)
        length = torch.tensor([len(i) for i in ids])
        attention = (torch.arange(tokens.shape[1]) < length[:, None]).to(torch.int64)
        marks = pad_sequence([torch.tensor(s, dtype=torch.int64) for s in special], batch_first=True)
        own = (attention == 1) & (marks == 0)
        if not bool(own.any(1).all()):
            raise InputError("a sentence has no token that the target's tokenizer knows as its own; drop it")
        return tokens.to(self.device), attention.to(self.device), own.to(self.device)

    @torch.inference_mode()
    def inputs(
        self, ids: list[list[int]], special: list[list[int]], sights: Sequence[tuple[nn.Module, See]]
    ) -> list[Tensor]:
        """What each sight makes of its module's input, in one pass over a batch, in order of execution."""
        tokens, attention, own = self.batch(ids, special)
        seen: list[Tensor] = []
        hooks = [
            module.register_forward_pre_hook(lambda _, inputs, see=see: seen.append(see(inputs[0], own)))
            for module, see in sights
        ]
        try:
            self.model(input_ids=tokens, attention_mask=attention)
        finally:
            for hook in hooks:
                hook.remove()
        return seen

    def pooled(self, ids: list[list[int]], special: list[list[int]], poolings: Sequence[str]) -> list[Tensor]:
        """Each neuron pooled over each sentence's own tokens: float32 [batch, neurons] on the device, one a pooling.

        Padding and special tokens ([CLS], [SEP], BOS) never enter.
        """

        def sight(site: Site) -> See:
            return lambda values, own: torch.stack([POOLINGS[p](values[..., -site.width :], own) for p in poolings])

        layers = self.inputs(ids, special, [(site.module, sight(site)) for site in self.sites])
        return list(torch.cat(layers, dim=2).to(torch.float32))


@dataclass(frozen=True)
class Shard:
    """Some of a corpus's sentences: the row of the first, their texts, and which rows are in the probe (ascending)."""

    start: int
    texts: list[str]
    probe_rows: np.ndarray


def shards(pieces: Iterable[list[str]], probe_rows: np.ndarray) -> Iterator[Shard]:
    """Pieces of a corpus, one after the other, as shards. probe_rows: of the whole corpus, ascending."""
    start = 0
    for texts in pieces:
        first, last = np.searchsorted(probe_rows, [start, start + len(texts)])
        yield Shard(start, texts, probe_rows[first:last])
        start += len(texts)


def read(target: Target, shard: Shard, *, poolings: Sequence[str], top_k: int, batch_tokens: int) -> Kept:
    """What is kept of a shard, all layers in one pass. The same whatever else is read before or beside it."""
    layer = np.repeat([site.layer for site in target.sites], target.widths).astype(np.int16)
    index = np.concatenate([np.arange(width, dtype=np.int32) for width in target.widths])
    kept = Kept(layer, index, poolings, top_k, shard.probe_rows, target.device)
    ids, special = target.encode(shard.texts)
    batches = token_batches([len(i) for i in ids], batch_tokens)
    order = np.concatenate(batches) + shard.start
    there = torch.from_numpy(order).to(target.device)
    stops = np.cumsum([len(batch) for batch in batches])
    for batch, stop in zip(batches, stops, strict=True):
        here = slice(stop - len(batch), stop)
        pooled = target.pooled([ids[i] for i in batch], [special[i] for i in batch], poolings)
        kept.update(pooled, order[here], there[here])
    return kept


@dataclass(frozen=True)
class Reader:
    """Loads a target and gives what reads a shard with it: the same on every machine that sees the folder.

    options: of `read`; the others: of `Target`.
    """

    folder: Path
    device: str
    dtype: str
    options: tuple[tuple[str, Any], ...]

    def __call__(self) -> Callable[[Shard], Kept]:
        target = Target(self.folder, device=self.device, dtype=self.dtype)
        return partial(read, target, **dict(self.options))


def gathered(
    engine: Engine,
    make: Make[Shard, Kept],
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
    kept, done = read_kept(checkpoint) if checkpoint and checkpoint.exists() else (None, {})

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


def extract_each(
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
    work = partial(read, target, poolings=poolings, top_k=top_k, batch_tokens=batch_tokens)
    return gathered(Local(), lambda: work, shards(pieces, probe_rows), probe_rows, len(texts), progress=progress)


def extract(
    target: Target, texts: Sequence[str], probe_rows: np.ndarray, *, pooling: str = "mean", **options: Any
) -> Activations:
    """`extract_each` for one pooling."""
    return extract_each(target, texts, probe_rows, poolings=[pooling], **options)[0]
