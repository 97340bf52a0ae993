"""Co-firing of the units that share a first descriptor: whether they fire on the same of its sentences, on separate
ones (split), or one fires on all but those that another takes (absorbed).

Feature splitting: Bricken et al. 2023; feature absorption: Chanin et al. 2024 (arXiv 2409.14507). Both were described
of the latents of sparse dictionaries; here they are tested of any units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from descry.activations.record import Activations
from descry.assignment.false_discovery import benjamini_hochberg, look_up_log_mass, tabulate_log_factorials
from descry.assignment.rules import Findings
from descry.evaluation.association import find_firing
from descry.evaluation.chance import Draws, repeat
from descry.splits import Pair

UNITS = 32
"""Units of a descriptor that are compared, at most: those with the strongest evidence. It bounds the pairs to 496 a
descriptor, whatever the number of units."""
SHORTFALL = 0.5
"""Units exclude each other only if they fire together at most this many times as often as independence gives."""
PART = 0.2
"""Units split a descriptor only if each fires on at least this share of its sentences."""
MOST = 0.5
"""A unit loses sentences to another only if it fires on at least this share of the descriptor's sentences."""
FEW = 0.25
"""A unit takes sentences from another only if it fires at most this many times as often."""
CHUNK = 1 << 17
"""Probabilities computed at once, about."""


@dataclass(frozen=True)
class DescriptorUnits:
    """The units whose first descriptor is the same one, and where they fire.

    column: the descriptor's; count: all such units; units: int64 [units], positions of the strongest UNITS of them,
    strongest first; fires: bool [sentences, units], on the sentences of validation's probe labelled with it.
    """

    column: int
    count: int
    units: np.ndarray
    fires: np.ndarray


def find_descriptor_units(
    found: Findings, active: Pair[Activations], labels: Pair[np.ndarray]
) -> list[DescriptorUnits]:
    """Find the units of every descriptor that is the first of any, and where they fire.

    found: on calibration; active: both splits with their probes; labels: int8 [sentences, descriptors] of both. Where a
    unit fires: see `find_firing`. Memory is O(units x descriptors + UNITS x probe).
    """
    described = np.flatnonzero(found.described)
    strength = np.where(found.assigned[described], found.strength[described], -np.inf)
    first, strength = strength.argmax(axis=1), strength.max(axis=1, initial=-np.inf)
    before, after = (labels_of[split.probe_rows] for labels_of, split in zip(labels, active, strict=True))
    groups = []
    for column in np.unique(first).tolist():
        own = np.flatnonzero(first == column)
        units = described[own[np.argsort(-strength[own], kind="stable")[:UNITS]]]
        known, here = np.flatnonzero(before[:, column] >= 0), np.flatnonzero(after[:, column] == 1)
        learned = active.calibration.probe[np.ix_(known, units)].T.astype(np.float32)
        values = active.validation.probe[np.ix_(here, units)].T.astype(np.float32)
        fires = find_firing(values, learned, int((before[:, column] == 1).sum()))
        groups.append(DescriptorUnits(column, len(own), units, fires.T))
    return groups


@dataclass(frozen=True)
class UnitPairs:
    """Every two units that are compared, and how often they fire on their descriptor's sentences: int64 [pairs] each.

    column: the descriptor's; larger, smaller: positions of the unit that fires more often, and of the other (of equal
    ones the stronger is first); sentences: of the descriptor; fired_larger, fired_smaller: on how many of them each
    fires; both: on how many both do.
    """

    column: np.ndarray
    larger: np.ndarray
    smaller: np.ndarray
    sentences: np.ndarray
    fired_larger: np.ndarray
    fired_smaller: np.ndarray
    both: np.ndarray

    @property
    def expected(self) -> np.ndarray:
        """How often both would fire if they were independent: float64 [pairs]."""
        return np.asarray(self.fired_larger * self.fired_smaller / np.maximum(self.sentences, 1))

    @property
    def log_p(self) -> np.ndarray:
        """log P(X <= both), X hypergeometric, given how often each fires: float64 [pairs], at most 0."""
        log_factorial = tabulate_log_factorials(int(self.sentences.max(initial=0)))
        out = np.zeros(len(self.both))
        order = np.argsort(self.both)
        for chunk in np.array_split(order, 1 + len(order) * int(self.both.max(initial=0)) // CHUNK):
            sentences, larger, smaller = self.sentences[chunk], self.fired_larger[chunk], self.fired_smaller[chunk]
            hits = np.arange(int(self.both[chunk].max(initial=0)) + 1)
            mass = look_up_log_mass(log_factorial, sentences[:, None], larger[:, None], smaller[:, None], hits)
            below = np.where(hits <= self.both[chunk, None], mass, -np.inf)
            out[chunk] = np.minimum(np.logaddexp.reduce(below, axis=1), 0.0)
        return out

    @cached_property
    def absorbable(self) -> np.ndarray:
        """Whether, by how often each fires, the smaller can be one that takes sentences from the larger: bool
        [pairs]."""
        few = (self.fired_smaller > 0) & (self.fired_smaller <= FEW * self.fired_larger)
        return np.asarray(few & (self.fired_larger >= MOST * self.sentences))

    @cached_property
    def splittable(self) -> np.ndarray:
        """Whether, by how often each fires, they can be parts of the descriptor: bool [pairs]; never where
        `absorbable`."""
        return np.asarray((self.sentences > 0) & (self.fired_smaller >= PART * self.sentences) & ~self.absorbable)

    @cached_property
    def log_q(self) -> np.ndarray:
        """log of q (Benjamini and Hochberg 1995) over the splittable and absorbable pairs, 0 for the others: float64
        [pairs]. How often each fires chooses them, which p is conditional on."""
        log_q, tested = np.zeros(len(self.both)), self.splittable | self.absorbable
        log_q[tested] = benjamini_hochberg(self.log_p[tested])
        return log_q

    def exclude(self, alpha: float) -> np.ndarray:
        """Whether they fire together less often than independence gives: q <= alpha, and at most SHORTFALL times as
        often: bool [pairs]."""
        return np.asarray((self.log_q <= np.log(alpha)) & (self.both <= SHORTFALL * self.expected))


def pair_units(groups: Sequence[DescriptorUnits]) -> UnitPairs:
    """Pair the units of each descriptor."""
    parts = [_pair_units(group) for group in groups]
    return UnitPairs(*np.concatenate([np.zeros((7, 0), np.int64), *parts], axis=1))


def _pair_units(group: DescriptorUnits) -> np.ndarray:
    """The fields of `UnitPairs` of one descriptor: int64 [7, pairs]."""
    fires = group.fires.astype(np.float64)
    together, fired = (fires.T @ fires).astype(np.int64), group.fires.sum(axis=0)
    one, other = np.triu_indices(len(group.units), 1)
    swapped = fired[other] > fired[one]
    larger, smaller = np.where(swapped, other, one), np.where(swapped, one, other)
    same = [np.full(len(one), value, np.int64) for value in (group.column, len(fires))]
    counts = fired[larger], fired[smaller], together[one, other]
    return np.stack([same[0], group.units[larger], group.units[smaller], same[1], *counts])


def _sum_by_descriptor(pairs: UnitPairs, alpha: float, descriptors: int) -> dict[str, np.ndarray]:
    """Sums over the pairs of each descriptor: float64 [descriptors] each."""
    excluding = pairs.exclude(alpha)
    values = {
        "both": pairs.both,
        "expected": pairs.expected,
        "tested": pairs.splittable | pairs.absorbable,
        "split": pairs.splittable & excluding,
        "absorbed": pairs.absorbable & excluding,
    }
    return {name: np.bincount(pairs.column, of_pairs, descriptors) for name, of_pairs in values.items()}


def _measure(sums: Mapping[str, np.ndarray]) -> dict[str, float]:
    both, expected, split, absorbed = (float(sums[name].sum()) for name in ("both", "expected", "split", "absorbed"))
    return {
        "cofiring_ratio": both / expected if expected > 0 else 0.0,
        "split_pairs": int(split),
        "absorbed_pairs": int(absorbed),
    }


def analyse_cofiring(
    names: Sequence[str], groups: Sequence[DescriptorUnits], alpha: float, draws: Draws
) -> tuple[pd.DataFrame, Mapping[str, Any], dict[str, dict[str, np.ndarray]]]:
    """A row for every descriptor of `groups`; the measures, under `relations`; and their values under
    `permuted_firing`, which permutes each descriptor's sentences for each of its units alone.

    Columns: descriptor, units (those whose first it is), compared (of them), sentences (of validation's probe that bear
    it), ratio (how often two units fire together, over what independence gives, both summed over its pairs; missing
    where nothing is expected), tested, split and absorbed (pairs; false discovery rate alpha), chance (split and
    absorbed pairs under the null, mean). Measures: cofiring_ratio, split_pairs and absorbed_pairs, of all descriptors;
    0 without pairs.
    """
    columns = [group.column for group in groups]

    def permute(generator: np.random.Generator) -> Mapping[str, Any]:
        permuted = [replace(group, fires=generator.permuted(group.fires, axis=0)) for group in groups]
        sums = _sum_by_descriptor(pair_units(permuted), alpha, len(names))
        by_descriptor = {str(column): sums["split"][column] + sums["absorbed"][column] for column in columns}
        return {"relations": _measure(sums), "pairs": by_descriptor}

    sums, drawn = _sum_by_descriptor(pair_units(groups), alpha, len(names)), repeat(permute, draws)
    both, expected = sums["both"][columns], sums["expected"][columns]
    table = pd.DataFrame(
        {
            "descriptor": np.array(names, dtype=object)[columns],
            "units": [group.count for group in groups],
            "compared": [len(group.units) for group in groups],
            "sentences": [len(group.fires) for group in groups],
            "ratio": np.divide(both, expected, out=np.full(len(columns), np.nan), where=expected > 0),
            **{name: sums[name][columns].astype(np.int64) for name in ("tested", "split", "absorbed")},
            "chance": [float(drawn[f"pairs.{column}"].mean()) for column in columns],
        }
    )
    chance = {name: values for name, values in drawn.items() if name.startswith("relations.")}
    return table, {"relations": _measure(sums)}, {"permuted_firing": chance}


def tabulate_exclusive(
    names: Sequence[str], groups: Sequence[DescriptorUnits], active: Activations, alpha: float
) -> pd.DataFrame:
    """One row for every pair that is split or absorbed, by descriptor and p: descriptor, kind (split or absorbed),
    layer and index (of the unit that fires more often, from which the other takes sentences), other_layer and
    other_index, sentences, fired, other_fired, both, expected, p, q."""
    pairs = pair_units(groups)
    log_p, log_q = pairs.log_p, pairs.log_q
    rows = np.flatnonzero((pairs.splittable | pairs.absorbable) & pairs.exclude(alpha))
    rows = rows[np.lexsort((log_p[rows], pairs.column[rows]))]
    larger, smaller = pairs.larger[rows], pairs.smaller[rows]
    return pd.DataFrame(
        {
            "descriptor": np.array(names, dtype=object)[pairs.column[rows]],
            "kind": np.where(pairs.absorbable[rows], "absorbed", "split").astype(object),
            "layer": active.layer[larger],
            "index": active.index[larger],
            "other_layer": active.layer[smaller],
            "other_index": active.index[smaller],
            "sentences": pairs.sentences[rows],
            "fired": pairs.fired_larger[rows],
            "other_fired": pairs.fired_smaller[rows],
            "both": pairs.both[rows],
            "expected": pairs.expected[rows],
            "p": np.exp(log_p[rows]),
            "q": np.exp(log_q[rows]),
        }
    )
