import numpy as np

from benchmarks.units import find_own_units
from descry.splits import Pair


def slow(values: Pair[np.ndarray], labels: Pair[np.ndarray], column: int) -> float:
    """The same for one descriptor, sentence by sentence."""
    best = (-1.0, 0, 0.0)
    holds = labels.calibration[:, column] == 1
    for unit in range(values.calibration.shape[1]):
        activations = values.calibration[:, unit].tolist()
        threshold = sorted(activations, reverse=True)[holds.sum() - 1]
        fires = [value >= threshold and value > min(activations) for value in activations]
        hits = sum(fire and hold for fire, hold in zip(fires, holds, strict=True))
        score = 2 * hits / (sum(fires) + holds.sum())
        if score > best[0]:
            best = (score, unit, threshold)
    _, unit, threshold = best
    lowest = values.calibration[:, unit].min()
    pairs = list(zip(values.validation[:, unit], labels.validation[:, column] == 1, strict=True))
    fires = [value >= threshold and value > lowest for value, _ in pairs]
    hits = sum(fire and hold for fire, (_, hold) in zip(fires, pairs, strict=True))
    return 2 * hits / max(sum(fires) + sum(hold for _, hold in pairs), 1)


def test_the_f1_of_each_descriptors_own_unit_equals_a_slow_computation() -> None:
    generator = np.random.default_rng(3)
    labels = Pair(*((generator.random((60, 5)) < 0.2).astype(np.int8) for _ in range(2)))
    labels.calibration[:, 4] = 0
    values = Pair(*(np.maximum(generator.normal(size=(60, 9)) + 0.8 * part[:, :1], 0) for part in labels)).map(
        lambda part: part.astype(np.float16)
    )
    values.calibration[:, 0], values.validation[:, 0] = labels.calibration[:, 2] * 3, labels.validation[:, 2] * 3
    found = find_own_units(values, labels)
    np.testing.assert_allclose(found[:4], [slow(values, labels, column) for column in range(4)])
    assert found[2] == 1
    assert found[4] == 0


def test_a_unit_at_rest_is_not_counted_as_firing() -> None:
    values = np.zeros((10, 2), np.float16)
    values[0, 1] = 1
    labels = np.zeros((10, 1), np.int8)
    labels[:4] = 1
    [score] = find_own_units(Pair(values, values), Pair(labels, labels))
    assert score == 2 * 1 / (1 + 4)
