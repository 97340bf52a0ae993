"""Another corpus: planted pairs are found again, others as often as chance has it; and with real corpora."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import hypergeom

from descry.activations.record import Activations
from descry.analyses.transfer import (
    OtherCorpus,
    TriedPairs,
    find_references,
    measure_transfer,
    tabulate_descriptors,
    tabulate_pairs,
)
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import Findings, Rule, assign
from descry.evaluation.chance import Draws
from descry.evaluation.voting import fit_electorate, measure_firing

NAMES = ["one", "two", "three", "four"]
NEURONS, EXEMPLARS = 120, 40
RULE = Rule()


def a_corpus(seed: int, sentences: int, *, knows: float = 1.0, gold: str = "") -> OtherCorpus:
    """Sentences on which every neuron fires on the descriptor of its number, and a share of them really does; gold:
    how the aspects of the descriptors are called, "" for none."""
    generator = np.random.default_rng(seed)
    labels = (generator.random((sentences, 4)) < 0.25).astype(np.int8)
    own = np.arange(NEURONS) % 4
    knowing = np.arange(NEURONS) < knows * NEURONS
    values = generator.normal(size=(sentences, NEURONS)) + 2.5 * labels[:, own] * knowing
    rows = np.argsort(-values, axis=0, kind="stable")[: 2 * EXEMPLARS].T.astype(np.int32)
    probe_rows = np.arange(0, sentences, 2).astype(np.int32)
    active = Activations(
        count=sentences,
        layer=np.repeat([1, 2], NEURONS // 2).astype(np.int16),
        index=np.tile(np.arange(NEURONS // 2), 2).astype(np.int32),
        values=np.take_along_axis(values.T, rows, 1).astype(np.float32),
        rows=rows,
        beyond=np.sort(values, axis=0)[-2 * EXEMPLARS - 1].astype(np.float32),
        mean=values.mean(0).astype(np.float32),
        std=values.std(0).astype(np.float32),
        maximum=values.max(0).astype(np.float32),
        probe_rows=probe_rows,
        probe=values[probe_rows].astype(np.float16),
        pooling="mean",
    )
    reviews = [f"{seed}-{row // 3}" for row in range(sentences)]
    aspects = [
        [f"{gold}{name}" for name, label in zip(NAMES, row, strict=True) if label] if gold else None for row in labels
    ]
    scores = (labels + 0.3 * generator.normal(size=labels.shape)).astype(np.float32)
    return OtherCorpus(active, labels, scores, reviews, aspects)


def tried(there: OtherCorpus, here: OtherCorpus) -> tuple[TriedPairs, Findings]:
    found = assign(gather_evidence(here.active.exemplars(EXEMPLARS), here.labels), RULE)
    return TriedPairs.of(found, there, EXEMPLARS), found


def vote(there: OtherCorpus, here: OtherCorpus, found: Findings) -> np.ndarray:
    electorate = fit_electorate(here.active, found, here.labels, here.reviews)
    return electorate.probabilities(measure_firing(there.active, here.active))


def measured(there: OtherCorpus, here: OtherCorpus) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    both, found = tried(there, here)
    known = find_references(there, here.gold, here.scores)
    own, chance = measure_transfer(both, there, vote(there, here, found), found, known, Draws(20, 0))
    return dict(own["transfer"]), chance


def test_what_is_there_is_found_again_and_the_rest_as_often_as_chance_has_it() -> None:
    own, chance = measured(a_corpus(1, 500), a_corpus(0, 800))
    assert own["replication"] > 0.95
    assert chance["unassigned_pairs"]["transfer.replication"][0] < 0.08
    assert chance["permuted_neurons"]["transfer.replication"].mean() < 0.4
    assert set(own["sentence"]) == {"labels"}
    sentence = own["sentence"]["labels"]
    for name in ("most_common", "shuffled_labels"):
        assert sentence["precision_at_1"] > chance[name]["transfer.sentence.labels.precision_at_1"].mean() + 0.2


def test_what_holds_in_one_corpus_alone_is_not_found_again() -> None:
    own, chance = measured(a_corpus(1, 500, knows=0.0), a_corpus(0, 800))
    assert own["replication"] == pytest.approx(0.05, abs=0.05)
    half, _ = measured(a_corpus(1, 500, knows=0.5), a_corpus(0, 800))
    assert half["replication"] == pytest.approx(0.525, abs=0.08)
    common = chance["most_common"]["transfer.sentence.labels.precision_at_1"].mean()
    assert own["sentence"]["labels"]["precision_at_1"] == pytest.approx(common, abs=0.12)


def test_pairs_and_descriptors_equal_a_loop() -> None:
    there, here = a_corpus(1, 500, knows=0.5), a_corpus(0, 800)
    there.labels[:40, 0] = -1
    both, found = tried(there, here)
    pairs = tabulate_pairs(NAMES, both, here.active)
    sets = there.active.exemplars(EXEMPLARS)
    assert len(pairs) == found.assigned.sum()
    again = np.zeros(found.assigned.shape)
    for neuron in range(NEURONS):
        for column in range(4):
            given = there.labels[sets[neuron], column]
            count, known = int((given == 1).sum()), int((given >= 0).sum())
            whole = there.labels[:, column]
            p = hypergeom.sf(count - 1, (whole >= 0).sum(), (whole == 1).sum(), known)
            again[neuron, column] = p <= 0.05
            row = pairs[(pairs["layer"] == here.active.layer[neuron]) & (pairs["index"] == here.active.index[neuron])]
            row = row[row["descriptor"] == NAMES[column]]
            assert len(row) == found.assigned[neuron, column]
            if len(row):
                assert (row["count"].item(), row["known"].item()) == (count, known)
                assert row["p"].item() == pytest.approx(p, rel=1e-6, abs=1e-12)
    rows = tabulate_descriptors(NAMES, both, here.labels.mean(axis=0))
    for column, row in enumerate(rows.to_dict("records")):
        own = found.assigned[:, column]
        assert row["pairs"] == own.sum()
        assert row["replication"] == pytest.approx(again[own, column].mean())
        assert row["unassigned"] == pytest.approx(again[~own, column].mean())
        known = there.labels[:, column]
        assert row["there_prevalence"] == pytest.approx((known[known >= 0] == 1).mean())


def test_the_strongest_are_those_of_the_lowest_p_on_calibration() -> None:
    both, found = tried(a_corpus(1, 500), a_corpus(0, 800))
    chosen = both.strongest
    assert (chosen <= found.assigned).all()
    enough = 0.1 * found.assigned.sum()
    assert (found.log_p[found.assigned] < found.log_p[chosen].max()).sum() <= enough <= chosen.sum()
    assert found.log_p[chosen].max() <= found.log_p[found.assigned & ~chosen].min()
    assert not replace(both, assigned=np.zeros_like(both.assigned)).strongest.any()


def test_gold_of_the_same_aspects_is_matched_on_calibration() -> None:
    there, here = a_corpus(1, 500, gold="aspect "), a_corpus(0, 800, gold="aspect ")
    known = find_references(there, here.gold, here.scores)
    assert (known["gold"].labels == there.labels[there.active.probe_rows][:, np.argsort(NAMES)]).all()
    own, chance = measured(there, here)
    assert own["sentence"]["gold"]["precision_at_1"] == pytest.approx(own["sentence"]["labels"]["precision_at_1"])
    assert own["sentence"]["gold"]["recall_at_2"] > chance["most_common"]["transfer.sentence.gold.recall_at_2"] + 0.2


def test_gold_of_other_aspects_is_matched_on_half_of_its_reviews_and_measured_on_the_other() -> None:
    there, here = a_corpus(1, 500, gold="topic "), a_corpus(0, 800, gold="aspect ")
    known = find_references(there, here.gold, here.scores)["gold"]
    rows = there.active.probe_rows
    learned = (known.labels == -1).all(axis=1)
    assert 0.4 < learned.mean() < 0.6
    reviews = np.array(there.reviews)[rows]
    assert not set(reviews[learned]) & set(reviews[~learned])
    assert (known.labels[~learned] == there.labels[rows][~learned][:, np.argsort(NAMES)]).all()
    assert measured(there, here)[0]["sentence"]["gold"]["precision_at_1"] > 0.5


def test_nothing_assigned_is_no_error() -> None:
    there, here = a_corpus(1, 500), a_corpus(0, 800)
    both, found = tried(there, here)
    nothing = np.zeros_like(found.assigned)
    both, found = replace(both, assigned=nothing), replace(found, assigned=nothing)
    own, _ = measure_transfer(
        both, there, vote(there, here, found), found, find_references(there, here.gold, here.scores), Draws(2, 0)
    )
    assert own["transfer"]["replication"] == own["transfer"]["strongest_replication"] == 0
    assert tabulate_descriptors(NAMES, both, here.labels.mean(axis=0))["replication"].isna().all()
    assert tabulate_pairs(NAMES, both, here.active).empty
