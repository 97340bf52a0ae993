import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, hypergeom, kstest

from descry.assignment.evidence import Evidence, gather_evidence
from descry.assignment.false_discovery import (
    benjamini_hochberg,
    log_mass,
    log_p,
    log_tail,
    look_up_log_mass,
    randomised_p,
    tabulate_log_factorials,
)
from descry.assignment.rules import Rule, assign, rank, tabulate_assignments


def random_case(seed: int, missing: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = (generator.random((60, 5)) < [0.5, 0.3, 0.1, 0.02, 0.0]).astype(np.int8)
    labels[generator.random(labels.shape) < missing] = -1
    rows = np.stack([generator.permutation(60)[:12] for _ in range(7)])
    return rows, labels


def test_counts_equal_a_loop_and_missing_labels_count_nowhere() -> None:
    rows, labels = random_case(0)
    found = gather_evidence(rows, labels)
    for n in range(len(rows)):
        for d in range(labels.shape[1]):
            own = [labels[row, d] for row in rows[n]]
            assert found.counts[n, d] == own.count(1)
            assert found.known[n, d] == len(own) - own.count(-1)
    for d in range(labels.shape[1]):
        assert found.population[d] == sum(labels[:, d] >= 0)
        assert found.positives[d] == sum(labels[:, d] == 1)


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 400), st.data())
def test_the_tail_is_the_hypergeometric_one(population: int, data: st.DataObject) -> None:
    positives = data.draw(st.integers(0, population))
    draws = data.draw(st.integers(0, population))
    expected = hypergeom.sf(np.arange(draws + 1) - 1, population, positives, draws)
    np.testing.assert_allclose(np.exp(log_tail(population, positives, draws)), expected, rtol=1e-7, atol=1e-14)


def test_masses_looked_up_are_those_computed_one_by_one() -> None:
    generator = np.random.default_rng(0)
    table = tabulate_log_factorials(50_000)
    for largest in (12, 50_000):
        population = generator.integers(0, largest + 1, 200)[:, None]
        positives = generator.integers(0, population + 1)
        draws = generator.integers(0, 2 * largest // (1 + generator.integers(0, 200, population.shape)) + 1)
        hits = np.arange(-2, 30)
        found = look_up_log_mass(table, population, positives, draws, hits)
        assert (found[:, :2] == -np.inf).all()
        for row, (size, bearing, drawn) in enumerate(np.hstack([population, positives, draws]).tolist()):
            if drawn <= size:
                np.testing.assert_allclose(
                    found[row, 2:], log_mass(size, bearing, drawn, hits[2:]), rtol=1e-9, atol=1e-7
                )
            else:
                assert (found[row] == -np.inf).all()


def test_the_tail_holds_where_the_probability_underflows() -> None:
    tail = log_tail(200_000, 5_000, 400)
    assert np.isfinite(tail).all()
    assert (np.diff(tail) < 0).all()
    assert tail[400] < -745  # below the least float64
    assert tail[0] == 0.0


def test_p_is_the_chance_of_a_random_exemplar_set() -> None:
    rows, labels = random_case(1)
    found = gather_evidence(rows, labels)
    p = np.exp(log_p(found))
    for n in range(len(rows)):
        for d in range(labels.shape[1]):
            expected = hypergeom.sf(found.counts[n, d] - 1, found.population[d], found.positives[d], found.known[n, d])
            assert p[n, d] == pytest.approx(expected, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([1e-9, 0.001, 0.01, 0.02, 0.05, 0.3, 0.9, 1.0]), min_size=1, max_size=40))
def test_q_is_that_of_benjamini_and_hochberg(values: list[float]) -> None:
    p = np.array(values)
    found = np.exp(benjamini_hochberg(np.log(p)))
    np.testing.assert_allclose(found, false_discovery_control(p), rtol=1e-9)


def test_q_keeps_the_shape_and_the_order_of_p() -> None:
    log_ps = np.log(np.random.default_rng(2).random((9, 4)))
    log_qs = benjamini_hochberg(log_ps)
    assert log_qs.shape == log_ps.shape
    assert (log_qs >= log_ps - 1e-12).all()
    order = np.argsort(log_ps.ravel())
    assert (np.diff(log_qs.ravel()[order]) >= -1e-12).all()


def test_both_rules_do_what_they_say() -> None:
    evidence = gather_evidence(*random_case(3))
    enriched = assign(evidence, Rule(alpha=0.4, min_lift=1.2, min_count=2))
    expected = (np.exp(enriched.log_q) <= 0.4) & (evidence.lift >= 1.2) & (evidence.counts >= 2)
    np.testing.assert_array_equal(enriched.assigned, expected)
    assert enriched.assigned.any()
    composed = assign(evidence, Rule("composition", tau=0.3))
    np.testing.assert_array_equal(composed.assigned, evidence.counts / evidence.known >= 0.3)
    np.testing.assert_array_equal(composed.strength, evidence.composition)


def test_a_descriptor_without_sentences_is_never_assigned() -> None:
    evidence = gather_evidence(*random_case(4, missing=0.0))
    for rule in ("enrichment", "composition"):
        assert not assign(evidence, Rule(rule, alpha=0.99, min_lift=0.0, min_count=0)).assigned[:, 4].any()


def test_random_exemplars_get_few_descriptors_and_planted_ones_all() -> None:
    generator = np.random.default_rng(5)
    labels = (generator.random((2000, 10)) < 0.05).astype(np.int8)
    rows = np.stack([generator.choice(2000, 50, replace=False) for _ in range(400)])
    for n in range(40):
        bearers = np.flatnonzero(labels[:, n % 10])
        rows[n, :25] = generator.choice(bearers, 25, replace=False)
    found = assign(gather_evidence(rows, labels), Rule())
    assert found.assigned[np.arange(40), np.arange(40) % 10].all()
    assert found.assigned[40:].sum() <= 5


def test_ranking_breaks_ties_towards_the_lower_column() -> None:
    assert rank(np.array([[1.0, 3.0, 3.0, 0.0]])).tolist() == [[1, 2, 0, 3]]


def test_the_table_holds_every_assigned_pair_once_in_order() -> None:
    evidence = gather_evidence(*random_case(6))
    options = {"alpha": 0.5, "min_lift": 1.0, "min_count": 1, "tau": 0.4}
    findings = {rule: assign(evidence, Rule(rule, **options)) for rule in ("enrichment", "composition")}
    names = [f"d{number}" for number in range(5)]
    layer, index = np.array([1, 1, 1, 2, 2, 2, 2], np.int16), np.array([0, 1, 2, 0, 1, 2, 3], np.int32)
    pairs = tabulate_assignments(findings, layer, index, names)
    either = findings["enrichment"].assigned | findings["composition"].assigned
    assert len(pairs) == either.sum() > 0
    for rule, found in findings.items():
        assert pairs[f"{rule}_assigned"].sum() == found.assigned.sum()
        chosen = pairs[pairs[f"{rule}_assigned"]].sort_values(["layer", "index", f"{rule}_rank"])
        for (one_layer, one_index), rows in chosen.groupby(["layer", "index"]):
            neuron = int(np.flatnonzero((layer == one_layer) & (index == one_index))[0])
            best = [names[c] for c in rank(found.strength)[neuron] if found.assigned[neuron, c]]
            assert rows["descriptor"].tolist() == best
            assert rows[f"{rule}_rank"].tolist() == list(range(1, len(best) + 1))
        assert (pairs.loc[~pairs[f"{rule}_assigned"], f"{rule}_rank"] == 0).all()
    assert pairs[["layer", "index"]].apply(tuple, axis=1).is_monotonic_increasing
    row = pairs.iloc[0]
    assert row["lift"] == pytest.approx(row["composition"] / row["prevalence"])


def test_nothing_assigned_gives_an_empty_table() -> None:
    evidence = Evidence(np.zeros((2, 1), np.int32), np.full((2, 1), 5, np.int32), np.array([3]), np.array([50]))
    findings = {rule: assign(evidence, Rule(rule)) for rule in ("enrichment", "composition")}
    assert tabulate_assignments(findings, np.ones(2, np.int16), np.arange(2, dtype=np.int32), ["x"]).empty


def test_a_neuron_without_exemplars_counts_nothing_and_gets_nothing() -> None:
    rows, labels = random_case(3)
    rows[2] = -1
    found = gather_evidence(rows, labels)
    assert found.counts[2].tolist() == found.known[2].tolist() == [0] * 5
    assert np.exp(log_p(found)[2]).tolist() == pytest.approx([1.0] * 5)
    for rule in ("enrichment", "composition"):
        assert not assign(found, Rule(rule, tau=1e-9)).assigned[2].any()
    without = gather_evidence(np.delete(rows, 2, axis=0), labels)
    np.testing.assert_array_equal(np.delete(found.counts, 2, axis=0), without.counts)


def test_randomised_p_is_uniform_under_chance_where_p_is_not() -> None:
    generator = np.random.default_rng(0)
    labels = (generator.random((300, 4)) < [0.3, 0.1, 0.05, 0.02]).astype(np.int8)
    labels[:7, 1] = -1
    rows = np.stack([generator.permutation(300)[:20] for _ in range(4000)])
    found = gather_evidence(rows, labels)
    drawn = randomised_p(found, generator)
    for column in drawn.T:
        assert kstest(column, "uniform").pvalue > 1e-4
    assert kstest(np.exp(log_p(found))[:, 3], "uniform").pvalue < 1e-9
    assert (drawn <= np.exp(log_p(found)) + 1e-12).all()


def test_taking_neurons_takes_all_that_is_said_of_them() -> None:
    rows, labels = random_case(4)
    found = assign(gather_evidence(rows, labels), Rule(alpha=0.9, min_lift=0.0, min_count=1))
    order = np.array([3, 3, 0])
    taken = found.take(order)
    for name in ("log_p", "log_q", "strength", "assigned"):
        np.testing.assert_array_equal(getattr(taken, name), getattr(found, name)[order])
    np.testing.assert_array_equal(taken.evidence.counts, found.evidence.counts[order])
    np.testing.assert_array_equal(taken.evidence.lift, found.evidence.lift[order])
