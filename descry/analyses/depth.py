"""Where in depth each descriptor lives, against neurons whose layers are shuffled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import log_ndtr

from descry.assignment import benjamini_hochberg
from descry.evaluation.chance import Draws, repeat
from descry.splits import Pair

LEVEL = 0.05
"""A descriptor has a place where chance would put it as far off in at most this share of the shuffles."""


def relative_depth(layer: np.ndarray) -> np.ndarray:
    """Relative depth of every neuron: 0 the first of the layers, 1 the last, float64 [neurons]; 0 of a single one."""
    layers, place = np.unique(layer, return_inverse=True)
    return np.asarray(place / max(len(layers) - 1, 1))


def depth_moments(depth: np.ndarray, assigned: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each descriptor's mean depth, NaN without a neuron; and mean and standard deviation of it were the described
    neurons' depths shuffled among them: float64 [descriptors].

    depth: float64 [neurons]; assigned: bool [neurons, descriptors]. Exact: the mean of a random sample of n out of N
    varies by S^2 / n (1 - n / N).
    """
    described = depth[assigned.any(axis=1)]
    whole, own = len(described), assigned.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = assigned.T.astype(np.float64) @ depth / own
        spread = described.var(ddof=1) / own * (1 - own / whole) if whole > 1 else np.zeros(len(own))
    return mean, np.full(len(own), described.mean() if whole else np.nan), np.sqrt(np.maximum(spread, 0))


def two_sided_log_p(mean: np.ndarray, expected: np.ndarray, error: np.ndarray) -> np.ndarray:
    """log of the chance of a mean as far off on either side, by the normal curve: float64, 0 where nothing varies."""
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = np.where(error > 0, np.abs(mean - expected) / error, 0.0)
    return np.asarray(np.minimum(np.log(2) + log_ndtr(-np.nan_to_num(distance)), 0.0))


def tabulate_depth(names: Sequence[str], layer: np.ndarray, assigned: Pair[np.ndarray]) -> pd.DataFrame:
    """Every descriptor that any neuron carries on calibration: descriptor, neurons, depth (mean relative depth),
    expected, low and high (the mean and the 95 % interval under shuffled layers), p, q, validation_depth."""
    depth = relative_depth(layer)
    mean, expected, error = depth_moments(depth, assigned.calibration)
    carried = ~np.isnan(mean)
    chance = two_sided_log_p(mean, expected, error)[carried]
    columns = {
        "descriptor": np.array(names, dtype=object),
        "neurons": assigned.calibration.sum(axis=0),
        "depth": mean,
        "expected": expected,
        "low": np.maximum(expected - 1.96 * error, 0),
        "high": np.minimum(expected + 1.96 * error, 1),
    }
    found = pd.DataFrame({name: values[carried] for name, values in columns.items()})
    found["p"], found["q"] = np.exp(chance), np.exp(benjamini_hochberg(chance))
    return found.assign(validation_depth=depth_moments(depth, assigned.validation)[0][carried])


def measure_depth(
    layer: np.ndarray, assigned: Pair[np.ndarray], draws: Draws
) -> tuple[Mapping[str, Any], dict[str, dict[str, np.ndarray]]]:
    """The measures, under `depth`, and each null's values of them.

    placed: share of the carried descriptors whose mean depth is not what shuffled layers give (p <= LEVEL);
    correlation: of the descriptors' mean depths on both splits. Nulls: `shuffled_layers` (the described neurons' depths
    change places), `permuted_descriptors` (validation's change places).
    """
    depth = relative_depth(layer)
    both = np.stack([depth_moments(depth, split)[0] for split in assigned])
    both = both[:, ~np.isnan(both).any(axis=0)]
    described = np.flatnonzero(assigned.calibration.any(axis=1))

    def placed(at: np.ndarray) -> float:
        mean, expected, error = depth_moments(at, assigned.calibration)
        carried = ~np.isnan(mean)
        return (
            float((two_sided_log_p(mean, expected, error)[carried] <= np.log(LEVEL)).mean()) if carried.any() else 0.0
        )

    def correlation(there: np.ndarray) -> float:
        flat = both.shape[1] < 2 or not both[0].std() or not there.std()
        return 0.0 if flat else float(np.corrcoef(both[0], there)[0, 1])

    def shuffling(generator: np.random.Generator) -> Mapping[str, Any]:
        moved = depth.copy()
        moved[described] = generator.permutation(depth[described])
        return {"depth": {"placed": placed(moved)}}

    def permuting(generator: np.random.Generator) -> Mapping[str, Any]:
        return {"depth": {"correlation": correlation(generator.permutation(both[1]))}}

    found = {"depth": {"placed": placed(depth), "correlation": correlation(both[1])}}
    nulls = {"shuffled_layers": shuffling, "permuted_descriptors": permuting}
    return found, {null: repeat(draw, draws) for null, draw in nulls.items()}
