"""The measures of judged descriptions say what `summarise` says, in the registry's names."""

import pandas as pd
import pytest

from descry.judging.judge import judge, summarise
from descry.judging.measures import NULLS, tabulate_judged
from descry.judging.scores import OTHERS, SCORES
from descry.report.measures import collect_scores, group_scores
from descry.results.measures import find_measure, is_registered
from descry.schemas.judge import JUDGED_TABLE
from tests.judging.test_judge import FIT, build_world, describe, list_units


@pytest.mark.parametrize("whose", ["given", "written"])
def test_measures_are_those_of_the_summary(whose: str) -> None:
    world = build_world(5)
    texts = [f"w{unit} w{(7 * unit) % 120}" for unit in world.index]
    table = judge(describe(list_units(world), texts), world, FIT)
    assert {"whose", *table.columns} == set(JUDGED_TABLE.columns)
    summary, found = summarise(table), tabulate_judged(table, whose)
    assert all(map(is_registered, found["measure"]))
    rows = found.set_index(["measure", "null"])
    for name in SCORES:
        measure = f"judge.{whose}.{name}"
        swapped = rows.loc[measure, find_measure(measure).chance]
        score = summary[name]
        assert swapped["value"] == pytest.approx(score["own"])
        assert swapped["low"] == pytest.approx(score["own"] - score["high"])
        assert swapped["high"] == pytest.approx(score["own"] - score["low"])
        assert swapped["chance"] == pytest.approx(score["swapped"], abs=0.003)  # 1,000 bootstrap samples
        beside = rows.loc[measure, "random_sentences"]
        assert beside["low"] <= score["random"] <= beside["high"]
    first = rows.loc[f"judge.{whose}.first_of_100", "swapped_descriptions"]
    assert (first["value"], first["chance"]) == (pytest.approx(summary["first_of_100"]), pytest.approx(0.01))
    assert rows.loc[f"judge.{whose}.units", ""]["value"] == summary["units"]
    correlation = rows.loc[f"judge.{whose}.true_swapped_correlation", ""]["value"]
    assert correlation == pytest.approx(summary["auroc"]["true_swapped_correlation"])


def test_a_table_of_scores_has_every_score() -> None:
    assert {column for columns in OTHERS.values() for column in columns} <= set(JUDGED_TABLE.columns)


def test_the_page_shows_them_beside_their_chance() -> None:
    world = build_world(6, width=10)
    table = judge(describe(list_units(world), [f"w{unit}" for unit in world.index]), world, FIT)
    both = pd.concat([tabulate_judged(table, whose) for whose in ("given", "written")])
    [block] = group_scores(collect_scores(both, {}))
    assert block.title.startswith("Descriptions in free text")
    assert set(block.nulls) == set(NULLS)
    assert len(block.rows) == 2 * (len(SCORES) + 2)  # no layer has 100 units, so that none is first among them
    assert all(row.title for row in block.rows)
    assert all(row.chance is not None for row in block.rows if row.name.rpartition(".")[2] in SCORES)
