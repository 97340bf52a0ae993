"""Are the relations of descriptors found again on other reviews, and how many neurons carry unrelated ones, beside
chance?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from descry.analyses.relations import Relations
from descry.evaluation.chance import Draws, repeat
from descry.splits import REPLICATES, Pair

Chance = dict[str, dict[str, np.ndarray]]


def _again(found: np.ndarray, again: np.ndarray) -> float:
    """Share of what was found that is found again; 0.0 where nothing was."""
    return float(again[found].mean()) if found.any() else 0.0


def compare_relations(found: Pair[Relations], alpha: float) -> tuple[Mapping[str, float], Mapping[str, np.ndarray]]:
    """The measures that compare the two splits, and what they are made of: bool or float [descriptors, descriptors]."""
    one, other = found
    pairs = ~np.eye(len(one.names), dtype=bool)
    parts = {
        "significant": (one.log_q <= np.log(alpha)) & pairs,
        "again": other.log_p <= np.log(REPLICATES),
        "sentences": (one.together.low > 0) & pairs,
        "sentences_again": other.together.low > 0,
        "direction": _direction(one),
        "direction_there": _direction(other),
    }
    return _replication(parts), parts


def _direction(found: Relations) -> np.ndarray:
    """1 where a's neurons bear b more than b's bear a, beyond what sentences explain, -1 where less, else 0."""
    ratio = np.nan_to_num(found.shared.ratio)
    return np.asarray(np.sign(ratio - ratio.T))


def _replication(parts: Mapping[str, np.ndarray]) -> dict[str, float]:
    either = parts["significant"] | parts["significant"].T
    return {
        "replication": _again(parts["significant"], parts["again"]),
        "sentences_replication": _again(parts["sentences"], parts["sentences_again"]),
        "direction_replication": _again(either, parts["direction"] == parts["direction_there"]),
    }


def find_polysemantic(assigned: np.ndarray, unrelated: np.ndarray) -> np.ndarray:
    """bool [neurons]: those that carry two descriptors, at least, that are unrelated. assigned: bool [neurons,
    descriptors]; unrelated: bool [descriptors, descriptors], symmetric."""
    against = assigned.astype(np.float32) @ unrelated.astype(np.float32)
    return np.asarray((assigned & (against > 0)).any(axis=1))


def deal_descriptors(assigned: np.ndarray, layer: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Descriptors dealt anew, bool as `assigned`: each neuron gets as many as it has, drawn without replacement in
    proportion to how often its layer carries each (Gumbel's way). layer: int [neurons]."""
    out = np.zeros_like(assigned)
    for one in np.unique(layer):
        here = np.flatnonzero(layer == one)
        with np.errstate(divide="ignore"):
            key = np.log(assigned[here].mean(axis=0)) + generator.gumbel(size=(len(here), assigned.shape[1]))
        taken = np.arange(assigned.shape[1]) < assigned[here].sum(axis=1)[:, None]
        own = np.zeros_like(assigned[here])
        np.put_along_axis(own, np.argsort(-key, axis=1), taken, axis=1)
        out[here] = own
    return out


def measure_relations(
    found: Pair[Relations], assigned: np.ndarray, layer: np.ndarray, *, alpha: float, draws: Draws
) -> tuple[Mapping[str, Any], Chance]:
    """The measures, under `relations`, and each null's values of them.

    pairs: ordered pairs of descriptors whose neurons go together on calibration (q <= alpha); replication: share of
    them with p <= REPLICATES on validation; sentences_replication: of the pairs whose labels go together (phi's
    interval above 0), the share that does there; direction_replication: of the unordered pairs, the share whose
    direction is the same; polysemantic: neurons that carry unrelated descriptors. assigned: bool [neurons,
    descriptors] and layer: int [neurons], of calibration. Nulls: `other_pairs` (those that were not found),
    `permuted_descriptors` (validation's change places), `dealt_descriptors` (`dealt`).
    """
    own, parts = compare_relations(found, alpha)
    unrelated = found.calibration.unrelated

    def count(carried: np.ndarray) -> int:
        return int(find_polysemantic(carried, unrelated).sum())

    def permuted(generator: np.random.Generator) -> Mapping[str, Any]:
        order = generator.permutation(len(unrelated))
        moved = {name: parts[name][np.ix_(order, order)] for name in ("again", "sentences_again", "direction_there")}
        return {"relations": _replication({**parts, **moved})}

    def dealing(generator: np.random.Generator) -> Mapping[str, Any]:
        return {"relations": {"polysemantic": count(deal_descriptors(assigned, layer, generator))}}

    pairs = ~np.eye(len(unrelated), dtype=bool)
    others = {
        "replication": _again(pairs & ~parts["significant"], parts["again"]),
        "sentences_replication": _again(pairs & ~parts["sentences"], parts["sentences_again"]),
    }
    chance: Chance = {"other_pairs": {f"relations.{name}": np.array([value]) for name, value in others.items()}}
    for null, draw in (("permuted_descriptors", permuted), ("dealt_descriptors", dealing)):
        chance[null] = repeat(draw, draws)
    counted = {"pairs": int(parts["significant"].sum()), "polysemantic": count(assigned)}
    return {"relations": {**own, **counted}}, chance
