"""The depth of each descriptor: the mean relative layer of its neurons, against shuffled layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import log_ndtr

from descry.assignment.false_discovery import benjamini_hochberg
from descry.evaluation.chance import Draws, repeat
from descry.splits import STANDARD_ERRORS_95, Pair

LEVEL = 0.05
"""Significance level at which the mean depth of a descriptor differs from that under shuffled layers."""


def relative_depth(layer: np.ndarray) -> np.ndarray:
    """Relative depth of every neuron: float64 [neurons], 0 in the first layer, 1 in the last; 0 in a single one."""
    layers, place = np.unique(layer, return_inverse=True)
    return np.asarray(place / max(len(layers) - 1, 1))


def depth_moments(depth: np.ndarray, assigned: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean depth of each descriptor, NaN without a neuron, and its mean and standard deviation when the depths of the
    described neurons are shuffled: float64 [descriptors] each.

    depth: float64 [neurons]; assigned: bool [neurons, descriptors]. Exact: the mean of a sample of n out of N, drawn
    without replacement, has variance S^2 / n (1 - n / N).
    """
    described = depth[assigned.any(axis=1)]
    population, count = len(described), assigned.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = assigned.T.astype(np.float64) @ depth / count
        variance = described.var(ddof=1) / count * (1 - count / population) if population > 1 else np.zeros(len(count))
    expected = np.full(len(count), described.mean() if population else np.nan)
    return mean, expected, np.sqrt(np.maximum(variance, 0))


def two_sided_log_p(mean: np.ndarray, expected: np.ndarray, error: np.ndarray) -> np.ndarray:
    """log of the two-sided p value of each mean, normal approximation: float64, at most 0; 0 where error is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = np.where(error > 0, np.abs(mean - expected) / error, 0.0)
    return np.asarray(np.minimum(np.log(2) + log_ndtr(-np.nan_to_num(distance)), 0.0))


def tabulate_depth(names: Sequence[str], layer: np.ndarray, assigned: Pair[np.ndarray]) -> pd.DataFrame:
    """One row for every descriptor assigned on calibration: descriptor, neurons, depth (mean relative depth), expected,
    low and high (mean and 95 % interval under shuffled layers), p, q, validation_depth."""
    depth = relative_depth(layer)
    mean, expected, error = depth_moments(depth, assigned.calibration)
    carried = ~np.isnan(mean)
    log_p = two_sided_log_p(mean, expected, error)[carried]
    columns = {
        "descriptor": np.array(names, dtype=object),
        "neurons": assigned.calibration.sum(axis=0),
        "depth": mean,
        "expected": expected,
        "low": np.maximum(expected - STANDARD_ERRORS_95 * error, 0),
        "high": np.minimum(expected + STANDARD_ERRORS_95 * error, 1),
    }
    table = pd.DataFrame({name: values[carried] for name, values in columns.items()})
    table["p"], table["q"] = np.exp(log_p), np.exp(benjamini_hochberg(log_p))
    return table.assign(validation_depth=depth_moments(depth, assigned.validation)[0][carried])


def measure_depth(
    layer: np.ndarray, assigned: Pair[np.ndarray], draws: Draws
) -> tuple[Mapping[str, Any], dict[str, dict[str, np.ndarray]]]:
    """The measures, under `depth`, and their values under each null.

    placed: share of assigned descriptors whose mean depth differs from that under shuffled layers (p <= LEVEL);
    correlation: of the descriptors' mean depths on the two splits. Nulls: `shuffled_layers` (depths permuted among the
    described neurons), `permuted_descriptors` (descriptors permuted on validation).
    """
    depth = relative_depth(layer)
    both = np.stack([depth_moments(depth, split)[0] for split in assigned])
    both = both[:, ~np.isnan(both).any(axis=0)]
    described = np.flatnonzero(assigned.calibration.any(axis=1))

    def share_placed(depth: np.ndarray) -> float:
        mean, expected, error = depth_moments(depth, assigned.calibration)
        carried = ~np.isnan(mean)
        return (
            float((two_sided_log_p(mean, expected, error)[carried] <= np.log(LEVEL)).mean()) if carried.any() else 0.0
        )

    def correlation(validation: np.ndarray) -> float:
        constant = both.shape[1] < 2 or not both[0].std() or not validation.std()
        return 0.0 if constant else float(np.corrcoef(both[0], validation)[0, 1])

    def shuffle_layers(generator: np.random.Generator) -> Mapping[str, Any]:
        shuffled = depth.copy()
        shuffled[described] = generator.permutation(depth[described])
        return {"depth": {"placed": share_placed(shuffled)}}

    def permute_descriptors(generator: np.random.Generator) -> Mapping[str, Any]:
        return {"depth": {"correlation": correlation(generator.permutation(both[1]))}}

    measures = {"depth": {"placed": share_placed(depth), "correlation": correlation(both[1])}}
    nulls = {"shuffled_layers": shuffle_layers, "permuted_descriptors": permute_descriptors}
    return measures, {null: repeat(draw, draws) for null, draw in nulls.items()}
