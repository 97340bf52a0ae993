from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import chisquare

from descry.activations.record import Activations
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import Rule, assign, assign_splits
from descry.evaluation import nulls
from descry.evaluation.chance import Draws, adjust, repeat, tabulate_measures
from descry.evaluation.measures import Reference, measure_consistency
from descry.splits import Pair

RULE = Rule(min_lift=1.0, min_count=1)


def labels(seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).random((500, 8)) < np.linspace(0.4, 0.03, 8)).astype(np.int8)


@pytest.mark.parametrize(("population", "k"), [(10, 10), (10, 1), (12, 5), (100_000, 40)])
def test_random_subsets_are_subsets(population: int, k: int) -> None:
    rows = nulls.draw_subsets(np.random.default_rng(0), 300, population, k)
    assert rows.shape == (300, k)
    assert rows.min() >= 0
    assert rows.max() < population
    assert all(len(set(row)) == k for row in rows.tolist())


def test_random_subsets_are_uniform() -> None:
    rows = nulls.draw_subsets(np.random.default_rng(1), 30_000, 6, 3)
    _, times = np.unique(np.sort(rows, axis=1), axis=0, return_counts=True)
    assert len(times) == 20  # every 3-subset of 6
    assert chisquare(times).pvalue > 1e-3


def activations(exemplars: np.ndarray) -> Activations:
    neurons = len(exemplars)
    return Activations(
        count=500,
        layer=np.sort(np.arange(neurons) % 3 + 1),
        index=np.arange(neurons),
        values=np.ones(exemplars.shape, np.float32),
        rows=exemplars.astype(np.int32),
        beyond=np.zeros(neurons, np.float32),
        mean=np.zeros(neurons, np.float32),
        std=np.ones(neurons, np.float32),
        maximum=np.ones(neurons, np.float32),
        probe_rows=np.zeros(0, np.int32),
        probe=np.zeros((0, neurons), np.float16),
        pooling="mean",
    )


def knowing(split: np.ndarray, seed: int, neurons: int = 240, k: int = 12) -> np.ndarray:
    """Exemplars of neurons that fire on one descriptor's sentences alone."""
    generator = np.random.default_rng(seed)
    bearing = [np.flatnonzero(column) for column in split.T]
    return np.stack([generator.choice(bearing[n % len(bearing)], k, replace=False) for n in range(neurons)])


def test_random_exemplars_are_as_many_as_those_of_each_neuron() -> None:
    generator = np.random.default_rng(5)
    sizes = Pair(np.arange(301) % 13, np.arange(301) % 7)
    sets = sizes.map(lambda size: np.where(np.arange(12) < size[:, None], np.arange(12), -1))
    everything = Pair(np.ones((40, 1), np.int8), np.ones((30, 1), np.int8))
    found = nulls.draw_random_exemplars(sets, everything, RULE, generator)
    for split, size in zip(found, sizes, strict=True):
        np.testing.assert_array_equal(split.evidence.counts[:, 0], size)
    marked = Pair(np.eye(40, dtype=np.int8), np.eye(30, dtype=np.int8))
    drawn = nulls.draw_random_exemplars(sets, marked, RULE, generator)
    for split, size in zip(drawn, sizes, strict=True):  # every sentence as often as any other
        times = split.evidence.counts.sum(axis=0)
        assert times.sum() == size.sum()
        assert chisquare(times).pvalue > 1e-3


def test_random_exemplars_find_no_more_than_alpha_allows() -> None:
    pair = Pair(labels(1), labels(2))
    sets = Pair(np.zeros((2000, 50), int), np.zeros((2000, 50), int))
    found = nulls.draw_random_exemplars(sets, pair, RULE, np.random.default_rng(3))
    assert found.calibration.assigned.sum() <= 3
    assert (found.calibration.log_p <= np.log(0.05)).mean() <= 0.055


def test_reviews_change_places_whole() -> None:
    reviews = ["a", "a", "a", "b", "c", "c", "d", "d", "d", "d"]
    orders = [nulls.shuffle_reviews(reviews, np.random.default_rng(seed)) for seed in range(50)]
    for order in orders:
        assert sorted(order) == list(range(10))
        for start, stop in ((0, 3), (4, 6), (6, 10)):
            at = np.flatnonzero(order == start)[0]
            assert order[at : at + stop - start].tolist() == list(range(start, stop))
    assert len({tuple(order) for order in orders}) > 15


def test_shuffled_labels_keep_their_company_and_lose_their_neurons() -> None:
    split = labels(1)
    reviews = [str(row // 5) for row in range(500)]
    sets = Pair(knowing(split, 0), knowing(split, 1))
    pair, ids = Pair(split, split), Pair(reviews, reviews)
    real = assign_splits(sets, pair, RULE)
    found = assign_splits(sets, nulls.draw_move(ids, np.random.default_rng(2))(pair), RULE)
    np.testing.assert_array_equal(found.calibration.evidence.positives, real.calibration.evidence.positives)
    assert real.calibration.assigned.sum() >= 230
    assert found.calibration.assigned.sum() <= 2


def test_false_pairs_are_counted_at_the_threshold_of_the_findings() -> None:
    """Where half of the neurons know and half do not, the null passes as often as p does under chance."""
    split = labels(1)
    generator = np.random.default_rng(5)
    ignorant = nulls.draw_subsets(generator, 4000, 500, 12)
    sets = np.concatenate([knowing(split, 0, neurons=4000), ignorant])
    found = assign(gather_evidence(sets, split), RULE)
    threshold = found.log_p[found.assigned].max()
    shuffled = [assign(gather_evidence(sets, split[generator.permutation(500)]), RULE) for _ in range(5)]
    false, _ = nulls.measure_attained_error(found, iter(shuffled), RULE)
    assert false.tolist() == [(one.log_p <= threshold).sum() for one in shuffled]
    assert 0 < np.mean(false) / found.assigned.sum() <= 0.05
    assert found.assigned[4000:].sum() <= np.mean(false)
    composed = assign(found.evidence, Rule("composition", tau=0.2))
    by_chance = [assign(one.evidence, Rule("composition", tau=0.2)) for one in shuffled]
    counted, none = nulls.measure_attained_error(composed, by_chance, replace(RULE, name="composition"))
    assert none == 0.0
    assert counted.tolist() == [one.assigned.sum() for one in by_chance]


def test_the_calibrated_alpha_attains_alpha() -> None:
    split = labels(1)
    generator = np.random.default_rng(6)
    sets = np.concatenate([knowing(split, 0, neurons=600), nulls.draw_subsets(generator, 3000, 500, 12)])
    found = assign(gather_evidence(sets, split), RULE)
    shuffled = [assign(gather_evidence(sets, split[generator.permutation(500)]), RULE) for _ in range(20)]
    _, alpha = nulls.measure_attained_error(found, shuffled, RULE)
    assert alpha > RULE.alpha  # whole numbers make Benjamini-Hochberg careful
    again = assign(gather_evidence(sets, split), replace(RULE, alpha=alpha))
    attained = nulls.measure_attained_error(again, shuffled, RULE)[0].mean() / again.assigned.sum()
    assert 0.03 < attained <= 0.05 + 1e-9
    assert again.assigned.sum() > found.assigned.sum()
    nothing = assign(gather_evidence(sets[600:], split), RULE)
    assert nulls.measure_attained_error(nothing, [nothing], replace(RULE, min_lift=1e9))[1] == 0.0


def test_p_values_are_flat_under_shuffled_labels_and_not_where_neurons_know() -> None:
    split = labels(1)
    reviews = [str(row // 5) for row in range(500)]
    sets = np.concatenate([knowing(split, 0), nulls.draw_subsets(np.random.default_rng(1), 200, 500, 12)])
    found = nulls.tabulate_p_values(sets, split, reviews, Draws(40, 0))
    shares = {name: part["share"].to_numpy() for name, part in found.groupby("labels")}
    assert shares["shuffled_labels"].sum() == pytest.approx(1.0)
    np.testing.assert_allclose(shares["shuffled_labels"], 0.05, atol=0.006)
    assert shares["observed"][0] > 0.1


def test_permuted_neurons_keep_every_count_and_lose_the_agreement() -> None:
    split = labels(1)
    one = assign(gather_evidence(knowing(split, 4, neurons=160), split), RULE)
    assert measure_consistency(Pair(one, one))["jaccard"] == 1.0
    shuffled = nulls.permute_neurons(Pair(one, one), np.random.default_rng(4))
    np.testing.assert_array_equal(np.sort(shuffled.validation.assigned.sum(1)), np.sort(one.assigned.sum(1)))
    np.testing.assert_array_equal(shuffled.validation.assigned.sum(0), one.assigned.sum(0))
    np.testing.assert_allclose(shuffled.validation.evidence.lift.sum(), one.evidence.lift.sum())
    assert measure_consistency(shuffled)["jaccard"] < 0.35


def test_neurons_are_resampled_within_their_layers() -> None:
    layer = np.repeat([1, 2, 5], [30, 10, 60])
    generator = np.random.default_rng(0)
    draws = np.stack([nulls.resample_neurons(layer, layer, generator) for _ in range(400)])
    assert (layer[draws] == layer).all()
    times = np.bincount(draws.ravel(), minlength=100)
    assert chisquare(times[:30]).pvalue > 1e-3
    assert chisquare(times[40:]).pvalue > 1e-3
    assert len(set(draws[0].tolist())) < 100
    like = np.repeat([1, 2, 5], [5, 40, 60])
    assert (layer[nulls.resample_neurons(layer, like, generator)] == like).all()


def test_what_knows_stands_above_every_null_and_a_control_that_knows_as_much_does_not() -> None:
    split = labels(1)
    pair, reviews = Pair(split, split), Pair(*([str(row // 5) for row in range(500)] for _ in range(2)))
    knows = Pair(activations(knowing(split, 0)), activations(knowing(split, 1)))
    random = nulls.draw_subsets(np.random.default_rng(2), 480, 500, 12)
    knows_not = Pair(activations(random[:240]), activations(random[240:]))
    found, measures, chance = nulls.measure_beside_chance(
        knows,
        {"ignorant": lambda: knows_not, "twin": lambda: knows},
        pair,
        reviews,
        lambda _: lambda drawn, *_: {"jaccard": measure_consistency(drawn)["jaccard"]},
        rule=replace(RULE, exemplars=12),
        draws=Draws(6, 0),
    )
    assert measures == {"jaccard": measure_consistency(found)["jaccard"]}
    assert set(chance) == {"random_exemplars", "shuffled_labels", "ignorant", "twin"}
    assert all(runs["jaccard"].shape == (6,) for runs in chance.values())
    for null in ("random_exemplars", "shuffled_labels", "ignorant"):
        assert chance[null]["jaccard"].max() < 0.2 < measures["jaccard"]
    assert chance["twin"]["jaccard"].mean() == pytest.approx(measures["jaccard"], abs=0.05)


def test_a_table_beside_chance() -> None:
    measures = {"a": {"score": 0.6, "ceiling_score": 1.0, "coverage": 0.5}, "found": 40, "alone": 0.3}
    runs = np.linspace(0.0, 0.4, 21)
    chance = {
        "one": {"a.score": runs, "a.ceiling_score": runs, "a.coverage": runs, "found": runs * 10},
        "two": {"a.score": np.array([0.6])},
    }
    table = tabulate_measures(measures, chance).set_index(["measure", "null"])
    row = table.loc["a.score", "one"]
    assert (row["value"], row["repeats"]) == (0.6, 21)
    assert row[["chance", "low", "high", "adjusted"]].tolist() == pytest.approx([0.2, 0.01, 0.39, 0.5])
    assert table.loc["a.score", "two"]["adjusted"] == 0.0
    assert np.isnan(table.loc["a.coverage", "one"]["adjusted"])
    assert np.isnan(table.loc["found", "one"]["adjusted"])
    assert table.loc["found", "one"]["chance"] == pytest.approx(2.0)
    assert table.loc["alone", ""]["repeats"] == 0
    assert ("a.ceiling_score", "one") not in table.index


def test_most_common_names_the_same_for_all() -> None:
    split = labels(1)
    found = assign(gather_evidence(np.arange(200).reshape(10, 20), split), RULE)
    measures = nulls.measure_most_common(Pair(found, found), {"labels": Reference(split)}, [1])
    top = split.mean(0).argmax()
    bears_any = split.any(1)
    assert measures["sentence"]["labels"]["precision_at_1"] == pytest.approx(split[bears_any, top].mean())


def test_repeats_are_independent_and_the_same_every_time() -> None:
    def measure(generator: np.random.Generator) -> dict[str, dict[str, float]]:
        return {"a": {"b": float(generator.random())}}

    once, again = (repeat(measure, Draws(5, 9)) for _ in range(2))
    assert once["a.b"].tolist() == again["a.b"].tolist()
    assert len(set(once["a.b"].tolist())) == 5
    assert once["a.b"].dtype == np.float64
    assert repeat(measure, Draws(5, 8))["a.b"].tolist() != once["a.b"].tolist()


def test_adjusted_is_zero_at_chance_and_one_at_perfection() -> None:
    assert adjust(0.3, 0.3) == 0.0
    assert adjust(1.0, 0.3) == 1.0
    assert adjust(0.1, 0.2) == pytest.approx(-0.125)
    assert adjust(1.0, 1.0) == 0.0
