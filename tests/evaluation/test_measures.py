import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from sklearn.metrics import average_precision_score, f1_score, jaccard_score, top_k_accuracy_score

from descry.activations.record import Activations
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import Findings, Rule, assign, rank
from descry.evaluation.measures import (
    Assessment,
    measure_confirmation,
    measure_consistency,
    measure_neurons,
    measure_sentences,
    rank_aspects,
    select_first,
)
from descry.evaluation.metrics import (
    at_k,
    average_precision,
    ceiling_precision_at_k,
    f1,
    jaccard,
    pooled_jaccard,
    precision_at_k,
    recall_at_k,
)
from descry.evaluation.voting import measure_firing, rank_descriptors
from descry.splits import Pair
from descry.storage import nesting


def sets(seed: int, rows: int = 30, columns: int = 6, share: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).random((rows, columns)) < share


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_precision_and_recall_equal_a_loop(seed: int, k: int) -> None:
    scores, relevant = np.random.default_rng(seed).random((30, 6)), sets(seed)
    order = rank(scores)
    precisions, recalls = [], []
    for row in range(30):
        wanted = {c for c in range(6) if relevant[row, c]}
        if wanted:
            first = sorted(range(6), key=lambda c: -scores[row, c])[:k]
            precisions.append(len(wanted & set(first)) / k)
            recalls.append(len(wanted & set(first)) / len(wanted))
    assert precision_at_k(order, relevant, k) == pytest.approx(np.mean(precisions))
    assert recall_at_k(order, relevant, k) == pytest.approx(np.mean(recalls))


def test_with_one_label_a_row_recall_is_top_k_accuracy() -> None:
    generator = np.random.default_rng(0)
    scores, truth = generator.random((50, 5)), generator.integers(0, 5, 50)
    found = recall_at_k(rank(scores), np.eye(5, dtype=bool)[truth], 2)
    assert found == pytest.approx(top_k_accuracy_score(truth, scores, k=2, labels=range(5)))


def test_the_ceiling_is_what_a_perfect_order_reaches() -> None:
    relevant = sets(1)
    perfect = rank(relevant.astype(float))
    for k in (1, 2, 4):
        assert precision_at_k(perfect, relevant, k) == ceiling_precision_at_k(relevant, k)
    assert recall_at_k(perfect, relevant, 6) == 1.0


def test_nothing_relevant_scores_nothing() -> None:
    empty = np.zeros((3, 2), bool)
    order = rank(np.zeros((3, 2)))
    assert at_k(order, empty, [1]) == {"precision_at_1": 0.0, "recall_at_1": 0.0}
    assert jaccard(empty, empty) == pooled_jaccard(empty, empty) == 0.0


def test_jaccard_equals_scikit_learn_and_its_laws() -> None:
    a, b = sets(2), sets(3)
    either = (a | b).any(axis=1)
    expected = jaccard_score(a[either], b[either], average="samples", zero_division=0.0)
    assert jaccard(a, b) == pytest.approx(expected)
    assert jaccard(a, b) == jaccard(b, a)
    assert jaccard(a, a) == 1.0
    assert pooled_jaccard(a, b) == pytest.approx(jaccard_score(a.ravel(), b.ravel()))
    both_empty = np.vstack([a, np.zeros((5, 6), bool)]), np.vstack([b, np.zeros((5, 6), bool)])
    assert jaccard(*both_empty) == jaccard(a, b)


def test_average_precision_and_f1_equal_scikit_learn() -> None:
    scores, relevant = np.random.default_rng(4).normal(size=(80, 3)), sets(5, 80, 4)
    scores[:, 1] = scores[:, 1] > 0.5  # nothing but ties
    scores[:30, 2], scores[40:, 2] = np.nan, np.round(scores[40:, 2])  # missing ones, and some ties
    labels = np.where(np.isnan(scores), -1, scores > 0).astype(np.int8)
    found, agreed = average_precision(scores, relevant), f1(labels, relevant)
    for d in range(3):
        known = ~np.isnan(scores[:, d])
        for g in range(4):
            wanted = relevant[known, g]
            assert found[d, g] == pytest.approx(average_precision_score(wanted, scores[known, d]))
            assert agreed[d, g] == pytest.approx(f1_score(wanted, labels[known, d]))


def test_the_order_of_rows_does_not_matter_where_scores_are_equal() -> None:
    scores, relevant = np.zeros((60, 1)), sets(5, 60, 4)
    np.testing.assert_allclose(average_precision(scores, relevant)[0], relevant.mean(axis=0))
    assert (average_precision(np.full((60, 1), np.nan), relevant) == 0).all()


def findings_of(seed: int, alpha: float = 0.3) -> Findings:
    generator = np.random.default_rng(seed)
    labels = (np.random.default_rng(0).random((200, 6)) < 0.2).astype(np.int8)
    rows = np.stack([generator.choice(200, 20, replace=False) for _ in range(40)])
    for n in range(20):
        rows[n, :12] = generator.choice(np.flatnonzero(labels[:, n % 6]), 12, replace=False)
    return assign(gather_evidence(rows, labels), Rule(alpha=alpha, min_count=1, min_lift=1.0))


def test_first_k_keeps_the_strongest_assigned_only() -> None:
    found = findings_of(1, alpha=0.9)
    chosen = select_first(found, 2)
    assert (chosen <= found.assigned).all()
    np.testing.assert_array_equal(chosen.sum(1), np.minimum(found.assigned.sum(1), 2))
    for n in np.flatnonzero(found.assigned.sum(1) > 2):
        left = found.assigned[n] & ~chosen[n]
        assert found.strength[n, chosen[n]].min() >= found.strength[n, left].max()


def test_neuron_measures_equal_a_loop() -> None:
    found = Pair(findings_of(1), findings_of(2))
    measures = measure_neurons(found, [1, 2])
    precisions = []
    for n in range(40):
        own = [d for d in np.argsort(-found.calibration.strength[n], kind="stable") if found.calibration.assigned[n, d]]
        if own and found.validation.assigned[n].any():
            precisions.append(float(found.validation.assigned[n, own[0]]))
    assert measures["precision_at_1"] == pytest.approx(np.mean(precisions))
    assert measures["precision_at_1"] > 0.8
    assert measures["coverage"] == len(precisions) / 40
    assert measures["described"] == found.calibration.assigned.any(1).sum()


def test_findings_agree_wholly_with_themselves() -> None:
    same = Pair(findings_of(3), findings_of(3))
    measures = measure_consistency(same)
    assert measures["jaccard"] == measures["pooled_jaccard"] == measures["top2_jaccard"] == 1.0
    assert measures["replication"] == 1.0


def active(seed: int, sentences: int = 30, neurons: int = 40) -> Activations:
    values = np.random.default_rng(seed).normal(size=(sentences, neurons)).astype(np.float32)
    order = np.argsort(-values, axis=0)[:5].T
    return Activations(
        count=sentences,
        layer=np.ones(neurons, np.int16),
        index=np.arange(neurons, dtype=np.int32),
        values=np.take_along_axis(values.T, order, 1),
        rows=order.astype(np.int32),
        beyond=np.sort(values, axis=0)[-6],
        mean=values.mean(0),
        std=values.std(0),
        maximum=values.max(0),
        probe_rows=np.arange(sentences, dtype=np.int32),
        probe=values.astype(np.float16),
        pooling="mean",
    )


def test_the_vote_equals_a_loop() -> None:
    calibration, validation, found = active(1), active(2), findings_of(4)
    fired = Pair(measure_firing(calibration, calibration), measure_firing(validation, calibration))
    order = rank_descriptors(fired, found)

    def votes(split: Activations, x: int, d: int) -> float:
        total = sum(-found.log_q[n, d] / np.log(10) for n in range(40) if found.assigned[n, d])
        score = 0.0
        for n in range(40):
            if found.assigned[n, d]:
                z = (float(split.probe[x, n]) - calibration.mean[n]) / calibration.std[n]
                score += -found.log_q[n, d] / np.log(10) / total * min(max(z, -1.0), 3.0)
        return score

    known = np.array([[votes(calibration, x, d) for d in range(6)] for x in range(30)])
    scores = np.array([[votes(validation, x, d) for d in range(6)] for x in range(30)])
    correlations = np.corrcoef(known.T) + 2.0 * np.eye(6)
    standard = (scores - known.mean(0)) / known.std(0)
    expected = np.argsort(-standard @ np.real(sqrtm(np.linalg.inv(correlations))), axis=1)
    assert found.assigned.any(0).all()
    np.testing.assert_array_equal(order, expected)


def test_descriptors_that_no_neuron_carries_come_last_by_prevalence() -> None:
    calibration, validation = active(1), active(2)
    labels = np.zeros((30, 3), np.int8)
    labels[:4, 0], labels[:9, 1], labels[:6, 2] = 1, 1, 1
    found = assign(gather_evidence(calibration.rows, labels), Rule(alpha=1e-9))
    assert not found.assigned.any()
    fired = Pair(measure_firing(calibration, calibration), measure_firing(validation, calibration))
    assert (rank_descriptors(fired, found) == [1, 2, 0]).all()


def test_a_dead_neuron_never_fires() -> None:
    dead = active(1)
    dead.std[3] = 0.0
    assert (measure_firing(dead, dead)[:, 3] == 0).all()


def test_aspects_are_ordered_by_their_best_placed_descriptor() -> None:
    order = np.array([[2, 0, 1, 3]])
    assert rank_aspects(order, np.array([1, 1, 0, 2]), 4).tolist() == [[0, 1, 2, 3]]


def test_sentences_with_a_missing_label_are_left_out() -> None:
    order, labels = np.array([[0, 1], [0, 1], [0, 1]]), np.array([[1, 0], [0, 1], [-1, 1]], np.int8)
    assert measure_sentences(order, labels, [1])["precision_at_1"] == 0.5


def test_nested_is_the_inverse_of_flat() -> None:
    measures = {"a": {"b": 1.0, "c": {"d": 2.0}}, "e": 3.0}
    assert nesting.flatten(measures) == {"a.b": 1.0, "a.c.d": 2.0, "e": 3.0}
    assert nesting.nest(nesting.flatten(measures)) == measures


def test_one_labellers_findings_confirm_anothers() -> None:
    generator = np.random.default_rng(0)
    labels = (generator.random((300, 6)) < 0.2).astype(np.int8)
    rows = np.stack([generator.choice(np.flatnonzero(labels[:, n % 6]), 15, replace=False) for n in range(60)])
    one = assign(gather_evidence(rows, labels), Rule())
    assert measure_confirmation(one, one) == {"survival": 1.0, "support": 1.0, "pooled_jaccard": 1.0}
    half = labels.copy()
    half[:, 3:] = half[generator.permutation(300), 3:]
    other = assign(gather_evidence(rows, half), Rule())
    found = measure_confirmation(one, other)
    both, all_pairs = one.assigned & other.assigned, one.assigned | other.assigned
    assert found["survival"] == both.sum() / one.assigned.sum()
    assert found["pooled_jaccard"] == both.sum() / all_pairs.sum()
    assert found["survival"] <= found["support"] < 0.7
    nothing = assign(gather_evidence(rows[:, :1], labels), Rule())
    assert measure_confirmation(nothing, one)["survival"] == 0.0


def test_measures_of_gold_labels_stand_under_oracle() -> None:
    own = {"neuron": {"a": 1.0}, "sentence": {"gold": {"b": 2.0}}}
    pair = Pair(np.zeros((1, 1)), np.zeros((1, 1)))
    assert Assessment(pair, {}).named(own) == own
    assert Assessment(pair, {}, oracle=True).named(own) == {"oracle": {"neuron": {"a": 1.0}, "sentence": {"b": 2.0}}}


def test_a_control_is_measured_with_its_own_neurons_columns() -> None:
    """Resampled neurons vote as the neurons that they are."""
    generator = np.random.default_rng(1)
    labels = (generator.random((200, 5)) < 0.25).astype(np.int8)
    values = generator.normal(size=(200, 40)).astype(np.float32) + 2 * labels[:, np.arange(40) % 5]
    found = assign(gather_evidence(np.argsort(-values, axis=0)[:20].T, labels), Rule())
    fired = Pair(values, values)
    plain = rank_descriptors(fired, found)
    neurons = generator.permutation(40)
    np.testing.assert_array_equal(rank_descriptors(fired, found.take(neurons), neurons), plain)
    wrong = rank_descriptors(fired, found.take(neurons))
    assert (wrong != plain).mean() > 0.3
