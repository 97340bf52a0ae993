"""How much of a model's values its dictionaries explain, which tells whether they belong there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from descry.errors import InputError
from descry.models.dictionary import Dictionary
from descry.models.neurons import Site
from descry.models.pooling import Reduction
from descry.models.target import Target

MARGIN = 0.1
"""A dictionary may explain so much more of the same values of a neighbouring layer."""


def check_dictionaries(target: Target, texts: Sequence[str], batch_tokens: int = 1024) -> dict[int, float]:
    """`measure_explained_variance` of each layer's dictionary, by layer; empty if the units are no latents. Errors:
    InputError if one explains no more than the mean does, or more than MARGIN more in a neighbouring layer."""
    sites = [site for site in target.sites if isinstance(site.encoder, Dictionary)]
    rivals = [(site, rival) for site in sites for rival in _list_rivals(target, site)]
    shares = measure_explained_variance(target, [*sites, *(rival for _, rival in rivals)], texts, batch_tokens)
    explained = {site.layer: share for site, share in zip(sites, shares, strict=False)}
    advice = "it belongs to another model or place (extract.site, if its files do not name it)"
    for site, share in zip(sites, shares, strict=False):
        if not share > 0:
            raise InputError(f"{_describe(site, share)}, no more than their mean does; {advice}")
    for (site, rival), share in zip(rivals, shares[len(sites) :], strict=True):
        if share > explained[site.layer] + MARGIN:
            raise InputError(
                f"{_describe(site, explained[site.layer])}, but {share:.2f} of the {_name_values(rival)}; {advice}"
            )
    return explained


def measure_explained_variance(
    target: Target, sites: Sequence[Site], texts: Sequence[str], batch_tokens: int = 1024
) -> list[float]:
    """The share of the variance that the dictionary of each site explains, over the texts' own tokens.

    1 for a perfect reconstruction, 0 for one as good as the mean, below 0 for a worse one. The values are those that
    the dictionary makes up, of a transcoder its module's outputs.
    """
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
    return [float(1 - error / (squares - total.square().sum() / tokens)) for error, squares, total in sums]


def _keep(encoder: object) -> Reduction:
    """Keep every own token's values, or what a dictionary makes of them: float64 [tokens, width]."""

    def reduce(values: Tensor, own: Tensor) -> Tensor:
        kept = values[own]
        return (encoder.reconstruct(kept) if isinstance(encoder, Dictionary) else kept).to(torch.float64)

    return reduce


def _list_rivals(target: Target, site: Site) -> Iterator[Site]:
    """The same dictionary at the same values of the layers before and after; none where layers share their modules."""
    modules = dict(target.model.named_modules())

    def move(place: Site, step: int) -> Site | None:
        name = re.sub(r"(?<![^.])\d+(?![^.])", lambda number: str(int(number[0]) + step), place.name, count=1)
        module = modules.get(name)
        return None if module is None or module is place.module else replace(place, name=name, module=module)

    for step in (-1, 1):
        rival = move(site, step)
        written = site.written and move(site.written, step)
        if rival and (written or not site.written):
            yield replace(rival, written=written)


def _describe(site: Site, share: float) -> str:
    """Say what a dictionary explains."""
    values = _name_values(site)
    return f"models.dictionaries: that of layer {site.layer} explains {share:.2f} of the variance of the {values}"


def _name_values(site: Site) -> str:
    """Name the values that the dictionary of a site makes up."""
    written = site.written or site
    return f"{'outputs' if written.output else 'inputs'} of {written.name}"
