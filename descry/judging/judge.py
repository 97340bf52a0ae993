"""Judge descriptions of units on held-out sentences, beside other units' descriptions and beside random text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import gammaln

from descry.activations.record import Activations
from descry.errors import InputError
from descry.judging.descriptions import Descriptions, index_units
from descry.judging.fit import Fitter, FitterOpener
from descry.judging.scores import HEADLINE, OTHERS, SCORES, Layer

AMONG = 100
"""Descriptions among which a unit's own is ranked, its own included."""
RANDOM_TEXTS = 100
"""Calibration sentences that stand for descriptions at random."""
REPEATS = 1000
"""Bootstrap samples of units behind the interval of a lift."""
INTERVAL = (0.025, 0.975)
UNITS, TEXTS = 2048, 256
"""Units and texts of a block of scores."""
ENTRIES = 2**24
"""Entries of the largest array of a block of scores."""


@dataclass(frozen=True)
class HeldOut:
    """What descriptions are judged on: a run's units and held-out sentences.

    layer, index: int [neurons]; probe: float [sentences, neurons], their activations; sentences: the texts;
    descriptors: each neuron's best descriptor in the run, "" for none; random: texts that stand for descriptions at
    random.
    """

    layer: np.ndarray
    index: np.ndarray
    probe: np.ndarray
    sentences: Sequence[str]
    descriptors: Sequence[str]
    random: Sequence[str]


def gather_held_out(
    validation: Activations, sentences: np.ndarray, calibration: np.ndarray, first: Mapping[str, Any] | pd.DataFrame
) -> HeldOut:
    """Gather what descriptions are judged on: validation's probe.

    sentences, calibration: the texts of either split; first: columns layer, index and descriptor of the best descriptor
    of every neuron that has one.
    """
    place = index_units(validation.layer, validation.index)
    names = [""] * len(validation.layer)
    for layer, index, name in zip(*(first[key].tolist() for key in ("layer", "index", "descriptor")), strict=True):
        names[place[layer, index]] = name
    return HeldOut(
        layer=validation.layer,
        index=validation.index,
        probe=validation.probe,
        sentences=sentences[validation.probe_rows].tolist(),
        descriptors=names,
        random=draw_random_texts(calibration.tolist()),
    )


def draw_random_texts(sentences: Sequence[str], seed: int = 0) -> list[str]:
    """Draw at most RANDOM_TEXTS different sentences of calibration."""
    texts = np.unique(np.asarray(sentences, dtype=object).astype(str))
    return [str(text) for text in np.random.default_rng(seed).permutation(texts)[:RANDOM_TEXTS]]


def judge(descriptions: Descriptions, held_out: HeldOut, open_fitter: FitterOpener) -> pd.DataFrame:
    """Score every described unit's description on held-out sentences: a row a unit, in the order of `descriptions`.

    Columns: layer, index, description, descriptor; for each of SCORES its own value; `_swapped`, the mean of the
    descriptions of the layer's other described units; `_random`, the mean of random texts; `_descriptor`, of the run's
    best descriptor (NaN without one); and `first`, the probability that its own description has the highest AUROC
    among AMONG of its layer, drawn at random, ties broken at random (NaN where fewer are described).

    Left out: units that fire on no sentence or do not vary, and units alone in their layer, which none can be swapped
    with. Errors: InputError if the run lacks a unit, or none is left.
    """
    places = descriptions.locate(held_out.layer, held_out.index)
    blocks = (places[start : start + UNITS] for start in range(0, len(places), UNITS))
    fires = [_read_units(held_out, block).fires.any(axis=1) for block in blocks]
    cut = np.flatnonzero(np.concatenate([np.zeros(0, bool), *fires]))
    layers, counts = np.unique(held_out.layer[places[cut]], return_counts=True)
    kept = cut[np.isin(held_out.layer[places[cut]], layers[counts > 1])]
    if not len(kept):
        raise InputError(
            f"{descriptions.source}: no layer has two described units that fire on the run's held-out sentences, so "
            "that descriptions could be swapped; describe more units of a layer"
        )
    table = pd.DataFrame(
        {
            "layer": held_out.layer[places[kept]],
            "index": held_out.index[places[kept]],
            "description": [descriptions.texts[row] for row in kept],
            "descriptor": [held_out.descriptors[places[row]] for row in kept],
        }
    )
    texts = [*table["description"], *(name for name in table["descriptor"] if name), *held_out.random]
    fitter = open_fitter(held_out.sentences, texts)
    parts = []
    for _, rows in table.groupby("layer", sort=False):
        units = places[kept[rows.index]]
        for start in range(0, len(units), UNITS):
            block = np.arange(start, min(start + UNITS, len(units)))
            values = _read_units(held_out, units[block])
            parts.append(_judge_layer(values, rows, block, fitter, held_out.random).set_index(rows.index[block]))
    return table.join(pd.concat(parts))


def _read_units(held_out: HeldOut, units: np.ndarray) -> Layer:
    return Layer(held_out.probe[:, units].T.astype(np.float32))


def _judge_layer(
    layer: Layer, rows: pd.DataFrame, block: np.ndarray, fitter: Fitter, random: Sequence[str]
) -> pd.DataFrame:
    """The scores of some units of a layer. rows: all described units of the layer; block: positions of `layer`'s."""
    texts, text_of, times = np.unique(rows["description"].to_numpy(str), return_inverse=True, return_counts=True)
    own = {name: np.full(len(block), np.nan) for name in SCORES}
    sums = {name: np.zeros(len(block)) for name in SCORES}
    for chosen, scores in _score_blocks(list(texts), layer, fitter, tuple(SCORES)):
        _pick(scores, chosen, text_of[block], np.arange(len(block)), own)
        for name, values in scores.items():
            sums[name] += times[chosen] @ values
    better, tied = np.zeros(len(block)), np.zeros(len(block))
    for chosen, scores in _score_blocks(list(texts), layer, fitter, (HEADLINE,)):
        better += times[chosen] @ (scores[HEADLINE] > own[HEADLINE])
        tied += times[chosen] @ (scores[HEADLINE] == own[HEADLINE])
    others = len(rows) - 1
    first = share_first(better, tied - 1, others) if others >= AMONG - 1 else np.full(len(block), np.nan)
    columns: dict[str, np.ndarray] = {"first": first}
    descriptors = rows["descriptor"].to_numpy(str)[block]
    described = np.flatnonzero(descriptors != "")
    by_random = {name: np.zeros(len(block)) for name in SCORES}
    for _, scores in _score_blocks(list(random), layer, fitter, tuple(SCORES)):
        for name, values in scores.items():
            by_random[name] += values.sum(axis=0) / len(random)
    names, name_of = np.unique(descriptors[described], return_inverse=True)
    ours = {name: np.full(len(block), np.nan) for name in SCORES}
    for chosen, scores in _score_blocks(list(names), layer, fitter, tuple(SCORES)):
        _pick(scores, chosen, name_of, described, ours)
    for name in SCORES:
        swapped = (sums[name] - own[name]) / others
        columns |= dict(zip(OTHERS[name], (own[name], swapped, by_random[name], ours[name]), strict=True))
    return pd.DataFrame(columns)


def _pick(
    scores: dict[str, np.ndarray],
    chosen: np.ndarray,
    text_of: np.ndarray,
    units: np.ndarray,
    out: dict[str, np.ndarray],
) -> None:
    """Put into `out`, for each of some units whose text is among a block's, the score of that text. scores: of the
    texts at `chosen`, consecutive, for every unit; text_of: of each of `units`."""
    inside = np.flatnonzero((text_of >= chosen[0]) & (text_of <= chosen[-1]))
    for name, values in scores.items():
        out[name][units[inside]] = values[text_of[inside] - chosen[0], units[inside]]


def _score_blocks(
    texts: list[str], layer: Layer, fitter: Fitter, names: Sequence[str]
) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
    """Positions of texts in blocks, and their scores for every unit."""
    size = max(1, min(TEXTS, ENTRIES // max(1, len(layer.positives) * layer.ranked.shape[1])))
    for start in range(0, len(texts), size):
        chosen = np.arange(start, min(start + size, len(texts)))
        fits = fitter.fit([str(texts[place]) for place in chosen])
        yield chosen, {name: SCORES[name](fits, layer) for name in names}


def share_first(better: np.ndarray, tied: np.ndarray, others: int, among: int = AMONG) -> np.ndarray:
    """The probability of being first among `among` if `among` - 1 of all others are drawn at random, and ties are
    broken at random; by chance 1 / among. better, tied: [units], how many of `others` are better or equal."""

    def log_choose(total: np.ndarray, count: int) -> np.ndarray:
        possible = total >= count
        safe = np.where(possible, total, count)
        return np.where(possible, gammaln(safe + 1) - gammaln(count + 1) - gammaln(safe - count + 1), -np.inf)

    worse = others - better - tied
    every = log_choose(np.asarray(float(others)), among - 1)
    # Of the orders of the tied, each place is as likely: a sum of binomials, of which only the ends remain.
    ends = np.exp(log_choose(worse + tied + 1, among) - every) - np.exp(log_choose(worse, among) - every)
    return np.asarray(ends / (tied + 1))


def draw_units(count: int, seed: int = 0) -> list[np.ndarray]:
    """REPEATS bootstrap samples of `count` units: positions."""
    generator = np.random.default_rng(seed)
    return [generator.integers(count, size=count) for _ in range(REPEATS)]


def correlate_swapped(table: pd.DataFrame, score: str) -> float | None:
    """The correlation, over the units that `judge` scored, of own and swapped; None where either does not vary."""
    own, swapped = table[score], table[f"{score}_swapped"]
    varies = min(own.std(ddof=0), swapped.std(ddof=0)) > 0
    return float(np.corrcoef(own, swapped)[0, 1]) if varies else None


def summarise(table: pd.DataFrame, seed: int = 0) -> dict[str, Any]:
    """Summarise the units that `judge` scored, or some of them.

    units; for each of SCORES `own`, `swapped`, `random` and `lift` (own - swapped) with `low` and `high`, 95 % of
    bootstrap samples of units; `over_random` (own - random); `true_swapped_correlation` over units; `descriptor` and
    `over_descriptor` over the units that have one (their number: `with_descriptor`); `first_of_100`, over units whose
    layer has as many. A figure that cannot be computed is None.

    Units are drawn, not sentences: under the null, descriptions are exchangeable among units. The interval tells
    whether the descriptions say more than others' would; it is too narrow where units copy each other, and it does not
    tell how the lift would vary on other sentences.
    """
    draws = draw_units(len(table), seed)
    summary: dict[str, Any] = {
        "units": len(table),
        "with_descriptor": int(table[f"{HEADLINE}_descriptor"].notna().sum()),
        "first_of_100": _mean(table["first"]),
    }
    for name in SCORES:
        own, swapped, random, ours = (table[column] for column in OTHERS[name])
        lift = (own - swapped).to_numpy()
        low, high = np.quantile([lift[rows].mean() for rows in draws], INTERVAL)
        summary[name] = {
            "own": _mean(own),
            "swapped": _mean(swapped),
            "lift": _mean(own - swapped),
            "low": float(low),
            "high": float(high),
            "random": _mean(random),
            "over_random": _mean(own - random),
            "descriptor": _mean(ours),
            "over_descriptor": _mean(own - ours),
            "true_swapped_correlation": correlate_swapped(table, name),
        }
    return summary


def _mean(values: pd.Series) -> float | None:
    known = values.dropna()
    return float(known.mean()) if len(known) else None
