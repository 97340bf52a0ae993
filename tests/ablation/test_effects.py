"""What is lost when neurons are off: against scikit-learn, slow counts and the bootstrap."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from descry.ablation.effects import (
    RIDGE,
    Auroc,
    Change,
    LinearProbe,
    compare_changes,
    measure_auroc_loss,
    measure_separation_loss,
    measure_word_loss,
)

SENTENCES = 300


def test_the_probe_is_a_ridge_regression_of_standardised_dimensions() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(3, [1, 10, 0.1, 5], size=(SENTENCES, 4))
    labels = (vectors[:, :2] / [1, 10] + generator.normal(size=(SENTENCES, 2)) > 3).astype(np.int8)
    found = LinearProbe.of(vectors, labels).scores(vectors)
    inputs = (vectors - vectors.mean(0)) / vectors.std(0)
    slow = Ridge(alpha=RIDGE * SENTENCES, fit_intercept=False).fit(inputs, labels - labels.mean(0))
    np.testing.assert_allclose(found, slow.predict(inputs), atol=1e-10)


def test_a_probe_learns_nothing_from_missing_labels_and_flat_dimensions() -> None:
    generator = np.random.default_rng(1)
    vectors = np.column_stack([generator.normal(size=(SENTENCES, 2)), np.full(SENTENCES, 4.0)])
    labels = (vectors[:, :1] > 0).astype(np.int8)
    whole = LinearProbe.of(vectors, labels)
    assert np.abs(whole.weights[2]).max() == 0
    assert np.isfinite(whole.scores(vectors + 1)).all()
    labels[:100] = -1
    given = (labels[100:] == 1).mean()
    slow = Ridge(alpha=RIDGE * SENTENCES, fit_intercept=False)
    inputs = (vectors - vectors.mean(0))[:, :2] / vectors.std(0)[:2]
    slow.fit(inputs, np.where(labels >= 0, labels - given, 0))
    np.testing.assert_allclose(
        LinearProbe.of(vectors, labels).scores(vectors), slow.predict(inputs)[:, None], atol=1e-10
    )


def test_the_area_is_that_of_a_known_library_with_ties_and_missing_labels() -> None:
    generator = np.random.default_rng(2)
    for _ in range(20):
        scores = generator.integers(0, 8, 60) / 4
        labels = generator.integers(-1, 2, 60).astype(np.int8)
        known = labels >= 0
        found = Auroc.of(scores, labels)
        assert found.value == pytest.approx(roc_auc_score(labels[known], scores[known]))
        assert found.influence.sum() == pytest.approx(0, abs=1e-12)
        assert not found.influence[~known].any()
    assert np.isnan(Auroc.of(np.arange(3.0), np.ones(3, np.int8)).value)


def made(seed: int, reviews: int = 75) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Scores of three descriptors before and after, labels, common sentences and reviews; what a review's sentences
    have in common is in the scores as well."""
    generator = np.random.default_rng(seed)
    review = np.repeat(np.arange(reviews), 4)
    labels = (generator.random((len(review), 3)) < 0.3).astype(np.int8)
    mood = generator.normal(size=(reviews, 3))[review]
    before = labels + mood + generator.normal(size=labels.shape)
    after = [0.3, 0.8, 0.9] * labels + mood + 0.5 * generator.normal(size=labels.shape)
    return before, after, labels, generator.random(len(review)) < 0.7, review


def slow_auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    pairs = scores[labels == 1][:, None] - scores[labels == 0][None]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def slow_loss(before: np.ndarray, after: np.ndarray, labels: np.ndarray, common: np.ndarray) -> tuple[float, float]:
    """Of the first descriptor and of the others, in AUROC."""
    own = common | (labels[:, 0] == 1)
    lost = [slow_auroc(x[own, 0], labels[own, 0]) for x in (before, after)]
    rest = [
        slow_auroc(before[common, other], labels[common, other])
        - slow_auroc(after[common, other], labels[common, other])
        for other in (1, 2)
    ]
    return lost[0] - lost[1], float(np.mean(rest))


def slow_separation(
    before: np.ndarray, after: np.ndarray, labels: np.ndarray, common: np.ndarray
) -> tuple[float, float]:
    """The same of the distance between means."""

    def distance(scores: np.ndarray, given: np.ndarray) -> float:
        return float(scores[given == 1].mean() - scores[given == 0].mean())

    own = common | (labels[:, 0] == 1)
    mine = [distance(x[own, 0], labels[own, 0]) for x in (before, after)]
    rest = [sum(distance(x[common, other], labels[common, other]) for other in (1, 2)) for x in (before, after)]
    return 1 - mine[1] / mine[0], 1 - rest[1] / rest[0]


LOSSES = [(measure_auroc_loss, slow_loss), (measure_separation_loss, slow_separation)]


@pytest.mark.parametrize(("fast", "slow"), LOSSES)
def test_losses_equal_a_slow_count(fast: Callable[..., Change], slow: Callable[..., tuple[float, float]]) -> None:
    for seed in range(5):
        before, after, labels, common, _ = made(seed)
        found = fast(before, after, labels, common, 0)
        assert (found.own, found.others) == pytest.approx(slow(before, after, labels, common))
        assert found.specificity == found.own - found.others
        unchanged = fast(before, before, labels, common, 0)
        assert unchanged.own == unchanged.others == 0
        assert not np.any(unchanged.influence)


@pytest.mark.parametrize(("fast", "slow"), LOSSES)
def test_the_interval_is_that_of_a_bootstrap_over_reviews(
    fast: Callable[..., Change], slow: Callable[..., tuple[float, float]]
) -> None:
    before, after, labels, common, review = made(11, reviews=150)
    nothing = fast(before, before, labels, common, 0)
    told = compare_changes(fast(before, after, labels, common, 0), nothing, review)
    generator = np.random.default_rng(0)
    drawn = []
    for _ in range(600):
        rows = (generator.integers(0, 150, 150)[:, None] * 4 + np.arange(4)).ravel()
        own, others = slow(before[rows], after[rows], labels[rows], common[rows])
        drawn.append(own - others)
    width = (told["specificity_high"] - told["specificity_low"]) / (2 * 1.96)
    assert width == pytest.approx(np.std(drawn), rel=0.15)
    assert told["above"] == told["specificity"] - told["random"] == told["specificity"]
    assert (told["above_low"], told["above_high"]) == pytest.approx((told["specificity_low"], told["specificity_high"]))


def test_the_interval_above_random_neurons_knows_that_the_sentences_are_the_same() -> None:
    before, after, labels, common, review = made(12)
    change = measure_auroc_loss(before, after, labels, common, 0)
    told = compare_changes(change, Change.mean([change, change]), review, "word_")
    assert told["word_above"] == told["word_above_low"] == told["word_above_high"] == 0
    assert told["word_own"] == told["word_random_own"]


def test_words_are_compared_with_those_of_others() -> None:
    generator = np.random.default_rng(3)
    columns, review = generator.integers(0, 3, 400), generator.integers(0, 60, 400)
    lost = generator.normal(size=400) + (columns == 1)
    found = measure_word_loss(lost, columns, 1)
    assert found.own == lost[columns == 1].mean()
    assert found.others == lost[columns != 1].mean()
    told = compare_changes(found, measure_word_loss(np.zeros(400), columns, 1), review)
    drawn = []
    for _ in range(600):
        rows = np.concatenate([np.flatnonzero(review == one) for one in generator.integers(0, 60, 60)])
        mine = columns[rows] == 1
        drawn.append(lost[rows][mine].mean() - lost[rows][~mine].mean())
    assert (told["specificity_high"] - told["specificity_low"]) / (2 * 1.96) == pytest.approx(np.std(drawn), rel=0.15)
    assert np.isnan(measure_word_loss(lost, columns, 7).own)


@pytest.mark.parametrize("fast", [measure_auroc_loss, measure_separation_loss])
def test_where_nothing_can_be_lost_nothing_is_said(fast: Callable[..., Change]) -> None:
    before, after, labels, common, review = made(13)
    labels[:, 0] = 0
    assert np.isnan(
        compare_changes(fast(before, after, labels, common, 0), fast(before, after, labels, common, 0), review)["own"]
    )
    alone = fast(before[:, 1:2], after[:, 1:2], labels[:, 1:2], common, 0)
    assert np.isfinite(alone.own)
    assert np.isnan(alone.specificity)
