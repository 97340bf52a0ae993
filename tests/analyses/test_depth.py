"""Where descriptors live: the closed form against shuffles, planted places, and none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from descry.analyses.depth import depth_moments, measure_depth, relative_depth, tabulate_depth, two_sided_log_p
from descry.evaluation.chance import Draws
from descry.splits import Pair

NAMES = ["early", "late", "anywhere", "nobody's"]


def assigned(seed: int, neurons: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Layers, and descriptors of neurons: the first rather early, the second rather late, the third anywhere."""
    generator = np.random.default_rng(seed)
    layer = np.repeat([2, 3, 5, 6], neurons // 4)
    depth = relative_depth(layer)
    chance = np.stack([0.3 * (1 - depth), 0.3 * depth, np.full(neurons, 0.1), np.zeros(neurons)], axis=1)
    return layer, generator.random(chance.shape) < chance


def test_relative_depth_goes_from_the_first_to_the_last_layer() -> None:
    assert relative_depth(np.array([4, 4, 9, 6, 6])).tolist() == [0, 0, 1, 0.5, 0.5]
    assert relative_depth(np.array([3, 3])).tolist() == [0, 0]


def test_moments_are_those_of_shuffled_depths() -> None:
    layer, carried = assigned(0)
    depth = relative_depth(layer)
    mean, expected, error = depth_moments(depth, carried)
    described = np.flatnonzero(carried.any(axis=1))
    generator = np.random.default_rng(1)
    drawn = []
    for _ in range(4000):
        moved = depth.copy()
        moved[described] = generator.permutation(depth[described])
        drawn.append([moved[carried[:, column]].mean() for column in range(3)])
    for column in range(3):
        assert mean[column] == pytest.approx(depth[carried[:, column]].mean())
    np.testing.assert_allclose(np.mean(drawn, axis=0), expected[:3], atol=0.003)
    np.testing.assert_allclose(np.std(drawn, axis=0), error[:3], rtol=0.05)
    assert np.isnan(mean[3])
    far = np.abs(np.array(drawn) - expected[:3]) >= np.abs(mean - expected)[:3]
    np.testing.assert_allclose(np.exp(two_sided_log_p(mean, expected, error))[:3], far.mean(axis=0), atol=0.03)


def test_planted_places_are_found_and_others_are_not() -> None:
    layer, carried = assigned(2)
    found = tabulate_depth(NAMES, layer, Pair(carried, assigned(3)[1])).set_index("descriptor")
    assert found.index.tolist() == NAMES[:3]
    assert found.loc["early", "depth"] < found.loc["early", "low"]
    assert found.loc["late", "depth"] > found.loc["late", "high"]
    assert found["q"][["early", "late"]].max() < 1e-4
    assert found.loc["anywhere", "p"] > 0.01
    assert (found["neurons"] == carried.sum(axis=0)[:3]).all()
    assert found.loc["early", "validation_depth"] < found.loc["late", "validation_depth"]


def test_shuffled_layers_leave_few_placed() -> None:
    pair = Pair(assigned(4)[1], assigned(5)[1])
    own, chance = measure_depth(assigned(4)[0], pair, Draws(60, 0))
    assert own["depth"]["placed"] >= 2 / 3
    assert own["depth"]["correlation"] > 0.9
    assert chance["shuffled_layers"]["depth.placed"].mean() == pytest.approx(0.05, abs=0.05)
    assert abs(chance["permuted_descriptors"]["depth.correlation"].mean()) < 0.3


@pytest.mark.parametrize("layers", [1, 4])
def test_without_layers_or_neurons_nothing_is_placed(layers: int) -> None:
    layer, carried = assigned(6)
    pair = Pair(carried, carried)
    if layers == 1:
        layer = np.ones_like(layer)
    else:
        pair = Pair(np.zeros_like(carried), np.zeros_like(carried))
    own, _ = measure_depth(layer, pair, Draws(2, 0))
    assert own["depth"] == {"placed": 0.0, "correlation": 0.0}
    assert (tabulate_depth(NAMES, layer, replace(pair))["p"] == 1).all()
