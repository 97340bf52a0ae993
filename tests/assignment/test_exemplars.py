import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from descry.activations.accumulators import TopK
from descry.assignment.evidence import gather_evidence
from descry.assignment.exemplars import select_exemplars
from descry.assignment.rules import RULES, Rule, assign_by


def select(values: np.ndarray, kept: int, k: int) -> list[set[int]]:
    """The exemplars of each neuron, out of what a pass keeps. values: float32 [sentences, neurons]."""
    top = TopK(values.shape[1], kept)
    for start in range(0, len(values), 5):
        top.update(torch.from_numpy(values[start : start + 5]), torch.arange(start, min(start + 5, len(values))))
    rows = select_exemplars(*top.compute(), k)
    assert all((row[:-1] >= 0)[np.flatnonzero(row[1:] >= 0)].all() for row in rows)  # none after the first -1
    return [set(row[row >= 0].tolist()) for row in rows]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 12), st.integers(0, 4), st.integers(1, 4))
def test_exemplars_are_the_sentences_above_the_one_that_follows_them(
    seed: int, sentences: int, k: int, more: int, levels: int
) -> None:
    generator = np.random.default_rng(seed)
    values = generator.integers(0, levels + 1, size=(sentences, 6)).astype(np.float32)
    found = select(values, k + more, k)
    for own, column in zip(found, values.T, strict=True):
        following = np.sort(column)[::-1][min(k, sentences - 1)]
        assert own == set(np.flatnonzero(column > following).tolist())
    order = generator.permutation(sentences)
    assert [{int(order[row]) for row in own} for own in select(values[order], k + more, k)] == found


@pytest.mark.parametrize("firing", [0, 1, 7, 19, 20, 21, 30])
@pytest.mark.parametrize("kept", [20, 33])
def test_a_unit_at_rest_elsewhere_has_no_more_exemplars_than_sentences_on_which_it_fires(
    firing: int, kept: int
) -> None:
    generator = np.random.default_rng(firing)
    values = np.zeros((100, 1), np.float32)
    fires = generator.permutation(100)[:firing]
    values[fires, 0] = generator.uniform(0.1, 1, firing)
    strongest = fires[np.argsort(-values[fires, 0])][:20]
    assert select(values, kept, 20) == [set(strongest.tolist())]


def test_sets_of_every_size_are_tested_by_their_own_size() -> None:
    """Every rule against a count by hand; a neuron without exemplars has no descriptor."""
    labels = np.zeros((50, 2), np.int8)
    labels[:10, 0] = labels[40:, 1] = 1
    rows = np.array([[0, 1, 2, 3], [0, 1, 2, -1], [0, -1, -1, -1], [-1, -1, -1, -1]])
    evidence = gather_evidence(rows, labels)
    assert evidence.known[:, 0].tolist() == [4, 3, 1, 0]
    assert evidence.composition[:, 0].tolist() == [1, 1, 1, 0]
    found = assign_by(RULES, evidence, Rule(alpha=0.5, min_count=1))
    expected = [10 * 9 * 8 * 7 / (50 * 49 * 48 * 47), 10 * 9 * 8 / (50 * 49 * 48), 10 / 50, 1]
    np.testing.assert_allclose(np.exp(found["enrichment"].log_p[:, 0]), expected)
    for of in found.values():
        assert not of.described[3]
