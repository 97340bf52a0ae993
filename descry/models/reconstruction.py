"""How much of a model's values its dictionaries explain, which tells whether they belong there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from descry.errors import InputError
from descry.models.dictionary import Dictionary
from descry.models.neurons import Site
from descry.models.pooling import Reduction
from descry.models.target import Target


def measure_explained_variance(target: Target, texts: Sequence[str], batch_tokens: int = 1024) -> dict[int, float]:
    """The share of the variance that each layer's dictionary explains, over the texts' own tokens, by layer.

    1 for a perfect reconstruction, 0 for one as good as the mean, below 0 for a worse one. The values are those that
    the dictionary makes up, of a transcoder its module's outputs. Empty if the units are no latents.
    """
    sites = [site for site in target.sites if isinstance(site.encoder, Dictionary)]
    requests = [(site, _keep(site.encoder)) for site in sites]
    requests += [(site.written or site, _keep(None)) for site in sites]
    sums: list[list[Tensor]] = [[] for _ in sites]
    ids, special = target.encode(texts)
    for batch in target.make_batches(ids, batch_tokens) if sites else ():
        values = target.read([ids[i] for i in batch], [special[i] for i in batch], requests)
        for place, (made, real) in enumerate(zip(values[: len(sites)], values[len(sites) :], strict=True)):
            parts = [(made - real).square().sum(), real.square().sum(), real.sum(0)]
            sums[place] = (
                [part + total for part, total in zip(parts, sums[place], strict=True)] if sums[place] else parts
            )
    tokens = sum(mark.count(0) for mark in special)
    explained = [1 - error / (squares - total.square().sum() / tokens) for error, squares, total in sums]
    return {site.layer: float(share) for site, share in zip(sites, explained, strict=True)}


def _keep(encoder: object) -> Reduction:
    """Keep every own token's values, or what a dictionary makes of them: float64 [tokens, width]."""

    def reduce(values: Tensor, own: Tensor) -> Tensor:
        kept = values[own]
        return (encoder.reconstruct(kept) if isinstance(encoder, Dictionary) else kept).to(torch.float64)

    return reduce


def check_explained_variance(sites: Sequence[Site], explained: dict[int, float]) -> None:
    """Errors: InputError if a dictionary explains no more than the mean does."""
    for site in sites:
        if site.layer in explained and not explained[site.layer] > 0:
            written = site.written or site
            values = f"{'outputs' if written.output else 'inputs'} of {written.name}"
            raise InputError(
                f"models.dictionaries: that of layer {site.layer} explains {explained[site.layer]:.2f} of the variance "
                f"of the {values}, no more than their mean does; it belongs to another model, or place "
                "(extract.site, if its files do not name it)"
            )
