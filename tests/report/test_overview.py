"""The page's first screen: what was described, the strongest units, descriptors by layer, and four figures to trust."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from html import unescape

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.report import words
from descry.report.content import Content, tabulate_carriers, tabulate_pairs
from descry.report.figures import layers, strongest, trust
from descry.report.measures import CONTROL_TEXTS
from descry.report.page.pieces import pack_all
from descry.report.plots.series import tabulate_layers
from descry.report.shading import choose_excerpt, split_sentence
from descry.results.measures import find_measure
from tests.report.test_pieces import unpacked
from tests.report.test_report import NAMES, Reader, a_run, check_links, rendered, with_directions, without

FIGURES = ["sentence.gold.precision_at_1", "replication", "jaccard", "second_opinion.survival"]


@pytest.fixture(scope="module")
def run() -> Content:
    return a_run(NAMES)


def overview(page: str) -> str:
    """The markup of the first screen."""
    return page[page.index('id="overview"') : page.index('id="measures"')].partition('id="labels"')[0]


def text_of(markup: str) -> str:
    return " ".join(unescape(re.sub("<[^>]*>", "", markup)).split())


def test_it_asks_three_questions_and_shows_four_figures(run: Content) -> None:
    page = rendered(run)
    check_links(page)
    shown = overview(page)
    assert re.findall(r"<h2[^>]*>([^<]*)</h2>", shown) == [
        "What was described",
        "What was found",
        "How far to trust it",
    ]
    assert shown.count('class="trusted"') == 4
    assert 'class="figure"' not in shown
    assert "<img" not in shown
    strip = text_of(shown[: shown.index('id="found"')])
    for said in (
        "60 neurons in 3 layers",
        "300 sentences of 100 reviews: 50 for calibration, 50 for validation",
        "4 desc",
    ):
        assert said in strip
    assert "embeddings of the target itself" in strip


def test_figures_stand_beside_their_chance_and_random_directions(run: Content) -> None:
    shown = re.findall(r'<article class="trusted">(.*?)</article>', overview(rendered(run)), re.DOTALL)
    trusted = trust.select_trusted(run)
    assert [one.figure.name for one in trusted] == FIGURES
    for markup, one in zip(shown, trusted, strict=True):
        score, said = run.scores[one.figure.name], text_of(markup)
        assert f"{one.figure.term} {words.format_percent(score.value)}" in said
        assert f"chance {words.format_percent(score.levels[find_measure(score.name).chance].mean)}" in said
        directions = score.levels.get("random_directions")
        assert ("random directions" in said) == (directions is not None)
        if directions is not None:
            assert f"random directions {words.format_percent(directions.mean)}" in said
        assert one.figure.sentence in said
        assert "untrained" not in said


@pytest.mark.parametrize(("ahead", "verdict"), [(0.1, "ahead"), (0.0, "tied"), (-0.1, "behind")])
def test_it_says_whether_neurons_are_ahead_of_random_directions(run: Content, ahead: float, verdict: str) -> None:
    other = with_directions(run, ahead, 3 * ahead)
    judged = {one.figure.name: one.verdict for one in trust.select_trusted(other)}
    assert judged[FIGURES[0]] == verdict
    assert judged[FIGURES[-1]] is None
    markup = overview(rendered(other))
    assert f'<b class="{verdict}">{trust.CLAUSES[verdict]}</b>' in markup
    number = list(judged.values()).count("ahead")
    count = {0: "none of three", 3: "all three"}[number]
    assert f"{count} ahead of random directions." in text_of(markup)


def test_another_measure_answers_where_the_first_was_not_measured(run: Content) -> None:
    def drop(frame: pd.DataFrame, start: str) -> pd.DataFrame:
        return frame[~frame["measure"].str.startswith(start)]

    other = replace(
        run, evaluation=drop(run.evaluation, "second_opinion"), consistency=drop(run.consistency, "jaccard")
    )
    names = [one.figure.name for one in trust.select_trusted(other)]
    assert names == [*FIGURES[:2], "neuron.precision_at_1", "transfer.replication"]
    none = replace(run, evaluation=run.evaluation.head(0), consistency=run.consistency.head(0))
    none = replace(none, beyond=replace(none.beyond, measures=none.beyond.measures.head(0)))
    assert trust.select_trusted(none) == []
    assert trust.summarize_trust([]) == ""
    assert rendered(none)


def test_units_are_those_of_the_stated_rule(run: Content) -> None:
    """Told again, from the tables: of every descriptor that is left the pair with the highest lower end, one by one."""
    pairs = run.calibration.pairs.query("enrichment_assigned").merge(run.associations)
    pairs = pairs[(pairs["validation_p"] <= 0.05) & (pairs["pearson_low"] > 0)]
    expected = []
    while len(pairs) and len(expected) < strongest.UNITS:
        best = pairs.loc[pairs["pearson_low"].idxmax()]
        expected.append((f"{best['layer']}:{best['index']}", best["descriptor"], best["pearson"]))
        same = (pairs["layer"] == best["layer"]) & (pairs["index"] == best["index"])
        pairs = pairs[~same & (pairs["descriptor"] != best["descriptor"])]
    units = strongest.select_strongest(run)
    assert [(unit.address, unit.descriptor, unit.correlation) for unit in units] == expected
    assert len(units) == len(NAMES)
    assert len(strongest.select_strongest(a_run([f"word {number}" for number in range(12)]))) == strongest.UNITS
    markup = overview(rendered(run))
    cards = re.findall(r'<li class="unit">(.*?)</ol>', markup, re.DOTALL)
    for card, unit in zip(cards, units, strict=True):
        assert f'href="#neuron/{unit.address}?of=' in card
        assert f"r {words.format_signed(unit.correlation)}" in text_of(card)
        assert "chance 0" in text_of(card)
        assert unit.descriptor in text_of(card)
    median = tabulate_pairs(run)["pearson"].median()
    assert (
        f"highest of {len(tabulate_pairs(run))} pairs flatter: the median is {words.format_signed(median)}"
        in text_of(markup)
    )


def test_sentences_are_shaded_as_on_the_full_card(run: Content) -> None:
    pieces = pack_all(run, strongest.SENTENCES)
    _, said = unpacked(pieces["sentences"])
    for unit in strongest.select_strongest(run):
        layer, index = map(int, unit.address.split(":"))
        arrays, _ = unpacked(pieces[f"layer-{layer}"])
        assert len(unit.sentences) == strongest.SENTENCES
        for slot, sentence in enumerate(unit.sentences):
            text = said["texts"][arrays["validation_exemplars"][index, slot]]
            assert "".join(piece.text for piece in sentence.pieces) == text
            bounds = arrays["validation_bounds"][index * strongest.SENTENCES + slot :][:2]
            levels = arrays["validation_levels"][slice(*bounds)]
            assert [piece.level for piece in sentence.pieces if piece.level] == [level for level in levels if level]
            row = run.validation.rows[(layer - 1) * 20 + index, slot]
            assert sentence.label == run.validation.labels[row, NAMES.index(unit.descriptor)]


@given(
    st.lists(st.text("ab<é😀", min_size=1, max_size=12), min_size=1, max_size=30),
    st.integers(10, 60),
    st.randoms(use_true_random=False),
)
def test_an_excerpt_is_a_part_of_the_sentence_around_its_strongest_token(
    tokens: list[str], longest: int, random
) -> None:  # type: ignore[no-untyped-def]
    text = " ".join(tokens)
    ends = np.cumsum([len(token) + 1 for token in tokens]) - 1
    spans = np.stack([ends - [len(token) for token in tokens], ends], axis=1)
    levels = np.array([random.randint(0, 9) for _ in tokens])
    pieces = split_sentence(text, spans, levels, longest)
    plain = "".join(piece.text for piece in pieces)
    assert plain.strip("…") in text
    assert len(plain) <= longest + 2
    assert (plain == text) == (len(text) <= longest)
    if levels.any():
        strongest_token = tokens[int(levels.argmax())]
        assert any(piece.strongest and piece.text in strongest_token for piece in pieces)
    assert all(piece.level == levels.max() for piece in pieces if piece.strongest)


def test_an_excerpt_starts_and_ends_between_words() -> None:
    text = "one two three four five six seven eight nine ten"
    first, last = choose_excerpt(text, text.index("six"), 20)
    assert text[first:last] == "four five six seven" or text[first:last].split()[0] in text.split()
    assert set(text[first:last].split()) <= set(text.split())
    assert "six" in text[first:last]


def test_a_token_without_a_place_is_not_shaded() -> None:
    pieces = split_sentence("a sentence", np.zeros((3, 2), dtype=np.int64), np.array([1, 9, 0]), 50)
    assert "".join(piece.text for piece in pieces) == "a sentence"
    assert {piece.level for piece in pieces} == {0}


def test_layers_are_those_of_the_tables(run: Content) -> None:
    table, carriers = tabulate_layers(run), tabulate_carriers(run)
    bands = layers.list_bands(table, carriers)
    assert [band.label for band in bands] == ["1", "2", "3"]
    assert [band.share for band in bands] == pytest.approx(table["calibration"].tolist())
    assert [band.directions for band in bands] == pytest.approx([0.1, 0.2, 0.3])
    named = [name for band in bands for name in band.typical]
    assert len(named) == len(set(named))
    assert set(named) <= set(NAMES)
    plain = without(run, *CONTROL_TEXTS)
    assert {band.directions for band in layers.list_bands(tabulate_layers(plain), carriers)} == {None}


def test_many_layers_are_shown_in_bands_with_what_is_over_represented_there() -> None:
    count = 20
    table = pd.DataFrame({"layer": range(1, count + 1), "neurons": 10, "described": 5, "random_directions": 0.25})
    numbers = np.ones((3, count), dtype=np.int64)
    numbers[0, :3], numbers[1, -2:] = 9, 4
    carriers = pd.DataFrame(numbers, columns=[f"layer_{layer}" for layer in range(1, count + 1)])
    carriers.insert(0, "descriptor", ["early", "late", "even"])
    bands = layers.list_bands(table, carriers)
    assert [band.label for band in bands] == ["1–3", "4–6", "7–9", "10–12", "13–15", "16–18", "19–20"]
    assert {band.share for band in bands} == {0.5}
    assert {band.directions for band in bands} == {0.25}
    assert bands[0].typical == ["early"]
    assert bands[-1].typical == ["late"]
    nothing = layers.list_bands(table.assign(described=0), carriers.replace({1: 0, 9: 0, 4: 0}))
    assert {band.share for band in nothing} == {0.0}
    assert not any(band.typical for band in nothing)


def test_nothing_described_and_nothing_that_holds_are_said_in_words(run: Content) -> None:
    still = a_run(["battery"], gold=False, positives=0.0)
    page = rendered(still)
    check_links(page)
    assert "No neuron has a descriptor" in text_of(overview(page))
    assert 'class="unit"' not in page
    weak = replace(run, associations=run.associations.assign(validation_p=0.5))
    page = rendered(weak)
    check_links(page)
    assert "holds on validation" in text_of(overview(page))
    assert "by-layer" in page
    unknown = replace(run, associations=run.associations.assign(pearson=np.nan, pearson_low=np.nan))
    assert strongest.select_strongest(unknown) == []
    assert rendered(unknown)


def test_a_bare_run_has_a_first_screen(run: Content) -> None:
    """Without gold, controls and every stage beyond the paper."""
    bare = without(a_run(["battery", "noise"], gold=False), *CONTROL_TEXTS)
    tables = [one.name for one in fields(bare.beyond) if one.name != "negative"]
    empty = {name: getattr(bare.beyond, name).head(0) for name in tables}
    bare = replace(bare, beyond=replace(bare.beyond, negative=None, **empty))
    page = rendered(bare)
    read = check_links(page)
    assert "andom directions" not in read.text
    shown = text_of(overview(page))
    assert "All four above chance" in shown or "of four above chance" in shown
    assert "gold" not in shown
    assert isinstance(read, Reader)
