"""Both ends of neurons: planted ones that fire on a descriptor at one end or at both."""

from __future__ import annotations

import numpy as np
import pytest

from descry.analyses.ends import measure_ends
from descry.assignment.rules import Findings, Rule, assign_splits
from descry.evaluation.chance import Draws
from descry.splits import REPLICATES, Pair

SENTENCES, NEURONS, COLUMNS, EXEMPLARS = 400, 60, 20, 30
RULE = Rule(exemplars=EXEMPLARS)


@pytest.fixture(scope="module")
def found() -> tuple[Pair[Findings], Pair[Findings]]:
    """Neurons 0 to 29 rise on a descriptor, 20 to 49 fall on another; the last ten know nothing."""
    generator = np.random.default_rng(3)
    labels = Pair(*((generator.random((SENTENCES, COLUMNS)) < 0.08).astype(np.int8) for _ in range(2)))

    def make(given: np.ndarray) -> np.ndarray:
        values = generator.normal(size=(SENTENCES, NEURONS))
        for neuron in range(50):
            values[:, neuron] += 4.0 * (neuron < 30) * given[:, neuron % COLUMNS]
            values[:, neuron] -= 4.0 * (neuron >= 20) * given[:, (neuron + 7) % COLUMNS]
        return values

    values = labels.map(make)
    ends = [values.map(lambda given, s=sign: np.argsort(-s * given, axis=0)[:EXEMPLARS].T) for sign in (1, -1)]
    positive, negative = (assign_splits(exemplars, labels, RULE) for exemplars in ends)
    return positive, negative


def test_shares_are_those_that_were_planted(found: tuple[Pair[Findings], Pair[Findings]]) -> None:
    measures, chance = measure_ends(*found, Draws(100, 0))
    shares = measures["ends"]
    assert shares == {name: pytest.approx(n / NEURONS, abs=0.05) for name, n in TOLD.items()}
    drawn = chance["permuted_neurons"]
    for name, share in shares.items():
        assert drawn[f"ends.{name}"].mean() < 0.5 * share


TOLD = {"positive": 30, "negative": 30, "both": 10}


def test_shares_equal_a_slow_count(found: tuple[Pair[Findings], Pair[Findings]]) -> None:
    def replicated(pair: Pair[Findings], neuron: int) -> bool:
        again = np.exp(pair.validation.log_p[neuron]) <= REPLICATES
        return any(again[column] for column in np.flatnonzero(pair.calibration.assigned[neuron]))

    ends = [[replicated(pair, neuron) for neuron in range(NEURONS)] for pair in found]
    shares = measure_ends(*found, Draws(1, 0))[0]["ends"]
    assert shares["positive"] == pytest.approx(np.mean(ends[0]))
    assert shares["negative"] == pytest.approx(np.mean(ends[1]))
    assert shares["both"] == pytest.approx(np.mean([one and other for one, other in zip(*ends, strict=True)]))


def test_exchanged_ends_exchange_their_shares(found: tuple[Pair[Findings], Pair[Findings]]) -> None:
    one, other = measure_ends(*found, Draws(3, 0)), measure_ends(*found[::-1], Draws(3, 0))
    assert one[0]["ends"]["positive"] == other[0]["ends"]["negative"]
    np.testing.assert_array_equal(
        one[1]["permuted_neurons"]["ends.positive"], other[1]["permuted_neurons"]["ends.negative"]
    )
