"""The vote: beside a loop, by what folds must not see, and against the prior on even and on skewed corpora."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import Ridge

from descry.activations.record import Activations, read_activations
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import Findings, Rule, assign, rank
from descry.evaluation.explanation import explain
from descry.evaluation.logistic import fit_logistic
from descry.evaluation.measures import measure_sentences
from descry.evaluation.voting import (
    FOLDS,
    RIDGE,
    Electorate,
    Firing,
    fit_electorate,
    fit_mixing,
    limit_loudness,
    measure_firing,
    predict,
    standardise,
)
from descry.schemas.label import LABEL_ARRAYS
from descry.splits import SPLITS, Pair
from descry.storage.arrays import read_arrays
from tests.conftest import ROOT

NEURONS, ACTIVATIONS = 60, ROOT / "data" / "activations"


def draw_split(seed: int, shares: np.ndarray, signal: float = 1.5, count: int = 600) -> tuple[np.ndarray, Activations]:
    """Labels of these shares, and neurons each of which fires on one of them (n % descriptors), more or less."""
    generator = np.random.default_rng(seed)
    labels = (generator.random((count, len(shares))) < shares).astype(np.int8)
    values = generator.normal(size=(count, NEURONS)).astype(np.float32)
    values += signal * labels[:, np.arange(NEURONS) % len(shares)]
    rows = np.argsort(-values, axis=0, kind="stable").T[:, :61].astype(np.int32)
    return labels, Activations(
        count=count,
        layer=np.ones(NEURONS, np.int16),
        index=np.arange(NEURONS, dtype=np.int32),
        values=np.take_along_axis(values.T, rows, axis=1),
        rows=rows,
        beyond=np.take_along_axis(values.T, rows[:, -1:], axis=1)[:, 0],
        mean=values.mean(0),
        std=values.std(0),
        maximum=values.max(0),
        probe_rows=np.arange(count, dtype=np.int32),
        probe=values.astype(np.float16),
        pooling="mean",
    )


def find(active: Activations, labels: np.ndarray) -> Findings:
    return assign(gather_evidence(active.exemplars(60), labels), Rule())


def name_reviews(count: int) -> list[str]:
    return [f"r{row // 4}" for row in range(count)]


EVEN, SKEWED = np.full(6, 0.2), np.array([0.6, 0.1, 0.05, 0.04, 0.03, 0.03])


def test_the_vote_equals_a_loop() -> None:
    labels, active = draw_split(0, EVEN)
    found, fold = find(active, labels), np.arange(600) // 4 % FOLDS
    fired = measure_firing(active, active)
    electorate = Electorate.of(fired, found, labels, fold)
    votes = np.zeros((600, 6))
    for d in range(6):
        total = sum(-found.log_q[n, d] for n in range(NEURONS) if found.assigned[n, d])
        for n in range(NEURONS):
            if found.assigned[n, d]:
                z = (active.probe[:, n].astype(np.float64) - active.mean[n]) / active.std[n]
                votes[:, d] += -found.log_q[n, d] / total * np.clip(z, -1, 3)
    votes = (votes - votes.mean(axis=0)) / votes.std(axis=0)
    whole, out_of_fold = np.zeros((600, 6)), np.zeros((600, 6))
    for d in range(6):
        target = labels[:, d] - labels[:, d].mean()
        whole[:, d] = Ridge(RIDGE * 600, fit_intercept=False).fit(votes, target).predict(votes)
        for number in range(FOLDS):
            inside = fold == number
            ridge = Ridge(RIDGE * (~inside).sum(), fit_intercept=False).fit(votes[~inside], target[~inside])
            out_of_fold[inside, d] = ridge.predict(votes[inside])
    scale = out_of_fold.std(axis=0)
    slope, intercept = fit_logistic(out_of_fold / scale, labels, labels.mean(axis=0))
    np.testing.assert_allclose(electorate.probabilities(fired), expit(whole / scale * slope + intercept), atol=1e-4)


def test_a_sentences_score_does_not_depend_on_the_labels_of_its_fold() -> None:
    labels, _ = draw_split(1, EVEN)
    fold = np.arange(600) // 4 % FOLDS
    votes = np.random.default_rng(0).normal(size=(600, 6))
    plain = fit_mixing(votes, labels, fold)[1]
    changed = labels.copy()
    changed[fold == 2] = changed[fold == 2][::-1]  # the same shares, so that the mean of the targets stays
    again = fit_mixing(votes, changed, fold)[1]
    np.testing.assert_allclose(again[fold == 2], plain[fold == 2], atol=1e-9)
    assert np.abs(again[fold != 2] - plain[fold != 2]).max() > 1e-3


@pytest.mark.parametrize("shares", [EVEN, SKEWED], ids=["even", "skewed"])
@pytest.mark.parametrize("signal", [0.0, 0.4, 1.5])
def test_the_vote_is_as_good_as_the_prior_and_better_where_neurons_know(shares: np.ndarray, signal: float) -> None:
    (labels, calibration), (other, validation) = draw_split(2, shares, signal), draw_split(3, shares, signal)
    fired = Firing.of(Pair(calibration, validation), name_reviews(600))
    prior = labels.mean(axis=0)[None]
    voted = measure_sentences(predict(fired, find(calibration, labels), labels), other, (1, 2))
    common = measure_sentences(prior, other, (1, 2))
    assert voted["precision_at_1"] >= common["precision_at_1"] - 0.02
    assert voted["recall_at_2"] >= common["recall_at_2"] - 0.02
    assert voted["brier_score"] <= common["brier_score"] + 1e-3
    assert voted["calibration_error"] < 0.03
    if signal == 1.5:
        assert voted["recall_at_2"] > common["recall_at_2"] + 0.1
        assert voted["brier_score"] < 0.8 * common["brier_score"]


def test_descriptors_that_no_neuron_carries_have_their_prevalence() -> None:
    labels, active = draw_split(4, EVEN)
    found = find(active, labels)
    nothing = replace(found, assigned=np.zeros_like(found.assigned))
    one = replace(found, assigned=found.assigned & (np.arange(6) == 2))
    for given, spoken in ((nothing, []), (one, [2])):
        electorate = fit_electorate(active, given, labels, name_reviews(600))
        assert electorate.spoken.tolist() == spoken
        silent = np.setdiff1d(np.arange(6), spoken)
        probabilities = electorate.probabilities(measure_firing(active, active))[:, silent]
        np.testing.assert_array_equal(probabilities, np.tile(found.evidence.prevalence[silent], (600, 1)))


def test_missing_labels_teach_nothing() -> None:
    labels, active = draw_split(5, EVEN)
    masked = labels.copy()
    masked[:60] = -1
    found, fold = find(active, masked), np.arange(600) // 4 % FOLDS
    fired = measure_firing(active, active)
    votes = fired[:, :6].astype(np.float64)
    filled = masked.copy()
    filled[:60] = labels[:60]
    assert np.isfinite(Electorate.of(fired, found, masked, fold).probabilities(fired)).all()
    assert (fit_mixing(votes, masked, fold)[0] != fit_mixing(votes, filled, fold)[0]).all()
    np.testing.assert_allclose(
        fit_mixing(votes, masked, fold)[0],
        fit_mixing(votes, np.where(np.arange(600)[:, None] < 60, -1, filled).astype(np.int8), fold)[0],
    )


def test_one_review_leaves_the_prior() -> None:
    labels, active = draw_split(6, EVEN)
    electorate = fit_electorate(active, find(active, labels), labels, ["only"] * 600)
    probabilities = electorate.probabilities(measure_firing(active, active))
    np.testing.assert_allclose(probabilities, np.tile(labels.mean(axis=0), (600, 1)), atol=2e-3)


def test_resampled_neurons_vote_as_the_neurons_that_they_are() -> None:
    labels, active = draw_split(7, EVEN)
    found, fired = find(active, labels), Firing.of(Pair(active, active), name_reviews(600))
    neurons = np.random.default_rng(1).permutation(NEURONS)
    plain = predict(fired, found, labels)
    np.testing.assert_allclose(predict(fired, found.take(neurons), labels, neurons), plain, atol=1e-5)
    assert np.abs(predict(fired, found.take(neurons), labels) - plain).mean() > 0.02


def test_a_dead_neuron_never_fires() -> None:
    _, active = draw_split(8, EVEN)
    active.std[3] = 0.0
    assert (measure_firing(active, active)[:, 3] == 0).all()


@pytest.mark.skipif(
    not any(ACTIVATIONS.glob("*")), reason="the activations are not at hand: run `dvc repro` or `dvc pull`"
)
def test_on_the_committed_run_explanations_rank_as_the_vote_does() -> None:
    active = Pair(*(read_activations(ACTIVATIONS / f"{split}.safetensors") for split in SPLITS))
    labels = read_arrays(ROOT / "data/labels/first/calibration.safetensors", LABEL_ARRAYS)[0]["labels"]
    found = assign(gather_evidence(active.calibration.exemplars(200), labels), Rule())
    reviews = name_reviews(len(labels))
    fired = Firing.of(active, reviews)
    probabilities = predict(fired, found, labels)
    z = standardise(active.validation.probe[:200], active.calibration)
    np.testing.assert_array_equal(limit_loudness(z), fired.validation[:200])
    electorate = fit_electorate(active.calibration, found, labels, reviews)
    for row, expected in zip(z, probabilities, strict=False):
        explanation = explain(electorate, row, row[None])
        np.testing.assert_allclose(explanation.probability, expected, atol=1e-5)
        assert (explanation.order == rank(explanation.probability[None])[0]).all()
