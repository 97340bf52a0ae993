"""Nearest neighbours against a comparison of every two sets."""

from __future__ import annotations

import numpy as np
import pytest

from descry.activations import neighbours as module
from descry.activations.neighbours import find_neighbours


def test_neighbours_equal_a_comparison_of_every_two_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    own, other = (np.stack([generator.permutation(30)[:6] for _ in range(50)]) for _ in range(2))
    own[7] = own[8] = -1
    monkeypatch.setattr(module, "BLOCK", 16)
    found = find_neighbours(own, other, 4)
    for neuron in range(50):
        shared = [len(set(own[neuron]) & set(own[n]) - {-1}) if n != neuron else -1 for n in range(50)]
        best = sorted(range(50), key=lambda n: (-shared[n], n))[:4]
        expected = [n if shared[n] > 0 else -1 for n in best]
        assert found.neuron[neuron].tolist() == expected
        assert found.shared[neuron].tolist() == [max(shared[n], 0) for n in best]
        elsewhere = [len(set(other[neuron]) & set(other[n])) if n >= 0 else 0 for n in expected]
        assert found.elsewhere[neuron].tolist() == elsewhere


@pytest.mark.parametrize("neurons", [1, 3])
def test_few_neurons_have_few_neighbours(neurons: int) -> None:
    found = find_neighbours(np.zeros((neurons, 1), int), np.zeros((neurons, 1), int), 4)
    assert found.neuron.shape == (neurons, neurons - 1)
    assert (found.shared == 1).all()
