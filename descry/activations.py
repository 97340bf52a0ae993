"""The forward pass: every neuron of every layer at once, pooled on the fly, fed to the accumulators."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging

from descry.artifacts import Activations
from descry.errors import InputError
from descry.exemplars import Moments, Probe, TopK
from descry.neurons import Site, ffn_sites

SHARD = 4096
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def _max(values: Tensor, own: Tensor) -> Tensor:
    return values.masked_fill(~own.unsqueeze(-1), -torch.inf).amax(1)


def _mean(values: Tensor, own: Tensor) -> Tensor:
    weights = own.to(values.dtype) / own.sum(1, keepdim=True)
    return torch.bmm(weights.unsqueeze(1), values).squeeze(1)


def _first(values: Tensor, own: Tensor) -> Tensor:
    return values[torch.arange(len(values)), own.int().argmax(1)]


def _last(values: Tensor, own: Tensor) -> Tensor:
    return values[torch.arange(len(values)), own.shape[1] - 1 - own.flip(1).int().argmax(1)]


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "max": _max,
    "mean": _mean,
    "first": _first,
    "last": _last,
}
"""Pooling by name: values [batch, tokens, width] and the own-token mask [batch, tokens] -> [batch, width]."""


def token_batches(lengths: Sequence[int], tokens: int) -> list[np.ndarray]:
    """Positions in batches of similar length: each padded batch holds at most `tokens` tokens (at least one
    sentence). Shortest first; equal lengths stay in order."""
    order = np.argsort(np.asarray(lengths), kind="stable")
    batches: list[np.ndarray] = []
    start = 0
    for stop in range(1, len(order) + 1):
        if stop == len(order) or (stop + 1 - start) * lengths[order[stop]] > tokens:
            batches.append(order[start:stop])
            start = stop
    return batches


def probe_sample(ids: Sequence[str], size: int, key: str) -> np.ndarray:
    """Rows of a sample of at most `size`, ascending int32: those whose keyed hash is lowest, so that the
    sample depends on the sentences and not on their order."""
    digests = [hashlib.blake2b(i.encode(), key=key.encode(), digest_size=8).digest() for i in ids]
    lowest = sorted(range(len(ids)), key=lambda row: (digests[row], row))[:size]
    return np.array(sorted(lowest), dtype=np.int32)


class Target:
    """A model whose neurons are read: tokenizer, weights, sites."""

    def __init__(self, folder: Path, *, device: str = "cpu", dtype: str = "float32") -> None:
        """folder: a local model folder with safetensors weights. Errors: InputError where it cannot load."""
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=DTYPES[dtype])
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{folder}: the target model does not load: {reason}") from error
        self.device = torch.device(device)
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

    @contextmanager
    def _pooled_into(self, pooled: list[Tensor], pool: Callable[[Tensor], Tensor]) -> Iterator[None]:
        hooks = [
            site.module.register_forward_pre_hook(lambda _, inputs: pooled.append(pool(inputs[0])))
            for site in self.sites
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @torch.inference_mode()
    def pooled(self, ids: list[list[int]], special: list[list[int]], pooling: str) -> Tensor:
        """float32 [batch, neurons] on the CPU: each neuron pooled over each sentence's own tokens.

        Padding, always on the right, and special tokens ([CLS], [SEP], BOS) never enter.
        Errors: InputError where a sentence has no token of its own.
        """
        tokens = pad_sequence([torch.tensor(i, dtype=torch.int64) for i in ids], batch_first=True)
        length = torch.tensor([len(i) for i in ids])
        attention = (torch.arange(tokens.shape[1]) < length[:, None]).to(torch.int64)
        marks = pad_sequence([torch.tensor(s, dtype=torch.int64) for s in special], batch_first=True)
        own = (attention == 1) & (marks == 0)
        if not bool(own.any(1).all()):
            raise InputError("a sentence has no token that the target's tokenizer knows as its own; drop it")
        own = own.to(self.device)
        layers: list[Tensor] = []
        with self._pooled_into(layers, lambda values: POOLINGS[pooling](values, own)):
            self.model(input_ids=tokens.to(self.device), attention_mask=attention.to(self.device))
        return torch.cat(layers, dim=1).to("cpu", torch.float32)


def extract(
    target: Target,
    texts: Sequence[str],
    probe_rows: np.ndarray,
    *,
    pooling: str = "mean",
    top_k: int = 200,
    batch_tokens: int = 1024,
    progress: str = "",
) -> Activations:
    """One pass over the sentences, all layers at once; memory is O(neurons x (top_k + probe)).

    probe_rows: ascending rows whose every activation is kept. progress: the bar's label, "" for no bar.
    """
    neurons = sum(target.widths)
    top, moments, probe = TopK(neurons, top_k), Moments(neurons), Probe(neurons, probe_rows)
    with tqdm(total=len(texts), desc=progress, unit="sentence", disable=not progress) as bar:
        for start in range(0, len(texts), SHARD):
            ids, special = target.encode(texts[start : start + SHARD])
            for batch in token_batches([len(i) for i in ids], batch_tokens):
                values = target.pooled([ids[i] for i in batch], [special[i] for i in batch], pooling)
                rows = torch.from_numpy(batch.astype(np.int64)) + start
                moments.update(values)
                top.update(values, rows)
                probe.update(values, rows)
                bar.update(len(batch))
    best, best_rows = top.compute()
    mean, std, maximum = moments.compute()
    return Activations(
        count=moments.count,
        layer=np.repeat([site.layer for site in target.sites], target.widths).astype(np.int16),
        index=np.concatenate([np.arange(width) for width in target.widths]).astype(np.int32),
        values=best,
        rows=best_rows,
        mean=mean,
        std=std,
        maximum=maximum,
        probe_rows=probe.rows,
        probe=probe.compute(),
        pooling=pooling,
    )
