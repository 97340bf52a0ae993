"""Relations of descriptors: against slow references, and 1 where nothing is beyond what sentences explain."""

from __future__ import annotations

import numpy as np
import pytest

from descry.assignment import gather
from descry.relations import correlations, directed, relations


def a_split(seed: int, *, sentences: int = 400, neurons: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of which the second follows the first, the third nothing; random exemplars; random assignments."""
    generator = np.random.default_rng(seed)
    labels = (generator.random((sentences, 3)) < 0.3).astype(np.int8)
    labels[:, 1] |= labels[:, 0] & (generator.random(sentences) < 0.5)
    rows = np.stack([generator.permutation(sentences)[:40] for _ in range(neurons)])
    return labels, rows, generator.random((neurons, 3)) < 0.4


def test_phi_is_the_correlation_over_known_sentences() -> None:
    labels, _, _ = a_split(0)
    labels[np.random.default_rng(1).random(labels.shape) < 0.1] = -1
    found = correlations(labels)
    for one in range(3):
        for other in range(3):
            known = (labels[:, one] >= 0) & (labels[:, other] >= 0)
            expected = np.corrcoef(labels[known, one], labels[known, other])[0, 1]
            assert found[one, other] == pytest.approx(expected)
    assert np.isnan(correlations(np.zeros((5, 2), np.int8))).all()


def test_the_ratio_equals_a_count_by_hand() -> None:
    labels, rows, assigned = a_split(2)
    ratio, error = directed(gather(rows, labels), assigned, labels)
    for a in range(3):
        for b in range(3):
            with_a, without_a = labels[labels[:, a] == 1, b].mean(), labels[labels[:, a] == 0, b].mean()
            own = rows[assigned[:, a]]
            seen = (labels[own, b] == 1).sum(axis=1)
            bearing = (labels[own, a] == 1).sum(axis=1)
            expected = bearing * with_a + (40 - bearing) * without_a
            assert ratio[a, b] == pytest.approx(seen.sum() / expected.sum())
            spread = np.sqrt(((seen - ratio[a, b] * expected) ** 2).sum()) / seen.sum()
            assert error[a, b] == pytest.approx(spread, rel=1e-6, abs=1e-6)


def test_co_occurrence_in_sentences_is_no_relation_in_neurons() -> None:
    """Neurons whose exemplars are drawn by the first descriptor bear the second more often, but not beyond that; those
    drawn by either of the first and the third do. Interval: 95 % of it holds 1 where nothing is there."""
    inside = []
    for seed in range(40):
        labels, _, _ = a_split(seed)
        generator = np.random.default_rng(100 + seed)
        weight = 1.0 + 4.0 * (labels[:, 0] == 1)
        drawn = [generator.choice(len(labels), 40, replace=False, p=weight / weight.sum()) for _ in range(150)]
        assigned = np.tile([True, False, True], (150, 1))
        found = relations(gather(np.stack(drawn), labels), np.repeat([[True, True, False]], 150, axis=0), labels)
        ratio, error = directed(gather(np.stack(drawn), labels), assigned, labels)
        inside.append(abs(np.log(ratio[0, 1])) < 1.96 * error[0, 1])
        assert found.phi[0, 1] > 0.2
    assert np.mean(inside) >= 0.85
    labels, _, _ = a_split(7)
    weight = 1.0 + 4.0 * ((labels[:, 0] == 1) | (labels[:, 2] == 1))
    generator = np.random.default_rng(0)
    drawn = [generator.choice(len(labels), 40, replace=False, p=weight / weight.sum()) for _ in range(150)]
    found = relations(gather(np.stack(drawn), labels), np.ones((150, 3), bool), labels)
    assert found.low[0, 2] > 1
    assert abs(found.phi[0, 2]) < 0.1


def test_relations_are_symmetric_and_leave_open_what_no_neuron_carries() -> None:
    labels, rows, assigned = a_split(3)
    assigned[:, 2] = False
    found = relations(gather(rows, labels), assigned, labels)
    for name in ("phi", "ratio", "low", "high", "shared"):
        values = getattr(found, name)
        np.testing.assert_array_equal(values, values.T)
    assert np.isnan(found.ratio[2]).all()
    assert np.isnan(np.diagonal(found.ratio)).all()
    assert found.shared[0, 1] == (assigned[:, 0] & assigned[:, 1]).sum()
