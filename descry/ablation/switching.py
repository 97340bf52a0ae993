"""Neurons switched off: what a model makes of sentences when some of its neurons say nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from descry.compute.batching import batch_by_tokens
from descry.models.forward import first_tensor, forward, is_encoder_decoder
from descry.models.neurons import Site
from descry.models.target import POOLINGS, Target

Value = Literal["mean", "zero"]
"""What a neuron that is switched off gives: its mean over tokens, or nothing."""


def measure_token_means(target: Target, texts: Sequence[str], batch_tokens: int = 1024) -> np.ndarray:
    """Every neuron's mean over the own tokens of some texts: float32 [neurons], in order of layer, then index."""

    def sight(site: Site) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda values, own: site.read(values)[own].to(torch.float64).sum(0).cpu()

    ids, special = target.encode(texts)
    totals, tokens = torch.zeros(sum(target.widths), dtype=torch.float64), sum(mark.count(0) for mark in special)
    for batch in batch_by_tokens([len(i) for i in ids], batch_tokens):
        picked = [ids[i] for i in batch], [special[i] for i in batch]
        totals += torch.cat(target.inputs(*picked, [(site, sight(site)) for site in target.sites]))
    return (totals / max(tokens, 1)).to(torch.float32).numpy()


@contextmanager
def switch_off(target: Target, neurons: np.ndarray, values: np.ndarray) -> Iterator[Callable[[], None]]:
    """While it lasts, some neurons of the model give fixed values on every token; call what it gives before each pass.

    neurons: int [n], positions in order of layer, then index; values: float32 [n], what each gives. The sites must be
    those of the model itself: not `directions`.
    """
    changes: dict[tuple[nn.Module, bool], dict[int, tuple[int, Tensor, Tensor]]] = {}
    for site, (start, stop) in zip(target.sites, pairwise(np.cumsum([0, *target.widths])), strict=True):
        own = (neurons >= start) & (neurons < stop)
        columns, given = torch.from_numpy(neurons[own] - start), torch.from_numpy(values[own])
        change = site.width, columns.to(target.device), given.to(target.device)
        if own.any():
            changes.setdefault((site.module, site.output), {})[site.call] = change
    calls: dict[nn.Module, Iterator[int]] = {}

    def begin() -> None:
        calls.update({module: count() for module, _ in changes})

    def changed(wanted: Mapping[int, tuple[int, Tensor, Tensor]], module: nn.Module, given: Any) -> Any:
        change = wanted.get(next(calls[module]))
        if change is None:
            return None
        width, columns, fixed = change
        read = first_tensor(given)
        assert read is not None
        made = read.clone()
        made[..., made.shape[-1] - width + columns] = fixed.to(made.dtype)
        return (made, *given[1:]) if isinstance(given, tuple) else made

    def hook(wanted: Mapping[int, tuple[int, Tensor, Tensor]]) -> Callable[..., Any]:
        return lambda module, *given: changed(wanted, module, given[-1])

    handles = [
        module.register_forward_hook(hook(wanted)) if output else module.register_forward_pre_hook(hook(wanted))
        for (module, output), wanted in changes.items()
    ]
    begin()
    try:
        yield begin
    finally:
        for handle in handles:
            handle.remove()


@torch.inference_mode()
def represent(
    target: Target,
    texts: Sequence[str],
    *,
    pooling: str,
    batch_tokens: int = 1024,
    off: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """The model's final representation of every text, its last layer's output pooled over own tokens: float32 [texts,
    width]. off: neurons that are switched off and their values, as `switched_off` takes them."""
    nothing = np.zeros(0, np.int64), np.zeros(0, np.float32)
    ids, special = target.encode(texts)
    out: np.ndarray | None = None
    with switch_off(target, *(off or nothing)) as begin:
        for batch in batch_by_tokens([len(i) for i in ids], batch_tokens):
            begin()
            tokens, attention, own = target.batch([ids[i] for i in batch], [special[i] for i in batch])
            values = forward(target.model, target.stack, tokens, attention)[0]
            if is_encoder_decoder(target.model) and target.stack != "encoder":
                own = torch.cat([torch.zeros_like(own[:, :1]), own], dim=1)
            pooled = POOLINGS[pooling](values.to(torch.float32), own).cpu().numpy()
            out = np.zeros((len(texts), pooled.shape[1]), np.float32) if out is None else out
            out[batch] = pooled
    return np.zeros((0, 0), np.float32) if out is None else out


def draw_matched(own: np.ndarray, layer: np.ndarray, pool: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """As many random neurons of each layer as there are of `own`, out of `pool`, or all of it there are fewer: int64,
    ascending. own: int [n], positions; layer: int [neurons]; pool: bool [neurons]."""
    chosen = [
        generator.permutation(np.flatnonzero(pool & (layer == one)))[: int((layer[own] == one).sum())]
        for one in np.unique(layer[own])
    ]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *chosen]))
