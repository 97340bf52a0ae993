"""Scores that become probabilities: beside a general optimiser, and by what maximum likelihood implies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit

from descry.evaluation.logistic import PENALTY, fit_logistic


def draw(seed: int, sentences: int = 200, columns: int = 4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(sentences, columns))
    chances = expit(scores * np.linspace(0, 3, columns) + np.linspace(-4, 1, columns))
    labels = (generator.random((sentences, columns)) < chances).astype(np.int8)
    labels[generator.random(labels.shape) < 0.1] = -1
    return scores, labels, generator.uniform(0.01, 0.5, columns)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_the_fit_is_the_maximum_of_the_penalised_likelihood(seed: int) -> None:
    scores, labels, prevalence = draw(seed)
    slope, intercept = fit_logistic(scores, labels, prevalence)
    for column in range(4):
        rows = labels[:, column] >= 0
        x, y, share = scores[rows, column], labels[rows, column], prevalence[column]

        def loss(
            at: np.ndarray, x: np.ndarray = x, y: np.ndarray = y, share: float = share
        ) -> float:  # the sum that the docstring states
            logits = at[0] * x + at[1]
            own = np.logaddexp(0, logits).sum() - logits[y == 1].sum()
            return float(own + np.logaddexp(0, at[1]) - share * at[1] + PENALTY * at[0] ** 2 / 2)

        best = minimize(
            loss, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12, "maxiter": 4000}
        )
        assert loss(np.array([slope[column], intercept[column]])) <= best.fun + 1e-8
        np.testing.assert_allclose([slope[column], intercept[column]], best.x, atol=1e-4)


def test_a_score_that_says_nothing_leaves_the_share_of_the_label() -> None:
    generator = np.random.default_rng(0)
    labels = (generator.random((5000, 1)) < 0.03).astype(np.int8)
    slope, intercept = fit_logistic(generator.normal(size=(5000, 1)), labels, labels.mean(axis=0))
    assert abs(slope[0]) < 0.25
    assert expit(intercept[0]) == pytest.approx(labels.mean(), abs=2e-3)


def test_the_sum_of_probabilities_is_the_number_of_labels() -> None:
    scores, labels, _ = draw(3, sentences=4000)
    slope, intercept = fit_logistic(scores, labels, (labels == 1).sum(axis=0) / (labels >= 0).sum(axis=0))
    known = labels >= 0
    expected = (expit(scores * slope + intercept) * known).sum(axis=0)
    np.testing.assert_allclose(expected, (labels == 1).sum(axis=0), atol=1.0)  # but for the one sentence more


@pytest.mark.parametrize("gap", [1e-3, 1.0, 1e3])
def test_labels_that_a_score_separates_wholly_have_a_finite_fit(gap: float) -> None:
    labels = np.repeat(np.array([[0], [1]], np.int8), 50, axis=0)
    scores = np.where(labels == 1, gap, -gap).astype(np.float64)
    slope, intercept = fit_logistic(scores, labels, np.array([0.5]))
    assert np.isfinite([slope[0], intercept[0]]).all()
    assert slope[0] > 0
    assert expit(intercept[0]) == pytest.approx(0.5, abs=1e-3)


def test_a_label_that_no_known_sentence_has_is_as_likely_as_its_prevalence_lets_it_be() -> None:
    labels = np.zeros((40, 2), np.int8)
    labels[:, 1] = -1
    scores = np.random.default_rng(0).normal(size=(40, 2))
    slope, intercept = fit_logistic(scores, labels, np.array([0.02, 0.02]))
    assert expit(intercept) == pytest.approx([0.02 / 41, 0.02], rel=0.02)
    np.testing.assert_allclose(slope, 0, atol=0.1)
