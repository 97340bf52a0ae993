"""Judging descriptions: planted truth is found, chance scores as chance, and length tells nothing."""

from collections.abc import Sequence
from functools import partial
from math import comb

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from descry.errors import InputError
from descry.judging import scores
from descry.judging.descriptions import Description, Descriptions
from descry.judging.fit import SimilarityFitter, level
from descry.judging.judge import HeldOut, draw_random_texts, judge, share_first, summarise
from descry.judging.scores import SCORES, Layer, bin_by_length

WORDS, SENTENCES = 120, 800


class WordEncoder:
    """Encodes a text as the words that it has, w0 to w119; `long` is part of the vector too."""

    def encode(self, texts: Sequence[str], description: str = "") -> np.ndarray:
        vectors = np.zeros((len(texts), WORDS + 1), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                vectors[row, WORDS if word == "long" else int(word[1:])] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def words(self) -> list[str]:
        return []


FIT = partial(SimilarityFitter, WordEncoder())


def describe(units: Sequence[tuple[int, int]], texts: Sequence[str]) -> Descriptions:
    rows = (Description("made.csv", layer, unit, text) for (layer, unit), text in zip(units, texts, strict=True))
    return Descriptions("made.csv", tuple(rows))


def build_world(seed: int, width: int = 120) -> HeldOut:
    """Units that each fire where a sentence has their word, and noise; two layers."""
    generator = np.random.default_rng(seed)
    words = np.array([generator.choice(WORDS, size=12, replace=False) for _ in range(SENTENCES)])
    bears = (words[:, :, None] == np.arange(WORDS)).any(axis=1)
    probe = np.tile(bears, 2)[:, : 2 * width] + generator.normal(0, 0.1, (SENTENCES, 2 * width))
    return HeldOut(
        layer=np.repeat([1, 2], width),
        index=np.tile(np.arange(width), 2),
        probe=probe.astype(np.float16),
        sentences=[" ".join(f"w{word}" for word in row) for row in words],
        descriptors=[f"w{unit}" if unit % 2 else "" for unit in np.tile(np.arange(width), 2)],
        random=draw_random_texts([f"w{word} w{word + 1}" for word in range(100)]),
    )


def list_units(world: HeldOut) -> list[tuple[int, int]]:
    return list(zip(world.layer.tolist(), world.index.tolist(), strict=True))


def test_planted_units_are_found_by_their_own_words() -> None:
    world = build_world(0)
    table = judge(describe(list_units(world), [f"w{unit}" for unit in world.index]), world, FIT)
    summary = summarise(table)
    assert summary["first_of_100"] >= 0.9
    assert summary["units"] == 240
    assert summary["with_descriptor"] == 120
    for name in SCORES:
        assert summary[name]["low"] > 0.2, name
        assert summary[name]["lift"] == pytest.approx(summary[name]["own"] - summary[name]["swapped"])
    ours = table["descriptor"] != ""
    for name in SCORES:  # the descriptor says here what the description says
        np.testing.assert_allclose(table.loc[ours, f"{name}_descriptor"], table.loc[ours, name])
    assert abs(summary["auroc"]["random"] - 0.5) < 0.03
    assert abs(summary["correlation"]["random"]) < 0.03


def test_descriptions_dealt_at_random_have_no_lift() -> None:
    covered, first = [], []
    for seed in range(20):
        world = build_world(seed)
        dealt = np.random.default_rng(seed + 100).permutation(len(world.index))
        texts = [f"w{world.index[unit]}" for unit in dealt]
        table = judge(describe(list_units(world), texts), world, FIT)
        summary = summarise(table)
        covered.append(summary["auroc"]["low"] <= 0 <= summary["auroc"]["high"])
        first.append(summary["first_of_100"])
    assert sum(covered) >= 16  # 19 expected; fewer than 16 has probability 0.003
    assert np.mean(first) == pytest.approx(0.01, abs=0.004)  # a sum of 4,800 units


def test_length_tells_nothing() -> None:
    """Units that fire on long sentences, with long descriptions, and short ones with short ones: no lift."""
    generator = np.random.default_rng(3)
    sizes = generator.permutation(np.linspace(2, 60, SENTENCES).round().astype(int))
    sentences = [" ".join(["long"] * size + [f"w{generator.integers(WORDS)}"]) for size in sizes]
    sign = np.repeat([1.0, -1.0], 60)
    probe = sizes[:, None] * sign + generator.normal(0, 5, (SENTENCES, 120))
    world = HeldOut(np.ones(120, int), np.arange(120), probe, sentences, [""] * 120, ["long w1", "w2", "w3"])
    texts = [f"{'long ' * 30 if unit < 60 else ''}w{generator.integers(WORDS)} w{unit}" for unit in range(120)]
    fair = summarise(judge(describe(list_units(world), texts), world, FIT))
    assert fair["auroc"]["low"] < 0.02
    assert fair["auroc"]["lift"] < 0.03
    vectors, encoded = WordEncoder().encode(texts), WordEncoder().encode(sentences)
    leaking = scores.score_auroc(vectors @ encoded.T, Layer(probe.T.astype(np.float32)))
    assert np.diag(leaking).mean() - leaking.mean() > 0.1  # without the correction, it would


def test_every_score_is_what_a_slow_loop_says() -> None:
    generator = np.random.default_rng(0)
    fits = generator.integers(0, 30, (7, 211)).astype(np.float32)  # with ties
    values = generator.normal(size=(9, 211)).round(1).astype(np.float32)
    values[0] = np.maximum(values[0] - 1.5, 0)  # silent on most
    layer = Layer(values)
    found = {name: score(fits, layer) for name, score in SCORES.items()}
    for unit, row in enumerate(values):
        fires = row > sorted(row)[-1 - len(row) // 10]
        assert (layer.fires[unit] == fires).all()
        for text, fit in enumerate(fits):
            assert found["auroc"][text, unit] == pytest.approx(roc_auc_score(fires, fit))
            assert found["average_precision"][text, unit] == pytest.approx(average_precision_score(fires, fit))
            assert found["correlation"][text, unit] == pytest.approx(np.corrcoef(fit, row)[0, 1])
            yes, (firing, silent) = fit > np.median(fit), (part[unit] > 0 for part in layer.shown)
            assert fires[firing].all()
            assert not fires[silent].any()
            assert (firing.sum(), silent.sum()) == (min(50, fires.sum()), 50)
            expected = (yes[firing].mean() + 1 - yes[silent].mean()) / 2
            assert found["detection"][text, unit] == pytest.approx(expected)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    world = build_world(1, width=30)
    given = describe(list_units(world), [f"w{unit} w{unit // 2}" for unit in world.index])
    whole = judge(given, world, FIT)
    monkeypatch.setattr("descry.judging.judge.UNITS", 7)
    monkeypatch.setattr("descry.judging.judge.TEXTS", 11)
    pieces = judge(given, world, FIT)
    pd.testing.assert_frame_equal(whole, pieces)
    assert whole["first"].isna().all()  # of 30 described units, not 100 can be drawn


def test_swapped_is_the_mean_over_the_layers_other_units() -> None:
    world = build_world(2, width=10)
    texts = [f"w{unit % 6}" for unit in world.index]  # some share a text
    table = judge(describe(list_units(world), texts), world, FIT)
    fitted = WordEncoder().encode(texts[:10]) @ WordEncoder().encode(world.sentences).T
    by_length = bin_by_length(np.array([len(text) for text in world.sentences]))
    layer = Layer(world.probe[:, :10].T.astype(np.float32))
    every = scores.score_auroc(level(fitted, by_length), layer)
    for unit in range(10):
        others = [every[other, unit] for other in range(10) if other != unit]
        assert table["auroc_swapped"][unit] == pytest.approx(np.mean(others))
        assert table["auroc"][unit] == pytest.approx(every[unit, unit])


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6))
def test_the_chance_to_be_first_is_that_of_a_draw(better: int, tied: int, worse: int) -> None:
    others, among = better + tied + worse, 4
    if others < among - 1:
        return
    draws = sum(
        comb(tied, equal) * comb(worse, among - 1 - equal) / (equal + 1)
        for equal in range(among)
        if among - 1 - equal >= 0
    )
    found = share_first(np.array([better]), np.array([tied]), others, among)
    assert found[0] == pytest.approx(draws / comb(others, among - 1))


def test_units_that_cannot_be_judged_are_left_out() -> None:
    world = build_world(4, width=5)
    world.probe[:, 3] = 0
    units = [*list_units(world)[:5], (2, 0)]
    table = judge(describe(units, [f"w{place}" for place in range(6)]), world, FIT)
    assert table[["layer", "index"]].to_numpy().tolist() == [[1, 0], [1, 1], [1, 2], [1, 4]]
    with pytest.raises(InputError, match="no layer has two described units"):
        judge(describe([(1, 0), (1, 3), (2, 0)], ["w0", "w1", "w2"]), world, FIT)
