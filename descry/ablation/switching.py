"""Ablation of neurons: run the target with some of them switched off, that is, fixed to a constant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from descry.models.dictionary import Dictionary
from descry.models.forward import first_tensor, is_encoder_decoder
from descry.models.neurons import Site
from descry.models.pooling import POOLINGS, Reduction
from descry.models.target import Target

Value = Literal["mean", "zero"]
"""The constant of a neuron that is switched off: its mean over tokens, or 0."""


Change = Callable[[Tensor], Tensor]
"""Values of a module -> the same with some units fixed."""


def _request_output(target: Target, pooling: str) -> tuple[Site, Reduction]:
    """A request for the model's final representation, its last layer's output pooled over own tokens, in float32."""
    paired = is_encoder_decoder(target.model)
    module = target.model.get_encoder() if paired and target.stack == "encoder" else target.model
    output = Site(0, "", module, 0, output=True, decoder=paired and target.stack != "encoder")
    return output, lambda values, own: POOLINGS[pooling](values.to(torch.float32), own).cpu()


def _stack_rows(parts: Sequence[Tensor], batches: Sequence[np.ndarray]) -> np.ndarray:
    """What every batch gave, in the order of the texts: float32 [texts, width]."""
    if not parts:
        return np.zeros((0, 0), np.float32)
    return torch.cat([*parts])[np.argsort(np.concatenate(batches))].numpy()


def learn(
    target: Target, texts: Sequence[str], *, pooling: str, batch_tokens: int = 1024
) -> tuple[np.ndarray, np.ndarray]:
    """Mean activation of every neuron over the texts' own tokens, float32 [neurons], in order of layer, then index; and
    what `represent` returns. Both from one pass."""

    def make_reduction(site: Site) -> Reduction:
        return lambda values, own: site.read(values)[own].to(torch.float64).sum(0).cpu()

    requests = [(site, make_reduction(site)) for site in target.sites]
    totals, parts = torch.zeros(sum(target.widths), dtype=torch.float64), []
    ids, special = target.encode(texts)
    batches = target.make_batches(ids, batch_tokens)
    for batch in batches:
        picked = [ids[i] for i in batch], [special[i] for i in batch]
        *sums, vectors = target.read(*picked, [*requests, _request_output(target, pooling)])
        totals += torch.cat(sums)
        parts.append(vectors)
    means = totals / max(sum(mark.count(0) for mark in special), 1)
    return means.to(torch.float32).numpy(), _stack_rows(parts, batches)


def _list_changes(site: Site, columns: Tensor, constants: Tensor) -> list[tuple[Site, Change]]:
    """How some units of a site are fixed to constants: changes of values, each with the site that has these."""
    dictionary, changes = site.encoder, list[Tensor]()
    if not isinstance(dictionary, Dictionary):

        def fix(values: Tensor) -> Tensor:
            changed = values.clone()
            changed[..., changed.shape[-1] - site.width + columns] = constants.to(changed.dtype)
            return changed

        return [(site, fix)]

    def note(values: Tensor) -> Tensor:
        changes.append(dictionary.change(values, columns, constants))
        return values

    def add(values: Tensor) -> Tensor:
        return values + changes.pop().to(values.dtype)

    if site.written is None:
        return [(site, lambda values: add(note(values)))]
    return [(site, note), (site.written, add)]


@contextmanager
def switch_off(target: Target, neurons: np.ndarray, values: np.ndarray) -> Iterator[Callable[[], None]]:
    """Fix some neurons of the model to constants on every token, as long as the block runs. Yields a function that must
    be called before each forward pass.

    neurons: int [n], positions in order of layer, then index; values: float32 [n], their constants. A latent of a
    dictionary is fixed by the change of what its dictionary reconstructs. Random directions are not supported.
    """
    changes: dict[tuple[nn.Module, bool], dict[int, Change]] = {}
    for site, (start, stop) in zip(target.sites, pairwise(np.cumsum([0, *target.widths])), strict=True):
        inside = (neurons >= start) & (neurons < stop)
        columns, constants = torch.from_numpy(neurons[inside] - start), torch.from_numpy(values[inside])
        if inside.any():
            for place, change in _list_changes(site, columns.to(target.device), constants.to(target.device)):
                changes.setdefault((place.module, place.output), {})[place.call] = change
    calls: dict[tuple[nn.Module, bool], Iterator[int]] = {}

    def begin() -> None:
        calls.update({place: count() for place in changes})

    def replace(wanted: Mapping[int, Change], number: int, original: Any) -> Any:
        if number not in wanted:
            return None
        values = first_tensor(original)
        assert values is not None
        changed = wanted[number](values)
        return (changed, *original[1:]) if isinstance(original, tuple) else changed

    def hook(output: bool, wanted: Mapping[int, Change]) -> Callable[..., Any]:
        return lambda module, *values: replace(wanted, next(calls[module, output]), values[-1])

    handles = [
        (module.register_forward_hook if output else module.register_forward_pre_hook)(hook(output, wanted))
        for (module, output), wanted in changes.items()
    ]
    begin()
    try:
        yield begin
    finally:
        for handle in handles:
            handle.remove()


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
    request, parts = _request_output(target, pooling), []
    batches = target.make_batches(ids, batch_tokens)
    with switch_off(target, *(off or nothing)) as begin:
        for batch in batches:
            begin()
            parts += target.read([ids[i] for i in batch], [special[i] for i in batch], [request])
    return _stack_rows(parts, batches)


def draw_matched(own: np.ndarray, layer: np.ndarray, pool: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw as many random neurons of each layer as `own` has there, out of `pool`, or all if the pool has fewer: int64,
    ascending. own: int [n], positions; layer: int [neurons]; pool: bool [neurons]."""
    chosen = [
        generator.permutation(np.flatnonzero(pool & (layer == number)))[: int((layer[own] == number).sum())]
        for number in np.unique(layer[own])
    ]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *chosen]))
