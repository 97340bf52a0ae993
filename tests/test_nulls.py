import numpy as np
import pytest
from scipy.stats import chisquare

from descry import nulls
from descry.assignment import assign, gather
from descry.evaluation import Pair, Reference, consistency_measures

RULE = {"rule": "enrichment", "alpha": 0.05, "min_lift": 1.0, "min_count": 1, "tau": 0.3}


def labels(seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random((500, 8)) < np.linspace(0.4, 0.03, 8)).astype(np.int8)


@pytest.mark.parametrize(("population", "k"), [(10, 10), (10, 1), (12, 5), (100_000, 40)])
def test_random_subsets_are_subsets(population: int, k: int) -> None:
    rows = nulls.random_subsets(np.random.default_rng(0), 300, population, k)
    assert rows.shape == (300, k)
    assert rows.min() >= 0
    assert rows.max() < population
    assert all(len(set(row)) == k for row in rows.tolist())


def test_random_subsets_are_uniform() -> None:
    rows = nulls.random_subsets(np.random.default_rng(1), 30_000, 6, 3)
    _, times = np.unique(np.sort(rows, axis=1), axis=0, return_counts=True)
    assert len(times) == 20  # every 3-subset of 6
    assert chisquare(times).pvalue > 1e-3


def test_random_exemplars_find_no_more_than_alpha_allows() -> None:
    pair = Pair(labels(1), labels(2))
    found = nulls.random_exemplars(pair, 2000, 50, RULE, np.random.default_rng(3))
    assert found.calibration.assigned.sum() <= 3
    assert (found.calibration.log_p <= np.log(0.05)).mean() <= 0.055


def test_permuted_neurons_keep_every_count_and_lose_the_agreement() -> None:
    generator = np.random.default_rng(4)
    split = labels(1)
    rows = np.stack([generator.choice(np.flatnonzero(split[:, n % 8]), 12) for n in range(160)])
    one = assign(gather(rows, split), **RULE)
    assert consistency_measures(Pair(one, one))["jaccard"] == 1.0
    shuffled = nulls.permuted_neurons(Pair(one, one), generator)
    np.testing.assert_array_equal(np.sort(shuffled.validation.assigned.sum(1)), np.sort(one.assigned.sum(1)))
    np.testing.assert_array_equal(shuffled.validation.assigned.sum(0), one.assigned.sum(0))
    np.testing.assert_allclose(shuffled.validation.evidence.lift.sum(), one.evidence.lift.sum())
    assert consistency_measures(shuffled)["jaccard"] < 0.35


def test_most_common_names_the_same_for_all() -> None:
    split = labels(1)
    found = assign(gather(np.arange(200).reshape(10, 20), split), **RULE)
    measures = nulls.most_common(Pair(found, found), {"labels": Reference(split)}, [1])
    top = split.mean(0).argmax()
    bears_any = split.any(1)
    assert measures["sentence"]["labels"]["precision_at_1"] == pytest.approx(split[bears_any, top].mean())


def test_repeats_are_independent_and_the_same_every_time() -> None:
    def measure(generator: np.random.Generator) -> dict[str, dict[str, float]]:
        return {"a": {"b": float(generator.random())}}

    once, again = (nulls.repeated(measure, repeats=5, seed=9) for _ in range(2))
    assert once["a.b"].tolist() == again["a.b"].tolist()
    assert len(set(once["a.b"].tolist())) == 5
    assert nulls.means(once) == {"a.b": pytest.approx(once["a.b"].mean())}
    assert nulls.repeated(measure, repeats=5, seed=8)["a.b"].tolist() != once["a.b"].tolist()


def test_adjusted_is_zero_at_chance_and_one_at_perfection() -> None:
    assert nulls.adjusted(0.3, 0.3) == 0.0
    assert nulls.adjusted(1.0, 0.3) == 1.0
    assert nulls.adjusted(0.1, 0.2) == pytest.approx(-0.125)
    assert nulls.adjusted(1.0, 1.0) == 0.0
