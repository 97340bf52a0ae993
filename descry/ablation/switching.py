"""Ablation of neurons: run the target with some of them switched off, that is, fixed to a constant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from descry.models.forward import first_tensor, forward, is_encoder_decoder
from descry.models.neurons import Site
from descry.models.pooling import POOLINGS, Reduction
from descry.models.target import Target

Value = Literal["mean", "zero"]
"""The constant of a neuron that is switched off: its mean over tokens, or 0."""


def measure_token_means(target: Target, texts: Sequence[str], batch_tokens: int = 1024) -> np.ndarray:
    """Mean activation of every neuron over the texts' own tokens: float32 [neurons], in order of layer, then index."""

    def make_reduction(site: Site) -> Reduction:
        return lambda values, own: site.read(values)[own].to(torch.float64).sum(0).cpu()

    ids, special = target.encode(texts)
    totals, tokens = torch.zeros(sum(target.widths), dtype=torch.float64), sum(mark.count(0) for mark in special)
    for batch in target.make_batches(ids, batch_tokens):
        picked = [ids[i] for i in batch], [special[i] for i in batch]
        totals += torch.cat(target.read(*picked, [(site, make_reduction(site)) for site in target.sites]))
    return (totals / max(tokens, 1)).to(torch.float32).numpy()


@contextmanager
def switch_off(target: Target, neurons: np.ndarray, values: np.ndarray) -> Iterator[Callable[[], None]]:
    """Fix some neurons of the model to constants on every token, as long as the block runs. Yields a function that must
    be called before each forward pass.

    neurons: int [n], positions in order of layer, then index; values: float32 [n], their constants. Sites with
    `directions` are not supported.
    """
    changes: dict[tuple[nn.Module, bool], dict[int, tuple[int, Tensor, Tensor]]] = {}
    for site, (start, stop) in zip(target.sites, pairwise(np.cumsum([0, *target.widths])), strict=True):
        inside = (neurons >= start) & (neurons < stop)
        columns, constants = torch.from_numpy(neurons[inside] - start), torch.from_numpy(values[inside])
        change = site.width, columns.to(target.device), constants.to(target.device)
        if inside.any():
            changes.setdefault((site.module, site.output), {})[site.call] = change
    calls: dict[nn.Module, Iterator[int]] = {}

    def begin() -> None:
        calls.update({module: count() for module, _ in changes})

    def replace(wanted: Mapping[int, tuple[int, Tensor, Tensor]], module: nn.Module, original: Any) -> Any:
        change = wanted.get(next(calls[module]))
        if change is None:
            return None
        width, columns, constants = change
        values = first_tensor(original)
        assert values is not None
        changed = values.clone()
        changed[..., changed.shape[-1] - width + columns] = constants.to(changed.dtype)
        return (changed, *original[1:]) if isinstance(original, tuple) else changed

    def hook(wanted: Mapping[int, tuple[int, Tensor, Tensor]]) -> Callable[..., Any]:
        return lambda module, *values: replace(wanted, module, values[-1])

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
    width]. off: the neurons that are switched off and their constants, see `switch_off`."""
    nothing = np.zeros(0, np.int64), np.zeros(0, np.float32)
    ids, special = target.encode(texts)
    vectors: np.ndarray | None = None
    with switch_off(target, *(off or nothing)) as begin:
        for batch in target.make_batches(ids, batch_tokens):
            begin()
            tokens, attention, own = target.batch([ids[i] for i in batch], [special[i] for i in batch])
            values = forward(target.model, target.stack, tokens, attention)[0]
            if is_encoder_decoder(target.model) and target.stack != "encoder":
                own = torch.cat([torch.zeros_like(own[:, :1]), own], dim=1)
            pooled = POOLINGS[pooling](values.to(torch.float32), own).cpu().numpy()
            vectors = np.zeros((len(texts), pooled.shape[1]), np.float32) if vectors is None else vectors
            vectors[batch] = pooled
    return np.zeros((0, 0), np.float32) if vectors is None else vectors


def draw_matched(own: np.ndarray, layer: np.ndarray, pool: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw as many random neurons of each layer as `own` has there, out of `pool`, or all if the pool has fewer: int64,
    ascending. own: int [n], positions; layer: int [neurons]; pool: bool [neurons]."""
    chosen = [
        generator.permutation(np.flatnonzero(pool & (layer == number)))[: int((layer[own] == number).sum())]
        for number in np.unique(layer[own])
    ]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *chosen]))
