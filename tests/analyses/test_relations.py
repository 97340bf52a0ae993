"""Relations of descriptors: against slow references, and nothing beyond what sentences explain where nothing is."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from scipy.stats import hypergeom

from descry.analyses import relations
from descry.analyses.relation_measures import deal_descriptors, find_polysemantic, measure_relations
from descry.analyses.relations import (
    Relations,
    correlations,
    find_relations,
    measure_cooccurrence,
    measure_shared_neurons,
)
from descry.assignment.evidence import gather_evidence
from descry.assignment.false_discovery import log_tail
from descry.assignment.rules import Findings, Rule, assign
from descry.evaluation.chance import Draws
from descry.splits import Pair

RULES = [Rule(alpha=0.3, min_lift=1.2), Rule("composition", alpha=0.3, min_lift=1.2, tau=0.4)]
NAMES = ["one", "two", "three"]


def drawn(weight: np.ndarray, neurons: int, generator: np.random.Generator) -> np.ndarray:
    """Exemplars of neurons that fire on sentences by weight: int [neurons, 40]."""
    chosen = [generator.choice(len(weight), 40, replace=False, p=weight / weight.sum()) for _ in range(neurons)]
    return np.stack(chosen)


def a_split(
    seed: int,
    rule: Rule = RULES[0],
    *,
    follows: float = 0.5,
    both: bool = False,
    missing: float = 0.0,
    kinds: tuple[int, ...] = (0, 1, 2),
) -> tuple[np.ndarray, np.ndarray, Findings]:
    """Labels of which the second follows the first, so often, and the third nothing; exemplars and findings of 60
    neurons: as many fire on each of some descriptors; both: those of the first fire on the third as well."""
    generator = np.random.default_rng(seed)
    labels = (generator.random((300, 3)) < 0.3).astype(np.int8)
    labels[:, 1] |= labels[:, 0] & (generator.random(300) < follows)
    parts = []
    for column in kinds:
        loved = (labels[:, column] == 1) | (both & (column == 0) & (labels[:, 2] == 1))
        parts.append(drawn(1.0 + 5.0 * loved, 60 // len(kinds), generator))
    labels[generator.random(labels.shape) < missing] = -1
    exemplars = np.concatenate(parts)
    return labels, exemplars, assign(gather_evidence(exemplars, labels), rule)


def test_phi_is_the_correlation_over_known_sentences() -> None:
    labels, _, _ = a_split(0, missing=0.1)
    found = correlations(labels)
    for one in range(3):
        for other in range(3):
            known = (labels[:, one] >= 0) & (labels[:, other] >= 0)
            expected = np.corrcoef(labels[known, one], labels[known, other])[0, 1]
            assert found[one, other] == pytest.approx(expected)
    assert np.isnan(correlations(np.zeros((5, 2), np.int8))).all()


def test_counts_bearing_and_information_equal_a_count_by_hand() -> None:
    labels, _, _ = a_split(1, missing=0.1)
    found = measure_cooccurrence(labels, [str(row // 3) for row in range(len(labels))])
    for a in range(3):
        for b in range(3):
            known = labels[(labels[:, a] >= 0) & (labels[:, b] >= 0)]
            one, other = known[:, a] == 1, known[:, b] == 1
            assert found.count[a, b] == (one & other).sum()
            assert found.bearing[a, b] == pytest.approx(other[one].mean())
            assert found.pmi[a, b] == pytest.approx(np.log2((one & other).mean() / one.mean() / other.mean()))


def test_the_interval_holds_the_truth_although_sentences_of_a_review_are_alike() -> None:
    """True phi is 0: each review is about one descriptor or none, drawn at random, and speaks of it four times; were
    sentences taken for independent, the interval would be half as wide."""
    inside = []
    for seed in range(150):
        generator = np.random.default_rng(seed)
        labels = np.repeat((generator.random((150, 2)) < 0.3).astype(np.int8), 4, axis=0)
        found = measure_cooccurrence(labels, [str(row // 4) for row in range(600)])
        inside.append(found.low[0, 1] <= 0 <= found.high[0, 1])
    assert 0.89 <= np.mean(inside) <= 0.99


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_expectations_are_those_of_permutations(rule: Rule) -> None:
    """b's labels change places among the sentences that bear a and among those that do not: mean and deviation of what
    a's neurons then bear, and to how many of them b is assigned by the very counts that were enough before."""
    labels, exemplars, found = a_split(2, rule)
    told = measure_shared_neurons(exemplars, labels, found, rule)
    generator = np.random.default_rng(0)
    for a, b in permutations(range(3), 2):
        own = exemplars[found.assigned[:, a]]
        inside = np.flatnonzero(labels[:, a] == 1), np.flatnonzero(labels[:, a] == 0)
        counts = np.arange(41)
        enough = counts[[found.assigned[:, b][found.evidence.counts[:, b] == count].any() for count in counts]].min()
        seen, neurons = [], []
        for _ in range(1500):
            moved = labels[:, b].copy()
            for stratum in inside:
                moved[stratum] = moved[generator.permutation(stratum)]
            borne = moved[own].sum(axis=1)
            seen.append(borne.sum())
            neurons.append((borne >= enough).sum())
        observed = labels[own, b].sum()
        assert told.seen[a, b] == observed
        assert told.expected[a, b] == pytest.approx(np.mean(seen), abs=4 * np.std(seen) / np.sqrt(1500))
        assert (observed - told.expected[a, b]) / told.z[a, b] == pytest.approx(np.std(seen), rel=0.1)
        assert told.ratio[a, b] == pytest.approx(observed / told.expected[a, b])
        assert told.neurons[a, b] == (found.assigned[:, a] & found.assigned[:, b]).sum()
        assert told.neurons_expected[a, b] == pytest.approx(
            np.mean(neurons), abs=5 * np.std(neurons) / np.sqrt(1500) + 0.02
        )


def test_missing_labels_are_left_out() -> None:
    labels, exemplars, found = a_split(3, missing=0.2)
    told = measure_shared_neurons(exemplars, labels, found, RULES[0])
    for a, b in permutations(range(3), 2):
        own = exemplars[found.assigned[:, a]]
        known = (labels[own, a] >= 0) & (labels[own, b] >= 0)
        assert told.seen[a, b] == ((labels[own, b] == 1) & known).sum()
        rates = [labels[(labels[:, a] == side) & (labels[:, b] >= 0), b].mean() for side in (0, 1)]
        assert told.expected[a, b] == pytest.approx(np.array(rates)[labels[own, a][known]].sum())


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_z_is_that_of_a_sum_over_samples_drawn_without_replacement(
    missing: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relations, "BLOCK", 64)
    labels, exemplars, found = a_split(3, missing=missing)
    told = measure_shared_neurons(exemplars, labels, found, RULES[0])
    for a, b in permutations(range(3), 2):
        weight = np.bincount(exemplars[found.assigned[:, a]].ravel(), minlength=len(labels))
        seen = expected = variance = 0.0
        for side in (1, 0):
            here = (labels[:, a] == side) & (labels[:, b] >= 0)
            drawn, bears = weight[here], labels[here, b] == 1
            seen, expected = seen + drawn[bears].sum(), expected + drawn.mean() * bears.sum()
            variance += bears.sum() * (~bears).sum() / (len(bears) - 1) * drawn.var()
        assert told.seen[a, b] == seen
        assert told.z[a, b] == pytest.approx((seen - expected) / np.sqrt(variance))


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_expected_neurons_are_sums_of_two_hypergeometric_counts(missing: float) -> None:
    labels, exemplars, found = a_split(3, missing=missing)
    told = measure_shared_neurons(exemplars, labels, found, RULES[0])
    limit, evidence = found.log_p[found.assigned].max(), found.evidence
    for a, b in permutations(range(3), 2):
        known = labels[:, b] >= 0
        strata = [labels[known & (labels[:, a] == side), b] for side in (1, 0)]
        expected = 0.0
        for neuron in np.flatnonzero(found.assigned[:, a]):
            draws = int(evidence.known[neuron, b])
            counts = np.arange(draws + 1)
            enough = log_tail(int(evidence.population[b]), int(evidence.positives[b]), draws) <= limit
            enough &= counts / draws >= RULES[0].min_lift * evidence.prevalence[b]
            enough &= counts >= RULES[0].min_count
            with_a = min(int(evidence.counts[neuron, a]), draws)
            masses = [
                hypergeom.pmf(counts, len(stratum), stratum.sum(), drawn)
                for stratum, drawn in zip(strata, (with_a, draws - with_a), strict=True)
            ]
            expected += np.convolve(*masses)[: draws + 1][enough].sum()
        assert told.neurons_expected[a, b] == pytest.approx(expected, rel=1e-9)


def test_co_occurrence_in_sentences_is_no_relation_in_neurons() -> None:
    """Neurons that fire on the first descriptor bear the second more often than others, but not beyond what the
    sentences explain: z is that of chance. Those that fire on either of the first and the third do go together."""
    chance, planted, more = [], [], []
    for seed in range(60):
        labels, exemplars, found = a_split(seed, kinds=(0,))
        told = find_relations(
            NAMES, exemplars, labels, labels.astype(float), list(map(str, range(300))), found, RULES[0]
        )
        chance.append([told.shared.z[0, 1], told.shared.z[0, 2]])
        assert told.together.low[0, 1] > 0
        more.append((labels[exemplars, 1] == 1).mean() / (labels[:, 1] == 1).mean())
        labels, exemplars, found = a_split(seed, both=True)
        planted.append(measure_shared_neurons(exemplars, labels, found, RULES[0]).z[0, 2])
    assert np.mean(more) > 1.15
    assert np.mean(chance) == pytest.approx(0, abs=0.3)
    assert 0.75 < np.std(chance) < 1.3
    assert np.mean(np.array(chance) > 1.645) < 0.12
    assert min(planted) > 3


def test_what_no_neuron_carries_stays_open() -> None:
    labels, exemplars, found = a_split(4)
    found.assigned[:, 2] = False
    told = find_relations(NAMES, exemplars, labels, labels.astype(float), list(map(str, range(300))), found, RULES[0])
    assert np.isnan(told.shared.z[2]).all()
    assert np.isnan(told.shared.ratio[2]).all()
    assert (np.exp(told.log_q[2]) == 1).all()
    assert not told.shared.neurons_expected[2].any()
    table = told.table()
    assert list(zip(table["descriptor"], table["other"], strict=True)) == list(permutations(NAMES, 2))
    assert table["z"].isna().sum() == 2
    symmetric = table.set_index(["descriptor", "other"])
    for one, other in permutations(NAMES, 2):
        for name in ("sentences", "pmi", "phi", "low", "high", "alike", "neurons"):
            assert symmetric.loc[(one, other), name] == pytest.approx(symmetric.loc[(other, one), name])


def test_a_descriptor_that_never_stands_beside_another_has_no_information() -> None:
    labels = np.repeat([[1, 0, 0], [0, 1, 0]], 20, axis=0).astype(np.int8)
    exemplars = np.arange(40).reshape(2, 20)
    found = assign(gather_evidence(exemplars, labels), RULES[0])
    told = find_relations(NAMES, exemplars, labels, labels.astype(float), ["a", "b"] * 20, found, RULES[0])
    table = told.table().set_index(["descriptor", "other"])
    assert np.isnan(table.loc[("one", "two"), "pmi"])
    assert table.loc[("one", "two"), "phi"] == -1
    assert np.isnan(table.loc[("one", "three"), "phi"])
    assert told.unrelated[0, 1]


def both_splits(seed: int, **options: Any) -> tuple[Pair[Relations], Findings]:
    made, findings = [], []
    for split in range(2):
        labels, exemplars, found = a_split(2 * seed + split, **options)
        reviews = list(map(str, range(300)))
        made.append(find_relations(NAMES, exemplars, labels, labels.astype(float), reviews, found, RULES[0]))
        findings.append(found)
    return Pair(*made), findings[0]


def test_what_is_there_on_both_splits_is_found_again_and_chance_is_not() -> None:
    pair, found = both_splits(0, both=True, follows=0.0)
    layer = np.repeat([1, 2], 30)
    told, chance = measure_relations(pair, found.assigned, layer, alpha=0.05, draws=Draws(30, 0))
    own = told["relations"]
    significant = np.exp(pair.calibration.log_q) <= 0.05
    again = np.exp(pair.validation.log_p) <= 0.05
    pairs = ~np.eye(3, dtype=bool)
    assert significant[0, 2]
    assert own["pairs"] == (significant & pairs).sum()
    assert own["replication"] == again[significant & pairs].mean() == 1
    others = chance["other_pairs"]["relations.replication"]
    assert others == again[~significant & pairs].mean()
    assert chance["permuted_descriptors"]["relations.replication"].mean() < 0.7
    for name in ("replication", "sentences_replication", "direction_replication"):
        assert 0 <= own[name] <= 1
        assert len(chance["permuted_descriptors"][f"relations.{name}"]) == 30


def test_neurons_of_two_minds_equal_a_loop() -> None:
    generator = np.random.default_rng(0)
    assigned = generator.random((200, 6)) < 0.3
    unrelated = np.triu(generator.random((6, 6)) < 0.4, 1)
    unrelated |= unrelated.T
    expected = [any(unrelated[a, b] for a in np.flatnonzero(row) for b in np.flatnonzero(row)) for row in assigned]
    assert find_polysemantic(assigned, unrelated).tolist() == expected
    assert 0 < sum(expected) < 200
    assert not find_polysemantic(assigned, np.zeros((6, 6), bool)).any()


def test_descriptors_are_dealt_by_layer_and_as_many_as_each_neuron_has() -> None:
    generator = np.random.default_rng(1)
    layer = np.repeat([1, 2], 400)
    assigned = generator.random((800, 5)) < np.where(layer == 1, 0.5, 0.2)[:, None] * [1.0, 0.5, 0.5, 0.25, 0.0]
    assigned[layer == 2, 1] = False
    moved = np.stack([deal_descriptors(assigned, layer, generator) for _ in range(40)])
    assert (moved.sum(axis=2) == assigned.sum(axis=1)).all()
    for one in (1, 2):
        here = moved[:, layer == one]
        assert not here[..., ~assigned[layer == one].any(axis=0)].any()
        single = here[:, assigned[layer == one].sum(axis=1) == 1].mean(axis=(0, 1))
        rates = assigned[layer == one].mean(axis=0)
        np.testing.assert_allclose(single, rates / rates.sum(), atol=0.02)


def test_a_neuron_is_dealt_its_largest_keys() -> None:
    generator = np.random.default_rng(2)
    assigned, layer = generator.random((300, 7)) < 0.3, np.repeat([1, 3], 150)
    dealt = deal_descriptors(assigned, layer, np.random.default_rng(5))
    again = np.random.default_rng(5)
    for one in (1, 3):
        here = layer == one
        keys = np.log(assigned[here].mean(axis=0)) + again.gumbel(size=(150, 7))
        for key, own, given in zip(keys, assigned[here], dealt[here], strict=True):
            assert set(np.flatnonzero(given)) == set(sorted(range(7), key=lambda d: -key[d])[: own.sum()])


def test_nothing_found_is_no_error() -> None:
    labels, exemplars, found = a_split(5)
    nothing = replace(found, assigned=np.zeros_like(found.assigned))
    reviews = list(map(str, range(300)))
    told = find_relations(NAMES, exemplars, labels, labels.astype(float), reviews, nothing, RULES[0])
    own = measure_relations(Pair(told, told), nothing.assigned, np.ones(60, int), alpha=0.05, draws=Draws(2, 0))[0]
    assert own["relations"]["pairs"] == own["relations"]["replication"] == own["relations"]["polysemantic"] == 0
