"""Activations token by token, on the exemplars of every neuron."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from descry.activations.token_words import concatenate_ranges
from descry.models.neurons import Site
from descry.models.pooling import POOLINGS, Reduction
from descry.models.target import Target

_LIMIT = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Spans:
    """Where the own tokens of some sentences lie in their texts, sentence after sentence.

    lengths: int32 [sentences], tokens of each; start, stop: int32 [tokens], the characters [start, stop) of each, both
    0 if the tokenizer is not a fast one.
    """

    lengths: np.ndarray
    start: np.ndarray
    stop: np.ndarray


def locate_tokens(target: Target, texts: Sequence[str]) -> Spans:
    """Locate the own tokens of every text, as `Target.encode` tokenizes it."""
    marks = target.encode(texts)[1]
    lengths = np.array([mark.count(0) for mark in marks], dtype=np.int32)
    places = np.zeros((int(lengths.sum()), 2), dtype=np.int32)
    if target.tokenizer.is_fast and len(places):
        own = np.concatenate(marks) == 0
        places[:] = np.concatenate([np.array(row).reshape(-1, 2) for row in target.offsets(texts)])[own]
    return Spans(lengths, places[:, 0].copy(), places[:, 1].copy())


def _to_float16(values: Tensor) -> np.ndarray:
    return values.clamp(-_LIMIT, _LIMIT).to("cpu", torch.float16).numpy()


def read_tokens(target: Target, text: str) -> np.ndarray:
    """Activations on every own token of a text: float32 [tokens, neurons], neurons in order of layer, then index."""

    def make_reduction(site: Site) -> Reduction:
        return lambda values, own: site.read(values)[own].to("cpu", torch.float32)

    layers = target.read(*target.encode([text]), [(site, make_reduction(site)) for site in target.sites])
    return torch.cat(layers, dim=1).numpy()


def pool_tokens(values: np.ndarray, pooling: str) -> np.ndarray:
    """Pool the result of `read_tokens` to one value a neuron: float32 [neurons]. pooling: a name in POOLINGS."""
    tokens = torch.from_numpy(values)[None]
    return np.asarray(POOLINGS[pooling](tokens, torch.ones(tokens.shape[:2], dtype=torch.bool))[0].numpy())


def read_exemplar_tokens(
    target: Target,
    texts: Sequence[str],
    exemplars: np.ndarray,
    *,
    batch_tokens: int = 1024,
    progress: str = "",
) -> np.ndarray:
    """Activations of every neuron on each own token of each of its exemplars, one after the other: float16 [values].

    exemplars: int [neurons, shown], rows of `texts`, -1 for none, neurons in order of layer, then index. One pass over
    `texts`; memory is that of the result, O(neurons x shown x tokens), and of a batch. progress: label of the progress
    bar, "" for none.
    """
    ids, special = target.encode(texts)
    lengths = np.array([mark.count(0) for mark in special], dtype=np.int64)
    flat = exemplars.ravel()
    sizes = np.append(lengths, 0)[flat]  # the last, 0, for none
    starts = np.cumsum(sizes) - sizes
    out = np.zeros(int(sizes.sum()), dtype=np.float16)
    by_sentence = np.argsort(flat, kind="stable")
    bounds = np.searchsorted(flat[by_sentence], np.arange(len(texts) + 1))
    layers = list(pairwise(np.cumsum([0, *target.widths])))
    with tqdm(total=len(texts), desc=progress, unit="sentence", disable=not progress) as bar:
        for batch in target.make_batches(ids, batch_tokens):
            pairs = [by_sentence[bounds[row] : bounds[row + 1]] for row in batch]
            place = np.repeat(np.arange(len(batch)), [len(members) for members in pairs])
            pair = np.concatenate(pairs)
            neuron = pair // exemplars.shape[1]
            wanted = [np.flatnonzero((neuron >= start) & (neuron < stop)) for start, stop in layers]
            requests = [
                (site, _select_values(site, place[own], neuron[own] - start))
                for site, own, (start, _) in zip(target.sites, wanted, layers, strict=True)
            ]
            layer_values = target.read([ids[i] for i in batch], [special[i] for i in batch], requests)
            for own, values in zip(wanted, layer_values, strict=True):
                out[concatenate_ranges(starts[pair[own]], sizes[pair[own]])] = _to_float16(values)
            bar.update(len(batch))
    return out


def _select_values(site: Site, place: np.ndarray, neuron: np.ndarray) -> Reduction:
    """Select the values of pairs of a sentence (its place in the batch) and a neuron, on the sentence's own tokens."""

    def reduce(values: Tensor, own: Tensor) -> Tensor:
        row, column = (torch.from_numpy(part).to(values.device) for part in (place, neuron))
        return site.read(values)[row, :, column][own[row]].to(torch.float32)

    return reduce
