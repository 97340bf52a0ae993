"""Other splits: what they keep, what they draw, and that the run's own split gives the run's own measures."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from descry.activations.record import Activations
from descry.assignment.rules import Rule
from descry.evaluation.chance import Draws
from descry.evaluation.evaluate import Evaluation, Opinion
from descry.evaluation.resplit import Reading, draw_sides, find_strongest, measure_resplits
from descry.results.noise import RANDOM_DIRECTIONS, TARGET, judge_gap, summarise_splits
from descry.splits import Pair
from descry.storage.nesting import flatten

RULE = Rule(exemplars=30)
NEURONS, DESCRIPTORS = 50, 5


def draw_split(seed: int, sentences: int, signal: float = 2.0) -> tuple[np.ndarray, Activations]:
    """Labels, and neurons that fire on one of them each; activations are exact in float16, some of them tied."""
    generator = np.random.default_rng(seed)
    labels = (generator.random((sentences, DESCRIPTORS)) < 0.2).astype(np.int8)
    values = generator.normal(size=(sentences, NEURONS)) + signal * labels[:, np.arange(NEURONS) % DESCRIPTORS]
    probe = np.round(values * 64).astype(np.float16) / 64
    reading = Reading(np.ones(NEURONS, np.int16), np.arange(NEURONS, dtype=np.int32), "mean", probe, np.empty((0, 0)))
    order = replace(reading, order=find_strongest(probe, sentences))
    return labels, order.select(np.arange(sentences), RULE.exemplars)


def make_evaluation(sentences: tuple[int, int] = (400, 300), signal: float = 2.0) -> Evaluation:
    splits = [draw_split(seed, size, signal) for seed, size in enumerate(sentences)]
    labels = Pair(*(split[0] for split in splits))
    scores = labels.map(lambda given: given + np.random.default_rng(len(given)).normal(size=given.shape) / 2)
    opinion = Opinion(labels, scores, pd.DataFrame({"positives": [], "f1": [], "chance": []}))
    names = [f"d{column}" for column in range(DESCRIPTORS)]
    reviews = Pair(*([f"{split}-{row // 4}" for row in range(size)] for split, size in enumerate(sentences)))
    active = Pair(*(split[1] for split in splits))
    noise = Pair(*(draw_split(seed + 7, size, 0.0)[1] for seed, size in enumerate(sentences)))
    return Evaluation(active, {RANDOM_DIRECTIONS: lambda: noise}, names, (opinion, opinion), names, labels, reviews)


@pytest.mark.parametrize("count", [1, 17, 120])
def test_the_strongest_sentences_are_those_of_a_full_sort(count: int) -> None:
    values = np.random.default_rng(0).integers(-20, 20, (120, 700)).astype(np.float16)
    values[:3], values[3:5, ::2] = [[-0.0], [np.inf], [-np.inf]], -0.0
    np.testing.assert_array_equal(
        find_strongest(values, count), np.argsort(-values, axis=0, kind="stable").T[:, :count]
    )


@pytest.mark.parametrize("share", [0.5, 0.02])
def test_a_selected_part_is_recorded_as_if_it_alone_had_been_read(share: float) -> None:
    active = make_evaluation().active
    reading = Reading.of(active, RULE.exemplars)
    rows = np.flatnonzero(np.random.default_rng(1).random(700) < share)
    record = reading.select(rows, RULE.exemplars)
    probe = np.concatenate([active.calibration.probe, active.validation.probe])[rows].astype(np.float32)
    order = np.argsort(-probe, axis=0, kind="stable").T
    np.testing.assert_array_equal(record.rows, order[:, : RULE.exemplars])
    np.testing.assert_array_equal(record.values, np.take_along_axis(probe.T, record.rows, axis=1))
    np.testing.assert_array_equal(record.probe, probe)
    np.testing.assert_allclose(record.mean, probe.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(record.std, probe.std(axis=0), atol=1e-5)
    for neuron, rows_of in enumerate(record.exemplars(RULE.exemplars)):
        cut = np.sort(probe[:, neuron])[::-1][min(RULE.exemplars, len(rows) - 1)]
        assert set(rows_of[rows_of >= 0].tolist()) == set(np.flatnonzero(probe[:, neuron] > cut).tolist())


def test_no_review_is_on_both_sides_and_no_side_is_empty() -> None:
    reviews = np.array([f"r{row // 3}" for row in range(3000)])
    generator = np.random.default_rng(0)
    shares = []
    for _ in range(10):
        sides = draw_sides(reviews, 0.3, generator)
        assert not set(reviews[sides.calibration]) & set(reviews[sides.validation])
        assert sorted([*sides.calibration, *sides.validation]) == list(range(3000))
        shares.append(len(sides.validation) / 3000)
    assert len(set(shares)) > 5
    assert np.mean(shares) == pytest.approx(0.3, abs=0.02)
    assert all(len(side) for _ in range(20) for side in draw_sides(np.array(["a", "b"]), 0.5, generator))


def test_the_runs_own_split_gives_the_runs_own_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluation = make_evaluation()
    own = Pair(np.arange(400), np.arange(400, 700))
    monkeypatch.setattr("descry.evaluation.resplit.draw_sides", lambda *_: own)
    table = measure_resplits(evaluation, RULE, Draws(2, 0))
    expected = flatten(evaluation.measure(RULE, (1, 2)))
    measured = table[(table["neurons"] == TARGET) & (table["split"] == 1)].set_index("measure")["value"].to_dict()
    assert measured.keys() == expected.keys()
    assert measured == pytest.approx(expected, abs=1e-6)
    assert {"replication", "sentence.gold.precision_at_1", "oracle.sentence.brier_score"} <= measured.keys()
    tables = evaluation.tables(RULE, (1, 2), Draws(1, 0))["measures"]
    whole = dict(zip(tables["measure"], tables["value"], strict=True))
    shared = measured.keys() & whole.keys()
    assert len(shared) > 30
    assert {name: measured[name] for name in shared} == pytest.approx({name: whole[name] for name in shared}, abs=1e-6)


def test_other_splits_are_the_same_for_both_sets_of_neurons_and_differ_among_themselves() -> None:
    evaluation = make_evaluation()
    table = measure_resplits(evaluation, RULE, Draws(4, 0))
    pd.testing.assert_frame_equal(table, measure_resplits(evaluation, RULE, Draws(4, 0)))
    twin = replace(
        evaluation, controls={RANDOM_DIRECTIONS: lambda: evaluation.active, "other": lambda: evaluation.active}
    )
    again = measure_resplits(twin, RULE, Draws(4, 0)).pivot_table(
        index=["measure", "split"], columns="neurons", values="value"
    )
    assert set(again) == {TARGET, RANDOM_DIRECTIONS}
    both = again.dropna()
    assert len(both) > 100
    np.testing.assert_array_equal(both[TARGET], both[RANDOM_DIRECTIONS])
    spreads = summarise_splits(table)
    assert spreads[TARGET]["replication"].std > 0
    gap = spreads[TARGET]["jaccard"].mean - spreads[RANDOM_DIRECTIONS]["jaccard"].mean
    assert judge_gap(gap, 0.0, spreads[TARGET]["jaccard"].std) == "ahead"


def test_spreads_are_those_of_numpy_and_a_gap_needs_three_of_them() -> None:
    values = np.array([0.1, 0.4, 0.2, 5.0, 6.0])
    spreads = summarise_splits({"neurons": ["a", "a", "a", "b", "b"], "measure": ["x"] * 5, "value": values})
    assert spreads["a"]["x"].mean == pytest.approx(np.mean(values[:3]))
    assert spreads["a"]["x"].std == pytest.approx(np.std(values[:3], ddof=1))
    assert spreads["b"]["x"].std == pytest.approx(np.sqrt(0.5))
    assert summarise_splits({"neurons": [], "measure": [], "value": []}) == {}
    assert [judge_gap(value, 1.0, 0.1) for value in (1.0, 1.29, 1.31, 0.71, 0.69)] == [
        "tied",
        "tied",
        "ahead",
        "tied",
        "behind",
    ]
    assert judge_gap(1.0, 1.0, 0.0) == "tied"
    assert judge_gap(1.0, 1.0, None) is judge_gap(None, 1.0, 0.1) is judge_gap(1.0, None, 0.1) is None
