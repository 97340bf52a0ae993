"""The forward pass: every neuron of every layer at once, pooled on the fly, fed to the accumulators."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace
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
from descry.errors import InputError
from descry.exemplars import Moments, Probe, TopK
from descry.neurons import Site, ffn_sites

SHARD = 4096


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


def probe_sample(ids: Sequence[str], size: int, key: str) -> np.ndarray:
    """Rows of a sample of at most `size`, ascending int32: those whose keyed hash is lowest, so that the
    sample depends on the sentences and not on their order."""
    digests = [hashlib.blake2b(i.encode(), key=key.encode(), digest_size=8).digest() for i in ids]
    lowest = sorted(range(len(ids)), key=lambda row: (digests[row], row))[:size]
    return np.array(sorted(lowest), dtype=np.int32)


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
        """Each neuron pooled over each sentence's own tokens: float32 [batch, neurons] on the CPU, one a pooling.

        Padding and special tokens ([CLS], [SEP], BOS) never enter.
        """

        def sight(site: Site) -> See:
            return lambda values, own: torch.stack([POOLINGS[p](values[..., -site.width :], own) for p in poolings])

        layers = self.inputs(ids, special, [(site.module, sight(site)) for site in self.sites])
        return list(torch.cat(layers, dim=2).to("cpu", torch.float32))


class _Kept:
    """The accumulators of one pooling."""

    def __init__(self, neurons: int, top_k: int, probe_rows: np.ndarray) -> None:
        self.top, self.moments, self.probe = TopK(neurons, top_k), Moments(neurons), Probe(neurons, probe_rows)

    def update(self, values: Tensor, rows: Tensor) -> None:
        self.moments.update(values)
        self.top.update(values, rows)
        self.probe.update(values, rows)

    def activations(self, target: Target, pooling: str) -> Activations:
        values, rows = self.top.compute()
        mean, std, maximum = self.moments.compute()
        return Activations(
            count=self.moments.count,
            layer=np.repeat([site.layer for site in target.sites], target.widths).astype(np.int16),
            index=np.concatenate([np.arange(width) for width in target.widths]).astype(np.int32),
            values=values,
            rows=rows,
            mean=mean,
            std=std,
            maximum=maximum,
            probe_rows=self.probe.rows,
            probe=self.probe.compute(),
            pooling=pooling,
        )


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
    """One pass over the sentences, all layers at once; memory is O(neurons x (top_k + probe)) a pooling.

    probe_rows: ascending rows whose every activation is kept. progress: the bar's label, "" for no bar.
    Returns one Activations for each of `poolings`.
    """
    kept = [_Kept(sum(target.widths), top_k, probe_rows) for _ in poolings]
    with tqdm(total=len(texts), desc=progress, unit="sentence", disable=not progress) as bar:
        for start in range(0, len(texts), SHARD):
            ids, special = target.encode(texts[start : start + SHARD])
            for batch in token_batches([len(i) for i in ids], batch_tokens):
                rows = torch.from_numpy(batch.astype(np.int64)) + start
                pooled = target.pooled([ids[i] for i in batch], [special[i] for i in batch], poolings)
                for accumulators, values in zip(kept, pooled, strict=True):
                    accumulators.update(values, rows)
                bar.update(len(batch))
    return [one.activations(target, pooling) for one, pooling in zip(kept, poolings, strict=True)]


def extract(
    target: Target, texts: Sequence[str], probe_rows: np.ndarray, *, pooling: str = "mean", **options: Any
) -> Activations:
    """`extract_each` for one pooling."""
    return extract_each(target, texts, probe_rows, poolings=[pooling], **options)[0]
