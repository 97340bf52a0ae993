from dataclasses import replace

import numpy as np
import pytest

from descry.activations.record import Activations
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import Rule, assign
from descry.evaluation.measures import Reference, measure_neurons
from descry.evaluation.sweeps import Sweeper, raise_threshold, tabulate_sweeps
from descry.evaluation.voting import Firing, predict
from descry.splits import Pair

RULE = Rule(exemplars=30)
NEURONS, SENTENCES = 120, 400


def side(seed: int) -> tuple[np.ndarray, Activations]:
    """Labels, and neurons of 2 layers: those of the first fire on descriptor n % 6, those of the second on nothing."""
    generator = np.random.default_rng(seed)
    labels = (generator.random((SENTENCES, 6)) < np.linspace(0.3, 0.05, 6)).astype(np.int8)
    values = generator.normal(size=(SENTENCES, NEURONS)).astype(np.float32)
    values[:, : NEURONS // 2] += 2.5 * labels[:, np.arange(NEURONS // 2) % 6]
    order = np.argsort(-values, axis=0, kind="stable").T[:, :60].astype(np.int32)
    return labels, Activations(
        count=SENTENCES,
        layer=np.repeat([1, 2], NEURONS // 2).astype(np.int16),
        index=np.tile(np.arange(NEURONS // 2), 2).astype(np.int32),
        values=np.take_along_axis(values.T, order, axis=1),
        rows=order,
        beyond=np.sort(values, axis=0)[-61],
        mean=values.mean(0),
        std=values.std(0),
        maximum=values.max(0),
        probe_rows=np.arange(0, SENTENCES, 2).astype(np.int32),
        probe=values[::2].astype(np.float16),
        pooling="mean",
    )


@pytest.fixture(scope="module")
def world() -> tuple[Sweeper, Pair[Activations]]:
    (one, first), (other, second) = side(1), side(2)
    references = {"labels": Reference(other[second.probe_rows])}
    reviews = [str(row // 4) for row in range(SENTENCES)]
    return Sweeper(Pair(one, other), reviews, references, RULE, (1, 2), 0), Pair(first, second)


def test_a_raised_threshold_leaves_what_reaches_it(world: tuple[Sweeper, Pair[Activations]]) -> None:
    sweeper, active = world
    evidence = gather_evidence(active.calibration.rows[:, :30], sweeper.labels.calibration)
    found, direct = (assign(evidence, Rule("composition", tau=tau)) for tau in (0.1, 0.4))
    both = raise_threshold(Pair(found, found), 0.4)
    np.testing.assert_array_equal(both.calibration.assigned, direct.assigned)
    np.testing.assert_array_equal(both.validation.assigned, direct.assigned)


def test_every_point_is_the_measure_at_that_setting(world: tuple[Sweeper, Pair[Activations]]) -> None:
    sweeper, active = world
    rows = {row[:4]: row[4] for row in sweeper.sizes(active, [10, 30])}
    for size in (10, 30):
        found = Pair(
            *(
                assign(gather_evidence(seen.rows[:, :size], labels), replace(RULE, name="composition"))
                for seen, labels in zip(active, sweeper.labels, strict=True)
            )
        )
        probabilities = predict(Firing.of(active, sweeper.reviews), found.calibration, sweeper.labels.calibration)
        expected = sweeper.references["labels"].measure(probabilities, (1, 2))
        key = (str(size), "composition", "target")
        assert rows[*key, "sentence.labels.recall_at_2"] == expected["recall_at_2"]
        assert rows[*key, "neuron.precision_at_1"] == measure_neurons(found, (1, 2))["precision_at_1"]
        assert rows[*key, "neuron.described"] == found.calibration.described.mean()


def test_chance_stands_at_every_threshold_below_what_knows(world: tuple[Sweeper, Pair[Activations]]) -> None:
    sweeper, active = world
    found = tabulate_sweeps({"threshold": sweeper.thresholds(active, [0.2, 0.5])})
    assert not found.isna().any(axis=None)
    assert not found["measure"].str.contains("ceiling").any()
    wide = found.pivot_table(index=["x", "rule", "measure"], columns="neurons", values="value")
    assert {(x, rule) for x, rule, _ in wide.index} == {
        (x, r) for x in ("0.2", "0.5") for r in ("enrichment", "composition")
    }
    first = wide.xs("sentence.labels.precision_at_1", level="measure")
    assert (first["target"] > first["random_exemplars"] + 0.2).all()
    assert (first["target"] > first["most_common"] + 0.2).all()
    described = wide.xs("neuron.described", level="measure")["target"]
    assert described["0.5", "composition"] < described["0.2", "composition"]


def test_layers_say_who_lives_where(world: tuple[Sweeper, Pair[Activations]]) -> None:
    sweeper, active = world
    found = tabulate_sweeps({"layer": sweeper.layers({"target": active, "again": active})})
    shares = found.set_index(["neurons", "rule", "x"])["value"]
    assert shares["target", "enrichment", "1"] > 0.9
    assert shares["target", "enrichment", "2"] < 0.1
    assert (shares["again"] == shares["target"]).all()
    assert len(found) == 8


def test_poolings_stand_under_their_names(world: tuple[Sweeper, Pair[Activations]]) -> None:
    sweeper, active = world
    found = tabulate_sweeps({"pooling": sweeper.poolings([active])})
    assert set(found["x"]) == {"mean"}
    assert set(found["neurons"]) == {"target", "random_exemplars", "most_common"}
