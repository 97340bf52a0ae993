import numpy as np
import pytest
from scipy.stats import pearsonr

from benchmarks.units import RULE, count_rates, find_own_units, match_rates, measure_association
from descry.activations.record import Activations
from descry.evaluation.resplit import Reading
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


def read_units(values: np.ndarray, rows: np.ndarray) -> Activations:
    """The record of some sentences, all of them in the probe. values: float16 [sentences, units]."""
    units = np.arange(values.shape[1], dtype=np.int32)
    record = Activations(
        len(values), np.ones(len(units), np.int16), units, *[np.empty(0)] * 6, rows.astype(np.int32), values, "mean"
    )
    return Reading.of(Pair(record, record), RULE.exemplars).select(rows, RULE.exemplars)


def test_thresholds_let_units_fire_as_seldom_as_others_and_no_more_often() -> None:
    generator = np.random.default_rng(0)
    shares = np.linspace(0.1, 0.9, 40)
    values = np.where(generator.random((400, 40)) < shares, generator.random((400, 40)), 0).astype(np.float16)
    active = Pair(*(read_units(values, rows) for rows in np.split(np.arange(400), 2)))
    before, rates = count_rates(active.calibration), generator.uniform(0.02, 0.3, 70)
    matched = match_rates(active, rates)
    after = count_rates(matched.calibration)
    assert (after <= before).all()
    np.testing.assert_allclose(np.sort(after), np.quantile(rates, (np.arange(40) + 0.5) / 40), atol=0.01)
    assert (np.diff(after[np.argsort(before, kind="stable")]) > -0.01).all()  # those that fired most still do
    for one, other in zip(active, matched, strict=True):
        fires = other.probe > 0
        assert (one.probe[fires] > 0).all()
        lowered = (one.probe.astype(np.float32) - other.probe)[:, fires.any(axis=0)]
        thresholds = np.where(fires[:, fires.any(axis=0)], lowered, np.nan)
        assert (np.nanmax(thresholds, axis=0) - np.nanmin(thresholds, axis=0) < 2e-3).all()
        np.testing.assert_allclose(other.maximum, other.probe.max(axis=0), atol=1e-3)
        sets, strongest = other.exemplars(5), one.exemplars(5)
        assert ((sets == strongest) | (sets == -1)).all()
    np.testing.assert_array_equal(match_rates(active, np.ones(5)).calibration.probe, active.calibration.probe)


def test_association_is_the_mean_correlation_of_the_pairs_found() -> None:
    generator = np.random.default_rng(1)
    labels = Pair(*((generator.random((900, 3)) < 0.2).astype(np.int8) for _ in range(2)))
    values = [np.maximum(generator.normal(size=(900, 2)) + 2.0 * part[:, :2], 0).astype(np.float16) for part in labels]
    active = Pair(*(read_units(split, np.arange(900)) for split in values))
    expected = [pearsonr(values[1][:, unit].astype(float), labels.validation[:, unit])[0] for unit in range(2)]
    assert measure_association(active, labels, labels.validation) == pytest.approx(np.mean(expected), rel=1e-9)
    shuffled = labels.validation[generator.permutation(900)]
    assert abs(measure_association(active, labels, shuffled)) < 0.1
    nothing = Pair(np.zeros_like(labels.calibration), labels.validation)
    assert np.isnan(measure_association(active, nothing, labels.validation))
