"""Measures of relations and their chance levels: replication on other reviews, and polysemantic neurons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from descry.analyses.relations import Relations
from descry.evaluation.chance import Draws, repeat
from descry.splits import REPLICATES, Pair

Chance = dict[str, dict[str, np.ndarray]]


def _share(replicated: np.ndarray, chosen: np.ndarray) -> float:
    """Share of the chosen entries that replicate; 0.0 if none is chosen."""
    return float(replicated[chosen].mean()) if chosen.any() else 0.0


def compare_relations(found: Pair[Relations], alpha: float) -> tuple[Mapping[str, float], Mapping[str, np.ndarray]]:
    """The measures that compare the splits, and the arrays behind them: bool or float [descriptors, descriptors]."""
    calibration, validation = found
    pairs = ~np.eye(len(calibration.names), dtype=bool)
    parts = {
        "significant": (calibration.log_q <= np.log(alpha)) & pairs,
        "again": validation.log_p <= np.log(REPLICATES),
        "sentences": (calibration.together.low > 0) & pairs,
        "sentences_again": validation.together.low > 0,
        "direction": _find_direction(calibration),
        "direction_there": _find_direction(validation),
    }
    return _measure_replication(parts), parts


def _find_direction(relations: Relations) -> np.ndarray:
    """1 where a's neurons bear b more than b's neurons bear a, beyond what sentences explain, -1 where less, else 0."""
    ratio = np.nan_to_num(relations.shared.ratio)
    return np.asarray(np.sign(ratio - ratio.T))


def _measure_replication(parts: Mapping[str, np.ndarray]) -> dict[str, float]:
    either = parts["significant"] | parts["significant"].T
    return {
        "replication": _share(parts["again"], parts["significant"]),
        "sentences_replication": _share(parts["sentences_again"], parts["sentences"]),
        "direction_replication": _share(parts["direction"] == parts["direction_there"], either),
    }


def find_polysemantic(assigned: np.ndarray, unrelated: np.ndarray) -> np.ndarray:
    """Find the polysemantic neurons, those with at least two unrelated descriptors: bool [neurons]. assigned: bool
    [neurons, descriptors]; unrelated: bool [descriptors, descriptors], symmetric."""
    unrelated_count = assigned.astype(np.float32) @ unrelated.astype(np.float32)
    return np.asarray((assigned & (unrelated_count > 0)).any(axis=1))


def deal_descriptors(assigned: np.ndarray, layer: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Deal descriptors to neurons at random, bool like `assigned`: each neuron gets as many as it has, drawn without
    replacement in proportion to their frequency in its layer (Gumbel top-k trick). layer: int [neurons]."""
    dealt = np.zeros_like(assigned)
    for number in np.unique(layer):
        here = np.flatnonzero(layer == number)
        with np.errstate(divide="ignore"):
            key = np.log(assigned[here].mean(axis=0)) + generator.gumbel(size=(len(here), assigned.shape[1]))
        counts = assigned[here].sum(axis=1)
        for count in np.unique(counts[counts > 0]):
            own = np.flatnonzero(counts == count)
            hand = np.argpartition(-key[own], count - 1, axis=1)[:, :count]
            dealt[here[own, None], hand] = True
    return dealt


def measure_relations(
    found: Pair[Relations], assigned: np.ndarray, layer: np.ndarray, *, alpha: float, draws: Draws
) -> tuple[Mapping[str, Any], Chance]:
    """The measures, under `relations`, and their values under each null.

    pairs: ordered pairs of descriptors that share neurons on calibration (q <= alpha); replication: share of them with
    p <= REPLICATES on validation; sentences_replication: of the pairs with correlated labels (phi's interval above 0),
    the share also correlated on validation; direction_replication: share of the pairs with the same direction on
    validation; polysemantic: number of neurons with unrelated descriptors. assigned: bool [neurons, descriptors] and
    layer: int [neurons], of calibration.
    Nulls: `other_pairs` (pairs not found on calibration), `permuted_descriptors` (descriptors permuted on validation),
    `dealt_descriptors` (see `deal_descriptors`).
    """
    replication, parts = compare_relations(found, alpha)
    unrelated = found.calibration.unrelated

    def count_polysemantic(assigned: np.ndarray) -> int:
        return int(find_polysemantic(assigned, unrelated).sum())

    def permute_descriptors(generator: np.random.Generator) -> Mapping[str, Any]:
        order = generator.permutation(len(unrelated))
        permuted = {name: parts[name][np.ix_(order, order)] for name in ("again", "sentences_again", "direction_there")}
        return {"relations": _measure_replication({**parts, **permuted})}

    def deal(generator: np.random.Generator) -> Mapping[str, Any]:
        return {"relations": {"polysemantic": count_polysemantic(deal_descriptors(assigned, layer, generator))}}

    pairs = ~np.eye(len(unrelated), dtype=bool)
    others = {
        "replication": _share(parts["again"], pairs & ~parts["significant"]),
        "sentences_replication": _share(parts["sentences_again"], pairs & ~parts["sentences"]),
    }
    chance: Chance = {"other_pairs": {f"relations.{name}": np.array([value]) for name, value in others.items()}}
    for null, draw in (("permuted_descriptors", permute_descriptors), ("dealt_descriptors", deal)):
        chance[null] = repeat(draw, draws)
    counted = {"pairs": int(parts["significant"].sum()), "polysemantic": count_polysemantic(assigned)}
    return {"relations": {**replication, **counted}}, chance
