"""The study of neurons switched off: a made-up model whose neurons carry descriptors, or carry nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from descry.ablation import study as study_module
from descry.ablation.effects import LinearProbe
from descry.ablation.study import LEAST, AblationStudy, Sample, Words, measure_ablation, select_strongest
from descry.ablation.words import Occurrence
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import Findings, Rule, assign
from descry.schemas.ablate import ABLATION_TABLE

NAMES = ["carried", "idle", "also carried"]
NEURONS, SENTENCES = 90, 600
OPTIONS = {"neurons": 25, "draws": 2, "seed": 0}


class Made:
    """Neurons that fire on a descriptor each (30 on each of three); the representation holds what those of the first
    and the third say, and nothing of the second's: that is said by dimensions of their own."""

    def __init__(self) -> None:
        generator = np.random.default_rng(0)
        self.labels = (generator.random((SENTENCES, 3)) < 0.25).astype(np.int8)
        self.fired = generator.normal(size=(SENTENCES, NEURONS)) + 2.0 * self.labels[:, np.arange(NEURONS) // 30]
        self.out = generator.normal(size=(NEURONS, 12)) * (np.arange(NEURONS) // 30 != 1)[:, None]
        self.beside = np.column_stack([self.labels[:, 1] + 0.5 * generator.normal(size=SENTENCES)] * 3)
        self.values = self.fired.mean(0).astype(np.float32)
        self.calls: list[int] = []

    def represent(self, target: Any, texts: Sequence[str], *, off: Any = None, **options: Any) -> np.ndarray:
        rows = np.array([int(text) for text in texts])
        fired = self.fired[rows].copy()
        if off is not None:
            fired[:, off[0]] = off[1]
            self.calls.append(len(off[0]))
        return np.column_stack([fired @ self.out, self.beside[rows]]).astype(np.float32)

    def findings(self) -> Findings:
        exemplars = np.argsort(-self.fired[:300], axis=0)[:40].T
        return assign(gather_evidence(exemplars, self.labels[:300]), Rule(alpha=1e-4))

    def study(self, words: Words | None = None) -> AblationStudy:
        reviews = [str(row // 2) for row in range(300)]
        order = np.random.default_rng(1).permutation(300)
        sample = Sample.of(order, self.labels[300:], reviews, 120, 60)
        return AblationStudy(
            target=None,  # type: ignore[arg-type]
            values=self.values,
            found=self.findings(),
            layer=np.tile([1, 2], NEURONS // 2),
            probe=LinearProbe.of(self.represent(None, list(map(str, range(300)))), self.labels[:300]),
            sample=sample,
            texts=[str(300 + row) for row in sample.rows],
            words=words,
            pooling="mean",
            batch_tokens=10,
        )


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    made = Made()
    monkeypatch.setattr(study_module, "represent", made.represent)
    return made


def test_what_neurons_carry_is_lost_with_them_and_what_they_do_not_is_not(made: Made) -> None:
    study = made.study()
    table = study.table(NAMES, **OPTIONS).set_index("descriptor")
    assert (table["neurons"] == 25).all()
    assert (table["assigned"] >= 28).all()
    assert set(made.calls) == {25}
    for name in ("carried", "also carried"):
        assert table.loc[name, "own"] > 0.1
        assert table.loc[name, "above_low"] > 0
        assert table.loc[name, "separation_own"] > 0.5
        assert table.loc[name, "separation_above_low"] > 0
    assert table.loc["idle", "own"] == table.loc["idle", "separation_own"] == 0
    assert table.loc["idle", "auroc"] > 0.85
    here = study.sample.select(0)
    before = study.scores(here)[:, 0]
    assert table.loc["carried", "auroc"] == pytest.approx(roc_auc_score(study.sample.labels[here, 0], before))


def test_the_table_is_the_same_whatever_is_drawn_for_other_descriptors(made: Made) -> None:
    study = made.study()
    whole = study.table(NAMES, **OPTIONS)
    fewer = study.found.assigned.copy()
    fewer[:, 0] = False
    study.found.assigned[:] = fewer
    rest = study.table(NAMES, **OPTIONS)
    assert rest["descriptor"].tolist() == NAMES[1:]
    assert rest["own"].tolist() == whole["own"].tolist()[1:]


def test_the_sample_is_what_was_drawn_and_the_first_that_bear_each_descriptor() -> None:
    labels = np.zeros((50, 2), np.int8)
    labels[[1, 5, 9, 30, 31, 32], 0] = 1
    order = np.random.default_rng(0).permutation(50)
    reviews = [f"review {row // 3}" for row in range(50)]
    found = Sample.of(order, labels, reviews, 10, 4)
    bearing = [row for row in order if labels[row, 0] == 1][:4]
    assert found.rows.tolist() == sorted({*order[:10].tolist(), *bearing})
    assert found.rows[found.common].tolist() == sorted(order[:10].tolist())
    assert (found.labels == labels[found.rows]).all()
    assert len(set(zip(found.review, [reviews[row] for row in found.rows], strict=True))) == found.review.max() + 1
    around = found.rows[found.select(0)]
    assert set(around) == set(order[:10]) | {row for row in found.rows if labels[row, 0] == 1}


def test_the_strongest_neurons_are_those_of_the_lowest_p(made: Made) -> None:
    found = made.findings()
    own = np.flatnonzero(found.assigned[:, 0])
    expected = sorted(sorted(own, key=lambda neuron: (found.log_p[neuron, 0], neuron))[:7])
    assert select_strongest(found, 0, 7).tolist() == expected
    assert select_strongest(found, 0, 1000).tolist() == own.tolist()


def test_words_are_asked_for_with_the_same_neurons_off(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [Occurrence(row, row % 3, [], [], [], []) for row in range(60)]
    before = np.random.default_rng(2).normal(-3, 1, 60)
    asked: list[list[Occurrence]] = []

    def expected(target: Any, found: Any, *, off: tuple[np.ndarray, np.ndarray], **options: Any) -> np.ndarray:
        asked.append(found)
        share = [(off[0] // 30 == place.column).mean() for place in found]  # of what is off, this column's own
        return before[[place.text for place in found]] - 2.0 * np.array(share)

    monkeypatch.setattr(study_module, "measure_log_probabilities", expected)
    words = Words(None, places, before, np.arange(60) // 2)  # type: ignore[arg-type]
    study = made.study(words)
    table = study.table(NAMES, **OPTIONS)
    assert table["words"].tolist() == [20, 20, 20]
    for column in range(3):  # its own words, and the others' in common sentences
        here = [place for place in places if place.column == column or study.sample.common[place.text]]
        assert 20 < len(here) < 60
        assert here in asked
    assert (table["word_own"] > 1.5).all()
    assert (table["word_random_own"] < 0.3).all()
    assert (table["word_above_low"] > 1).all()
    told, chance = measure_ablation(table, seed=0)
    assert told["ablation"]["word_share_specific"] == told["ablation"]["word_share_clear"] == 1
    assert chance["random_neurons"]["ablation.word_own_loss"] == table["word_random_own"].mean()


def a_table(**columns: Any) -> pd.DataFrame:
    size = len(columns["above"])
    rows = {name: np.full(size, np.nan) for name in ABLATION_TABLE.columns}
    return pd.DataFrame(rows | {"descriptor": [str(row) for row in range(size)]} | columns)


def test_shares_are_of_the_descriptors_with_enough_neurons() -> None:
    table = a_table(
        assigned=[LEAST, LEAST - 1, 50, 60, 70],
        above=[0.1, -5, -0.2, 0.3, np.nan],
        above_low=[0.05, -6, -0.4, -0.1, np.nan],
        own=[0.2, 9, 0.1, 0.3, np.nan],
        random_own=[0.1, 9, 0.0, 0.2, np.nan],
        specificity=[0.1, 9, 0.1, 0.1, np.nan],
        random=[0.0, 9, 0.3, 0.0, np.nan],
    )
    told, chance = measure_ablation(table, seed=0)
    assert told["ablation"] == pytest.approx(
        {"share_specific": 2 / 3, "share_clear": 1 / 3, "own_loss": 0.2, "specificity": 0.1}
    )
    drawn = chance["exchangeable_sets"]
    assert drawn["ablation.share_specific"].mean() == pytest.approx(0.5, abs=0.03)
    assert drawn["ablation.share_clear"].mean() == pytest.approx(0.025, abs=0.01)
    assert chance["random_neurons"] == {
        "ablation.own_loss": pytest.approx(0.1),
        "ablation.specificity": pytest.approx(0.1),
    }


def test_without_any_descriptor_there_is_nothing_to_say(made: Made) -> None:
    study = made.study()
    study.found.assigned[:] = False
    table = study.table(NAMES, **OPTIONS)
    assert table.empty
    assert list(table) == list(ABLATION_TABLE.columns)
    assert measure_ablation(table, seed=0) == ({"ablation": {}}, {"exchangeable_sets": {}, "random_neurons": {}})
