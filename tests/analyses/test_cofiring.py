"""Co-firing of a descriptor's units: planted splits and absorptions are found, chance finds none."""

from math import comb

import numpy as np
import pandas as pd
import pytest

from descry.activations.record import Activations
from descry.analyses.cofiring import (
    FEW,
    MOST,
    PART,
    UNITS,
    DescriptorUnits,
    UnitPairs,
    analyse_cofiring,
    find_descriptor_units,
    pair_units,
    tabulate_exclusive,
)
from descry.assignment.evidence import Evidence
from descry.assignment.rules import Findings
from descry.evaluation.chance import Draws, tabulate_measures
from descry.schemas.relations import COFIRING_TABLE, EXCLUSIVE_TABLE
from descry.splits import Pair

ALPHA = 0.05
NAMES = ["split", "absorbed", "independent"]
SENTENCES = 200


def a_group(column: int, fires: np.ndarray, start: int = 0) -> DescriptorUnits:
    units = np.arange(start, start + fires.shape[1])
    return DescriptorUnits(column, len(units), units, fires)


def independent(seed: int, units: int = 6, share: float = 0.4) -> np.ndarray:
    return np.random.default_rng(seed).random((SENTENCES, units)) < share


def planted() -> list[DescriptorUnits]:
    """Units 0 and 1 tile the sentences of the first descriptor; of the second, 5 fires on all but those of 4; the
    others fire independently."""
    place = np.random.default_rng(0).permutation(SENTENCES)
    tiled = np.stack([place < 90, (place >= 90) & (place < 180), independent(1)[:, 0]], axis=1)
    taken = np.stack([independent(2)[:, 0], place < 30, (place >= 30) & (place < 190)], axis=1)
    return [a_group(0, tiled), a_group(1, taken, 3), a_group(2, independent(3), 6)]


def activations(units: int) -> Activations:
    """Units of two layers, their index counted from 0 in each; nothing else is known of them."""
    place = np.arange(units)
    nothing = np.zeros(0, np.float32)
    layer, index = (place % 2 + 1).astype(np.int16), (place // 2).astype(np.int32)
    return Activations(0, layer, index, *[nothing] * 8, pooling="mean")


def slow_p(sentences: int, one: int, other: int, both: int) -> float:
    """P(X <= both) by whole numbers alone."""
    ways = sum(comb(one, hits) * comb(sentences - one, other - hits) for hits in range(both + 1) if hits <= other)
    return ways / comb(sentences, other)


def test_p_is_the_lower_tail_of_the_hypergeometric() -> None:
    groups = [a_group(0, independent(seed, 9, share)) for seed, share in ((1, 0.05), (2, 0.5), (3, 0.95))]
    groups += [a_group(1, np.zeros((0, 3), bool)), a_group(1, np.ones((7, 2), bool))]
    pairs = pair_units(groups)
    expected = [slow_p(*counts) for counts in zip(*(getattr(pairs, name).tolist() for name in COUNTS), strict=True)]
    np.testing.assert_allclose(np.exp(pairs.log_p), expected, rtol=1e-9)


COUNTS = ("sentences", "fired_larger", "fired_smaller", "both")


def test_p_does_not_depend_on_how_many_are_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = pair_units(planted())
    whole = pairs.log_p
    monkeypatch.setattr("descry.analyses.cofiring.CHUNK", 7)
    np.testing.assert_array_equal(pairs.log_p, whole)


def test_pairs_are_counted_as_a_loop_counts_them() -> None:
    groups = planted()
    pairs = pair_units(groups)
    at = 0
    for group in groups:
        fires = dict(zip(group.units.tolist(), group.fires.T, strict=True))
        for one in range(len(group.units)):
            for other in range(one + 1, len(group.units)):
                ends = int(pairs.larger[at]), int(pairs.smaller[at])
                assert set(ends) == {int(group.units[one]), int(group.units[other])}
                larger, smaller = (fires[unit] for unit in ends)
                told = [int(getattr(pairs, name)[at]) for name in ("column", *COUNTS)]
                assert told == [group.column, SENTENCES, larger.sum(), smaller.sum(), (larger & smaller).sum()]
                assert larger.sum() >= smaller.sum()
                at += 1
    assert at == len(pairs.both)


def test_a_planted_split_and_a_planted_absorption_are_found_and_nothing_else() -> None:
    table = tabulate_exclusive(NAMES, planted(), activations(12), ALPHA)
    assert list(table) == list(EXCLUSIVE_TABLE.columns)
    assert table["descriptor"].tolist() == table["kind"].tolist() == ["split", "absorbed"]
    split, absorbed = table.to_dict("records")
    assert {(split["layer"], split["index"]), (split["other_layer"], split["other_index"])} == {(1, 0), (2, 0)}
    assert (absorbed["layer"], absorbed["index"]) == (2, 2)  # unit 5, that loses sentences
    assert (absorbed["other_layer"], absorbed["other_index"]) == (1, 2)  # unit 4, that takes them
    assert (absorbed["fired"], absorbed["other_fired"], absorbed["both"]) == (160, 30, 0)
    assert absorbed["p"] == pytest.approx(slow_p(SENTENCES, 160, 30, 0))
    assert (table["q"] >= table["p"]).all()


def test_the_table_of_descriptors_and_the_measures_agree_with_the_pairs() -> None:
    groups = planted()
    table, measures, chance = analyse_cofiring(NAMES, groups, ALPHA, Draws(30, 0))
    assert list(table) == list(COFIRING_TABLE.columns)
    assert table["descriptor"].tolist() == NAMES
    assert table["split"].tolist() == [1, 0, 0]
    assert table["absorbed"].tolist() == [0, 1, 0]
    assert (table["sentences"] == SENTENCES).all()
    pairs = pair_units(groups)
    for column, ratio in enumerate(table["ratio"]):
        own = pairs.column == column
        assert ratio == pytest.approx(pairs.both[own].sum() / pairs.expected[own].sum())
    told = measures["relations"]
    assert (told["split_pairs"], told["absorbed_pairs"]) == (1, 1)
    assert told["cofiring_ratio"] == pytest.approx(pairs.both.sum() / pairs.expected.sum())
    null = chance["permuted_firing"]
    assert null["relations.cofiring_ratio"].mean() == pytest.approx(1, abs=0.02)
    found = null["relations.split_pairs"] + null["relations.absorbed_pairs"]
    assert table["chance"].sum() == pytest.approx(found.mean())
    rows = tabulate_measures(measures, chance).set_index("measure")
    assert rows["adjusted"].isna().all()


def test_the_same_seed_gives_the_same_and_ratio_is_missing_where_nothing_is_expected() -> None:
    groups = [*planted()[:2], a_group(2, np.zeros((SENTENCES, 4), bool), 6)]
    first, second = (analyse_cofiring(NAMES, groups, ALPHA, Draws(4, 5)) for _ in range(2))
    pd.testing.assert_frame_equal(first[0], second[0])
    for name, values in first[2]["permuted_firing"].items():
        np.testing.assert_array_equal(values, second[2]["permuted_firing"][name])
    assert first[0]["ratio"].isna().tolist() == [False, False, True]
    assert first[0]["tested"].tolist()[2] == 0


def test_no_unit_at_all() -> None:
    table, measures, chance = analyse_cofiring(NAMES, [], ALPHA, Draws(2, 0))
    assert len(table) == len(tabulate_exclusive(NAMES, [], activations(0), ALPHA)) == 0
    assert measures["relations"] == {"cofiring_ratio": 0.0, "split_pairs": 0, "absorbed_pairs": 0}
    assert (chance["permuted_firing"]["relations.split_pairs"] == 0).all()


def test_independent_units_are_called_exclusive_in_at_most_alpha_of_the_runs() -> None:
    """With nothing to find, the share of runs that find anything is what the false discovery rate bounds."""
    shares = np.linspace(0.2, 0.8, 12)
    found = 0
    for seed in range(200):
        fires = np.random.default_rng(seed).random((60, 12)) < shares
        pairs = pair_units([a_group(0, fires)])
        assert (pairs.splittable | pairs.absorbable).sum() > 20
        found += (pairs.log_q <= np.log(ALPHA)).any()
    assert found <= 200 * ALPHA + 2 * np.sqrt(200 * ALPHA * (1 - ALPHA))


def test_one_test_alone_is_as_rare_as_its_p_says() -> None:
    fires = np.random.default_rng(7).random((4000, 60, 2)) < 0.5
    pairs = pair_units([a_group(0, one) for one in fires])
    for level in (0.01, 0.05, 0.2):
        assert level / 5 < (np.exp(pairs.log_p) <= level).mean() <= level + 3 * np.sqrt(level / 4000)


def test_units_that_fire_together_are_neither() -> None:
    one = independent(4)[:, :1]
    pairs = pair_units([a_group(0, np.repeat(one, 4, axis=1))])
    assert not pairs.exclude(ALPHA).any()
    assert (pairs.log_p == 0).all()


def test_kinds_follow_from_how_often_each_fires_and_never_overlap() -> None:
    counts = np.array(np.meshgrid(np.arange(21), np.arange(21))).reshape(2, -1)
    larger, smaller = counts.max(axis=0), counts.min(axis=0)
    fixed = np.zeros(len(larger), np.int64)
    pairs = UnitPairs(fixed, fixed, fixed, fixed + 20, larger, smaller, fixed)
    for big, small, absorbable, splittable in zip(larger, smaller, pairs.absorbable, pairs.splittable, strict=True):
        assert absorbable == (big / 20 >= MOST and 0 < small <= FEW * big)
        assert splittable == (small / 20 >= PART and not absorbable)


def simulated(latents: bool) -> tuple[Findings, Pair[Activations], Pair[np.ndarray]]:
    """Both splits of units of which the first two tile the sentences of descriptor 0, which bears a third of all; as a
    dictionary's latents, silent at 0, or as neurons, never silent."""
    generator = np.random.default_rng(5)
    records, labels = [], []
    for _ in range(2):
        own = (generator.random((600, 2)) < (0.33, 0.5)).astype(np.int8)
        own[generator.random(own.shape) < 0.02] = -1
        half = generator.random(600) < 0.5
        values = np.stack([(own[:, 0] == 1) & half, (own[:, 0] == 1) & ~half, own[:, 1] == 1], axis=1) * 5.0
        values *= generator.uniform(0.5, 1, values.shape)
        values += 0 if latents else 0.1 * generator.normal(size=values.shape)
        rows = np.flatnonzero(generator.random(600) < 0.9)
        nothing, place = np.zeros(0, np.float32), np.arange(3)
        kept = (place.astype(np.int16), place.astype(np.int32), *[nothing] * 6)
        records.append(Activations(600, *kept, rows.astype(np.int32), values[rows].astype(np.float16), "mean"))
        labels.append(own)
    strength = np.array([[9.0, 1.0], [8.0, 7.0], [5.0, 6.0]])
    count = np.zeros((3, 2), np.int32)
    evidence = Evidence(count, count, count[0], count[0])
    found = Findings(evidence, -strength, -strength, strength, np.array([[True, True], [True, True], [True, True]]))
    return found, Pair(*records), Pair(*labels)


@pytest.mark.parametrize("latents", [True, False])
def test_a_split_is_found_from_probes_and_labels(latents: bool) -> None:
    found, active, labels = simulated(latents)
    groups = find_descriptor_units(found, active, labels)
    assert [(group.column, group.units.tolist(), group.count) for group in groups] == [(0, [0, 1], 2), (1, [2], 1)]
    for group in groups:
        assert len(group.fires) == (labels.validation[active.validation.probe_rows, group.column] == 1).sum()
    if latents:
        here = labels.validation[active.validation.probe_rows, 0] == 1
        assert (groups[0].fires == (active.validation.probe[here][:, :2] > 0)).all()
    table, _, _ = analyse_cofiring(["a", "b"], groups, ALPHA, Draws(3, 0))
    assert table["split"].tolist() == [1, 0]
    exclusive = tabulate_exclusive(["a", "b"], groups, active.calibration, ALPHA)
    assert exclusive[["descriptor", "kind"]].to_numpy().tolist() == [["a", "split"]]


def test_the_strongest_units_are_compared_at_most() -> None:
    found, active, labels = simulated(latents=True)
    many = 3 * UNITS
    wide = active.map(lambda split: Activations(**(vars(split) | {"probe": np.tile(split.probe[:, :1], (1, many))})))
    strength = np.random.default_rng(0).permutation(np.arange(1.0, many + 1))[:, None] * [1.0, 0.0]
    assigned = strength > 0
    assigned[strength[:, 0] == many] = False
    count = np.zeros((many, 2), np.int32)
    evidence = Evidence(count, count, count[0], count[0])
    (group,) = find_descriptor_units(Findings(evidence, -strength, -strength, strength, assigned), wide, labels)
    assert group.count == many - 1
    assert strength[group.units, 0].tolist() == list(range(many - 1, many - 1 - UNITS, -1))
    assert group.fires.shape[1] == UNITS
    assert found.described.all()
