from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.metrics import average_precision_score, f1_score, jaccard_score

from descry.activations.extraction import extract
from descry.activations.record import Activations
from descry.assignment.evidence import gather_evidence
from descry.assignment.false_discovery import log_p
from descry.assignment.rules import Rule, assign
from descry.corpus.readers import read_reviews
from descry.corpus.sentences import build_sentence_table
from descry.evaluation import association
from descry.evaluation import gold as gold_aspects
from descry.evaluation.association import (
    MEASURES,
    PASSING,
    add_labels,
    draw_review_weights,
    drop_labels,
    measure_associations,
)
from descry.models.target import Target
from descry.splits import SPLITS, Pair
from tests.conftest import ROOT

Score = Callable[[Pair[np.ndarray]], dict[str, np.ndarray]]


def activations(probe: np.ndarray, probe_rows: np.ndarray, count: int) -> Activations:
    neurons = probe.shape[1]
    none = np.zeros((neurons, 0))
    return Activations(
        count=count,
        layer=np.ones(neurons, np.int16),
        index=np.arange(neurons, dtype=np.int32),
        values=none.astype(np.float32),
        rows=none.astype(np.int32),
        beyond=probe.max(axis=0).astype(np.float32),
        mean=probe.astype(np.float32).mean(axis=0),
        std=probe.astype(np.float32).std(axis=0),
        maximum=probe.max(axis=0).astype(np.float32),
        probe_rows=probe_rows.astype(np.int32),
        probe=probe.astype(np.float16),
        pooling="mean",
    )


@dataclass(frozen=True)
class Run:
    """What `measure_associations` takes."""

    neurons: np.ndarray
    columns: np.ndarray
    active: Pair[Activations]
    labels: Pair[np.ndarray]
    reviews: list[str]

    def measure(self, labels: Pair[np.ndarray] | None = None, repeats: int = 30, seed: int = 0) -> pd.DataFrame:
        chosen = labels or self.labels
        return measure_associations(
            self.neurons, self.columns, self.active, chosen, self.reviews, repeats=repeats, seed=seed
        )


def simulated(seed: int, *, ties: bool = False, missing: bool = False, reviews: int = 50, effect: float = 1.0) -> Run:
    """Reviews of four sentences, three labels, five neurons of which neuron n follows label n % 3; half of the
    sentences are in the probe."""
    generator = np.random.default_rng(seed)
    count = reviews * 4
    splits, labels = [], []
    for _ in SPLITS:
        bears = generator.random((count, 3)) < (0.1, 0.2, 0.4)
        values = effect * bears[:, [0, 1, 2, 0, 1]] + generator.normal(-0.5, 1, (count, 5))
        rows = np.sort(generator.permutation(count)[: count // 2])
        splits.append(activations((values.round() if ties else values)[rows], rows, count))
        absent = generator.random(bears.shape) < (0.2 if missing else 0.0)
        labels.append(np.where(absent, -1, bears).astype(np.int8))
    neurons, columns = np.divmod(generator.permutation(15), 3)  # pairs in no order
    return Run(neurons, columns, Pair(*splits), Pair(*labels), [f"r{row // 4}" for row in range(count)])


def slow_measures(run: Run, pair: int, times: np.ndarray) -> list[float]:
    """One pair by other people's code; times: how often each sentence of validation's probe is repeated."""
    neuron, column = run.neurons[pair], run.columns[pair]
    known, heard = run.active.calibration, run.active.validation
    learned = [
        (float(known.probe[i, neuron]), run.labels.calibration[row, column]) for i, row in enumerate(known.probe_rows)
    ]
    learned = [(value, label) for value, label in learned if label >= 0]
    positives = sum(label == 1 for _, label in learned)
    threshold = sorted((value for value, _ in learned), reverse=True)[positives - 1]
    sentences = []
    for i, row in enumerate(heard.probe_rows):
        label = run.labels.validation[row, column]
        sentences += [(float(heard.probe[i, neuron]), int(label))] * (int(times[i]) if label >= 0 else 0)
    values, labels = np.array([v for v, _ in sentences]), np.array([y for _, y in sentences])
    centred = values - float(known.mean[neuron])
    fires = values >= threshold
    return [
        pearsonr(values, labels).statistic,
        centred @ labels / (np.linalg.norm(centred) * np.linalg.norm(labels)),
        average_precision_score(labels, values),
        f1_score(labels, fires),
        jaccard_score(labels, fires),
    ]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("missing", [False, True])
def test_values_and_intervals_equal_other_peoples_code(ties: bool, missing: bool) -> None:
    run = simulated(1, ties=ties, missing=missing)
    found = run.measure(repeats=12, seed=3)
    own = [run.reviews[row] for row in run.active.validation.probe_rows]
    samples = draw_review_weights(np.array(own), 12, 3).T
    for pair in range(len(run.neurons)):
        slow = np.array([slow_measures(run, pair, times) for times in samples])
        expected = np.column_stack(
            [slow[0], np.quantile(slow[1:], 0.025, axis=0), np.quantile(slow[1:], 0.975, axis=0)]
        )
        np.testing.assert_allclose(found.iloc[pair], expected.ravel(), rtol=2e-6, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_a_weight_is_as_good_as_a_repetition(seed: int, ties: bool) -> None:
    generator = np.random.default_rng(seed)
    values = generator.normal(size=(3, 25))
    values = values.round() if ties else values
    bears, fires = generator.random(25) < 0.3, values > 0.5
    weights = generator.integers(0, 4, (25, 2)).astype(np.float32)
    for sample in range(2):
        times = weights[:, sample].astype(int)
        ones = np.ones((times.sum(), 1), np.float32)
        for measure, given_values in (
            (association.linear_association, values),
            (association.weighted_average_precision, values),
            (association.overlap_association, fires),
        ):
            weighted = np.asarray(measure(given_values, bears, weights))[..., sample]
            repeated = measure(np.repeat(given_values, times, axis=1), np.repeat(bears, times), ones)
            np.testing.assert_allclose(weighted, np.asarray(repeated)[..., 0], atol=1e-6)


def test_a_review_is_drawn_with_all_its_sentences() -> None:
    reviews = np.array(["b", "a", "b", "c", "a", "b"])
    weights = draw_review_weights(reviews, 500, 0)
    assert weights[:, 0].tolist() == [1] * 6
    for name in "abc":
        assert (np.ptp(weights[reviews == name], axis=0) == 0).all()
    assert (weights[[1, 2, 3], 1:].sum(axis=0) == 3).all()  # one sentence of each review
    np.testing.assert_allclose(weights[:, 1:].mean(axis=1), 1, atol=0.15)


def test_nothing_to_measure_is_zero_and_never_nan() -> None:
    run = simulated(2)
    run.active.validation.probe[:, 0] = 0.7  # constant
    run.active.validation.probe[:, 1] = 0.0  # dead
    run.labels.validation[:, 1] = 0
    run.labels.validation[:, 2] = -1
    run.labels.calibration[:, 0] = 0  # nothing to learn a threshold from
    found = run.measure()
    silent = (run.neurons < 2) | (run.columns > 0)
    assert (found[silent] == 0).all(axis=None)
    rest = found[~silent]
    assert np.isfinite(rest).all(axis=None)
    assert (rest[["pearson", "cosine", "auprc"]] != 0).all(axis=None)
    assert (rest[["f1", "iou"]] == 0).all(axis=None)


def test_rounding_is_no_variance() -> None:
    values = np.append(np.full(20, 0.1), 5.0)[None, :]
    bears = np.arange(21) < 7
    weights = np.append(np.random.default_rng(0).integers(1, 4, (20, 50)), np.zeros((1, 50)), axis=0)  # 5.0 undrawn
    pearson, _ = association.linear_association(values, bears, weights.astype(np.float32))
    assert (pearson == 0).all()


def test_as_many_sentences_fire_as_bear_the_descriptor() -> None:
    values = np.random.default_rng(0).normal(size=(4, 50))
    for positives in (1, 7, 50):
        reached = values >= association.firing_threshold(values, positives)[:, None]
        assert reached.sum(axis=1).tolist() == [positives] * 4
    assert not (values >= association.firing_threshold(values, 0)[:, None]).any()


def test_units_fire_from_the_threshold_and_a_silent_one_only_where_it_is_not() -> None:
    generator = np.random.default_rng(1)
    learned, values = generator.normal(size=(2, 3, 80))
    fires = association.find_firing(values, learned, 20)
    for unit in range(3):
        assert (fires[unit] == (values[unit] >= np.sort(learned[unit])[-20])).all()
    learned, values = np.maximum(learned - 1, 0), np.maximum(values - 1, 0)  # silent on five sentences of six
    assert (association.find_firing(values, learned, 30) == (values > 0)).all()
    few = association.find_firing(values, learned, 3)
    assert few.any()
    assert not (few & (values <= 0)).any()
    assert (few <= (values >= np.sort(learned, axis=1)[:, -3:-2])).all()
    assert not association.find_firing(values, learned, 0).any()


def test_one_row_a_pair_the_same_every_time_and_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    run = simulated(3, missing=True)
    found = run.measure()
    assert found.columns.tolist() == [f"{m}{bound}" for m in MEASURES for bound in ("", "_low", "_high")]
    assert (found.dtypes == np.float64).all()
    pd.testing.assert_frame_equal(found, run.measure(), check_exact=True)
    assert not found.equals(run.measure(seed=1))
    backwards = Run(run.neurons[::-1], run.columns[::-1], run.active, run.labels, run.reviews).measure()
    np.testing.assert_allclose(backwards.iloc[::-1], found, rtol=1e-9, atol=1e-12)
    for size in (1, 2**13, 2**40):
        monkeypatch.setattr(association, "BLOCK", size)
        np.testing.assert_allclose(run.measure(), found, rtol=1e-9, atol=1e-12)


def test_intervals_hold_the_value_and_narrow_with_more_reviews() -> None:
    few, many = (simulated(4, reviews=reviews).measure(repeats=200) for reviews in (60, 540))
    for name in MEASURES:
        for found in (few, many):
            assert (found[f"{name}_low"] <= found[name]).all()
            assert (found[name] <= found[f"{name}_high"]).all()
        few_width, many_width = ((found[f"{name}_high"] - found[f"{name}_low"]).mean() for found in (few, many))
        assert 0.2 < many_width / few_width < 0.5  # a third, by the square root


def test_intervals_cover_the_truth_and_only_because_they_draw_reviews() -> None:
    generator = np.random.default_rng(5)
    reviews = np.repeat(np.arange(80), 8)
    hits = {"reviews": 0, "sentences": 0}
    for trial in range(150):
        topical, mood = generator.random(80) < 0.3, generator.normal(size=80)
        bears = generator.random(640) < np.where(topical, 0.6, 0.02)[reviews]
        values = (mood[reviews] + generator.normal(size=640))[None, :]  # the truth: no association
        for unit, groups in (("reviews", reviews), ("sentences", np.arange(640))):
            pearson, _ = association.linear_association(values, bears, draw_review_weights(groups, 100, trial))
            low, high = np.quantile(pearson[0, 1:], association.INTERVAL)
            hits[unit] += low <= 0 <= high
    assert hits["reviews"] / 150 > 0.88
    assert hits["sentences"] / 150 < 0.8


def test_the_checks_change_what_they_say_and_nothing_else() -> None:
    generator = np.random.default_rng(6)
    labels = generator.choice([-1, 0, 1], p=[0.1, 0.8, 0.1], size=(2000, 4)).astype(np.int8)
    labels[:, 3] = np.where(labels[:, 3] == 0, 1, labels[:, 3])  # hardly a negative left
    before = labels.copy()
    lost, more = drop_labels(labels, 0.5, generator), add_labels(labels, 2.0, generator)
    np.testing.assert_array_equal(labels, before)
    assert lost.dtype == more.dtype == np.int8
    for after in (lost, more):
        np.testing.assert_array_equal(after == -1, labels == -1)
    assert (lost <= labels).all()
    np.testing.assert_allclose((lost == 1).sum(0) / (labels == 1).sum(0), 0.5, atol=0.12)
    assert (more >= labels).all()
    assert ((more == 1).sum(0)[:3] == 2 * (labels == 1).sum(0)[:3]).all()
    assert not (more[:, 3] == 0).any()


EXEMPLARS = 50
DRAWS = 8
CHECKS = {
    "missing": lambda labels, generator: drop_labels(labels, 0.5, generator),
    "extra": lambda labels, generator: add_labels(labels, 2.0, generator),
}


@dataclass(frozen=True)
class Real:
    """A small real run: every other pair assigned on calibration, with gold aspects for labels."""

    run: Run
    confirmed: np.ndarray

    def own(self, labels: Pair[np.ndarray]) -> dict[str, np.ndarray]:
        """The scores that assignment works with."""
        evidence = gather_evidence(self.run.active.calibration.rows[:, :EXEMPLARS], labels.calibration)
        pairs = self.run.neurons, self.run.columns
        return {"log_p": -log_p(evidence)[pairs], "composition": evidence.composition[pairs]}

    def held_out(self, labels: Pair[np.ndarray]) -> dict[str, np.ndarray]:
        found = self.run.measure(labels, repeats=1)
        return {name: found[name].to_numpy() for name in MEASURES}

    def raw_cosine(self, labels: Pair[np.ndarray]) -> dict[str, np.ndarray]:
        heard = self.run.active.validation
        values = heard.probe.astype(np.float64)[:, self.run.neurons]
        bears = labels.validation[heard.probe_rows][:, self.run.columns] == 1
        norms = np.sqrt((values**2).sum(0) * bears.sum(0))
        return {"raw_cosine": (values * bears).sum(0) / norms}

    def falls(self, score: Score, check: str) -> dict[str, np.ndarray]:
        """bool [pairs] of every score: whether it falls, in the mean of DRAWS draws of the damage (a single draw
        may by luck take away just the labels that fitted least)."""
        before = score(self.run.labels)
        total = {name: np.zeros(len(values)) for name, values in before.items()}
        for seed in range(DRAWS):
            generator = np.random.default_rng(seed)
            damaged = (CHECKS[check](split, generator) for split in self.run.labels)
            for name, values in score(Pair(*damaged)).items():
                total[name] += values
        return {name: total[name] / DRAWS < before[name] for name in before}


@pytest.fixture(scope="session")
def real(embedded_model: Path) -> Real:
    reviews = read_reviews(
        ROOT / "data/reviews.jsonl", text_field="text", id_field="review_id", product_field="product", limit=250
    )
    corpus = build_sentence_table(reviews, key="descry", validation=0.5)
    gold = [corpus.gold[side]["aspects"] for side in SPLITS]
    labels = Pair(*(gold_aspects.label_aspects(split, gold_aspects.list_aspects(*gold)) for split in gold))
    target = Target(embedded_model)
    texts = [corpus.sentences[side]["text"].tolist() for side in SPLITS]
    active = Pair(*(extract(target, split, np.arange(len(split)), top_k=EXEMPLARS) for split in texts))
    found = Pair(
        assign(gather_evidence(active.calibration.rows, labels.calibration), Rule()),
        assign(gather_evidence(active.validation.rows, labels.validation), Rule()),
    )
    neurons, columns = (where[::2] for where in np.nonzero(found.calibration.assigned))
    ids = corpus.sentences["validation"]["review_id"].tolist()
    confirmed = found.validation.log_p[neurons, columns] <= np.log(0.05)
    return Real(Run(neurons, columns, active, labels, ids), confirmed)


@pytest.mark.parametrize("check", CHECKS)
def test_the_ranking_score_falls_with_damaged_labels(real: Real, check: str) -> None:
    assert len(real.confirmed) > 300
    falls = real.falls(real.own, check)
    assert falls["log_p"].mean() >= 0.98


def test_the_checks_can_fail(real: Real) -> None:
    assert real.falls(real.own, "extra")["composition"].mean() < 0.02
    assert real.falls(real.raw_cosine, "missing")["raw_cosine"].mean() < 0.9


@pytest.mark.parametrize("check", CHECKS)
def test_passing_measures_fall_with_damaged_labels(real: Real, check: str) -> None:
    falls = real.falls(real.held_out, check)
    strong = real.held_out(real.run.labels)["pearson"] >= 0.4
    assert strong.sum() >= 20
    for name in MEASURES:
        assert falls[name][strong].mean() >= 0.98, name
    for name in PASSING:
        assert falls[name][real.confirmed].mean() >= 0.98, name
    if check == "extra":
        for name in set(MEASURES) - set(PASSING):
            assert falls[name][real.confirmed].mean() < 0.6, name
