"""The page and the plots: nothing of the data is markup, nothing is fetched, the figures are the tables'."""

from __future__ import annotations

import copy
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import hypergeom

from descry import report
from descry.assignment import assign, gather, table
from descry.report import Run, Side, cards, content, words
from descry.report.page import PLOTS

RULE = {"rule": "enrichment", "alpha": 0.05, "min_lift": 1.5, "min_count": 3, "tau": 0.3}
EXEMPLARS = 12
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"' onmouseover='alert(1)' {{ 7 * 7 }} </style></script>",
    "https://example.org/?a=1&b=<2>",
)


def a_side(labels: np.ndarray, names: list[str], seed: int) -> Side:
    """60 neurons in 3 layers; neuron n fires on the sentences of descriptor n % (descriptors + 1), if any."""
    generator = np.random.default_rng(seed)
    neurons, count = 60, len(labels)
    activations = generator.normal(size=(neurons, count)).astype(np.float32)
    for neuron in range(neurons):
        column = neuron % (len(names) + 1)
        if column < len(names):
            activations[neuron] += 3.0 * (labels[:, column] == 1)
    rows = np.argsort(-activations, axis=1, kind="stable")[:, :EXEMPLARS].astype(np.int32)
    evidence = gather(rows, labels)
    options = {key: value for key, value in RULE.items() if key != "rule"}
    findings = {rule: assign(evidence, rule=rule, **options) for rule in ("enrichment", "composition")}
    layer, index = np.repeat([1, 2, 3], 20).astype(np.int16), np.tile(np.arange(20), 3).astype(np.int32)
    texts = [f"sentence {seed}-{row}" for row in range(count)]
    texts[: len(HOSTILE)] = HOSTILE
    return Side(
        sentences=pd.DataFrame(
            {"review_id": [f"r{row // 3}" for row in range(count)], "product": "a <b>", "text": texts}
        ),
        labels=labels,
        rows=rows,
        activations=np.take_along_axis(activations, rows, axis=1),
        pairs=table(findings, layer, index, names),
    )


def measures(gold: bool) -> dict[str, Any]:
    """An evaluation with every number different, as the `evaluate` stage writes it."""
    numbers = iter(range(100, 1000))

    def at_k() -> dict[str, float]:
        names = [f"{name}_at_{k}" for name in ("precision", "recall", "ceiling_precision") for k in (1, 2)]
        return {name: next(numbers) / 1000 for name in names}

    def found() -> dict[str, Any]:
        sentence = {"labels": at_k()} | ({"gold": at_k()} if gold else {})
        return {"neuron": {"precision_at_1": next(numbers) / 1000, "described": 41}, "sentence": sentence}

    out = found() | {"labels": {"missing_share": 0.00004}, "descriptors": {"count": 4}}
    null = {"most_common": found(), "random_exemplars": found()}
    if gold:
        out["oracle"] = {"sentence": at_k(), "replication": next(numbers) / 1000}
        for block in null.values():
            block["oracle"] = {"sentence": at_k()}
    return out | {"null": null}


def a_run(names: list[str], *, gold: bool = True, positives: float = 0.15) -> Run:
    """A run with planted neurons; positives: prevalence of every descriptor."""
    sides = []
    for seed in (1, 2):
        generator = np.random.default_rng(seed + 10)
        labels = (generator.random((150, len(names))) < positives).astype(np.int8)
        labels[generator.random(labels.shape) < 0.01] = -1
        labels[: len(HOSTILE)] = int(positives > 0)
        sides.append(a_side(labels, names, seed))
    calibration, validation = sides
    scores = np.linspace(1, 0, calibration.labels.size).reshape(calibration.labels.shape, order="F")
    return Run(
        layer=np.repeat([1, 2, 3], 20),
        index=np.tile(np.arange(20), 3),
        descriptors=[{"name": name, "members": [name, f"{name}s"]} for name in names],
        calibration=calibration,
        validation=validation,
        examples=report.strongest(calibration.labels, scores, 3),
        evaluation=measures(gold),
        consistency={
            "jaccard": 0.311,
            "jaccard_null": 0.022,
            "replication": 0.777,
            "replication_null": 0.111,
        },
        rule=RULE | {"exemplars": EXEMPLARS},
        target="a/model",
        pooling="mean",
        labeller_is_target=True,
    )


NAMES = ["battery", "<b>noise</b>", "prix élevé", "$x^2$"]


@pytest.fixture(scope="module")
def run() -> Run:
    return a_run(NAMES)


@pytest.fixture(scope="module")
def files(run: Run) -> dict[str, bytes]:
    return report.build(run, neurons=4, exemplars=5)


@pytest.fixture(scope="module")
def page(files: dict[str, bytes]) -> str:
    return files["index.html"].decode()


def rendered(run: Run, neurons: int = 2) -> str:
    """The page without the time that drawing takes."""
    tables = {"layers": report.layer_table(run)}
    nothing = dict.fromkeys(PLOTS, b"\x89PNG" + bytes(20))
    return report.render(run, tables, nothing, neurons=neurons, exemplars=2)


class Reader(HTMLParser):
    """Elements with their attributes, and the text outside style and script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside not in ("style", "script"):
            self.text += data


def check_links(page: str) -> Reader:
    read = Reader(page)
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert [name for name, times in Counter(ids).items() if times > 1] == []
    links = [attributes["href"] or "" for tag, attributes in read.elements if tag == "a"]
    assert links
    assert {link for link in links if not (link.startswith("#") and link[1:] in ids)} == set()
    return read


def test_what_comes_from_the_data_is_text(page: str) -> None:
    read = check_links(page)
    assert [tag for tag, _ in read.elements].count("script") == 1
    assert {tag for tag, attributes in read.elements if "onerror" in attributes or "onmouseover" in attributes} == set()
    assert all(attributes.get("src", "data:") != "x" for _, attributes in read.elements)
    for text in (*HOSTILE, "<b>noise</b>", "a <b>"):
        assert text in read.text
    assert page.count("</style>") == 1


def test_the_page_is_one_file_that_fetches_nothing(page: str) -> None:
    read = Reader(page)
    for tag, attributes in read.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, value)
        assert tag not in ("iframe", "object", "embed", "base")
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    policy = next(a["content"] or "" for _, a in read.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert "'unsafe-inline'" not in policy[policy.index("script-src") :]


def test_the_same_run_gives_the_same_bytes(files: dict[str, bytes]) -> None:
    assert report.build(a_run(NAMES), neurons=4, exemplars=5) == files


def test_pictures_carry_no_software_and_no_date(files: dict[str, bytes]) -> None:
    pictures = {name: content for name, content in files.items() if name.endswith(".png")}
    assert sorted(pictures) == ["at_k.png", "descriptors.png", "layers.png", "map.png"]
    for picture in pictures.values():
        assert picture.startswith(b"\x89PNG")
        assert b"Software" not in picture
        assert b"tEXt" not in picture


def test_headline_figures_are_those_of_the_evaluation(run: Run) -> None:
    groups = words.headlines(run)
    evaluation = run.evaluation
    first = groups[0].figures[0]
    assert first.value == evaluation["sentence"]["gold"]["precision_at_1"]
    assert first.chances == {
        "always the most common": evaluation["null"]["most_common"]["sentence"]["gold"]["precision_at_1"],
        "random exemplars": evaluation["null"]["random_exemplars"]["sentence"]["gold"]["precision_at_1"],
    }
    values = [figure.value for group in groups for figure in group.figures]
    assert evaluation["oracle"]["sentence"]["recall_at_2"] in values
    assert run.consistency["jaccard"] in values
    assert 41 / 60 in values
    assert len(groups) == 3


def test_every_measure_stands_on_the_page_beside_its_nulls(run: Run, page: str) -> None:
    rows = re.findall(r"<code>([\w.]+)</code></th>((?:<td>[^<]*</td>)+)", page)
    shown = {name: re.findall(r"<td>([^<]*)</td>", cells) for name, cells in rows}
    evaluation = run.evaluation
    null = evaluation["null"]
    gold = evaluation["sentence"]["gold"]
    assert shown["sentence.gold.precision_at_2"] == [
        f"{value:.3f}"
        for value in (
            gold["precision_at_2"],
            null["most_common"]["sentence"]["gold"]["precision_at_2"],
            null["random_exemplars"]["sentence"]["gold"]["precision_at_2"],
            gold["ceiling_precision_at_2"],
        )
    ]
    assert shown["oracle.sentence.recall_at_1"][1] == f"{null['most_common']['oracle']['sentence']['recall_at_1']:.3f}"
    assert shown["neuron.described"] == ["41", "41", "41", "–"]
    assert shown["labels.missing_share"][0] == "4e-05"
    assert shown["jaccard"] == ["0.311", "0.022", "–"]


def test_cards_say_what_the_tables_say(run: Run) -> None:
    names = {card.name: card for card in cards.cards(run, neurons=100, exemplars=5)}
    for column, name in enumerate(NAMES):
        card = names[name]
        pairs = run.calibration.pairs
        pairs = pairs[pairs["enrichment_assigned"] & (pairs["descriptor"] == name)]
        assert card.neurons[0] == len(pairs) == len(card.best) == sum(card.layers) > 5
        assert card.sentences[1] == int((run.validation.labels[:, column] == 1).sum())
        assert [neuron.calibration.p for neuron in card.best] == sorted(neuron.calibration.p for neuron in card.best)
        assert card.replicates == np.mean([neuron.replicates for neuron in card.best])
        for neuron in card.best:
            row = pairs[(pairs["layer"] == neuron.layer) & (pairs["index"] == neuron.index)].iloc[0]
            own = neuron.calibration
            assert (own.count, own.known, neuron.q) == (row["count"], row["known"], row["q"])
            assert (own.composition, own.lift) == pytest.approx((row["composition"], row["lift"]))
            assert own.p == pytest.approx(row["p"], rel=1e-6)


def test_validation_is_counted_over_its_own_exemplars(run: Run) -> None:
    card = cards.cards(run, neurons=3, exemplars=5)[0]
    column, side = NAMES.index(card.name), run.validation
    known = side.labels[:, column][side.labels[:, column] >= 0]
    for neuron in card.best:
        rows = side.rows[(neuron.layer - 1) * 20 + neuron.index]
        labels = [int(side.labels[row, column]) for row in rows]
        count, drawn = labels.count(1), labels.count(1) + labels.count(0)
        p = hypergeom.sf(count - 1, len(known), known.sum(), drawn)
        assert neuron.validation == cards.Bearing(count, drawn, count / drawn, count / drawn / known.mean(), p)
        shown = neuron.exemplars["validation"]
        assert [one.text for one in shown] == side.sentences["text"].iloc[rows[:5]].tolist()
        assert [one.label for one in shown] == labels[:5]


def test_only_the_neurons_asked_for_are_shown(run: Run, page: str) -> None:
    dealt = cards.cards(run, neurons=4, exemplars=5)
    assert [len(card.best) for card in dealt] == [4, 4, 4, 4]
    assert page.count('<details class="neuron"') == 16
    assert page.count('<li class="yes">') + page.count('<li class="no">') + page.count('<li class="unknown">') == 160


def test_examples_are_the_strongest_of_those_that_bear_it() -> None:
    labels = np.array([[1, 0], [1, 0], [0, 0], [1, 0]], dtype=np.int8)
    scores = np.array([[0.2, 9], [0.5, 9], [0.9, 9], [0.5, 9]])
    assert report.strongest(labels, scores, 2).tolist() == [[1, 3], [-1, -1]]


def test_plot_tables(run: Run) -> None:
    layers = report.layer_table(run)
    pairs = run.validation.pairs[run.validation.pairs["enrichment_assigned"]]
    here = layers[(layers["layer"] == 2) & (layers["split"] == "validation")].iloc[0]
    described = pairs[pairs["layer"] == 2]["index"].nunique()
    assert (here["described"], here["share"], here["neurons"]) == (described, described / 20, 20)
    found = report.descriptor_table(run)
    assert (found[["layer_1", "layer_2", "layer_3"]].sum(axis=1) == found["neurons"]).all()
    assert found["neurons"].is_monotonic_decreasing
    at_k = report.at_k_table(run.evaluation)
    assert at_k["series"].nunique() == 4
    own = at_k[(at_k["series"] == "descriptors found") & (at_k["k"] == 2)].iloc[0]
    assert own["precision"] == run.evaluation["sentence"]["gold"]["precision_at_2"]
    assert own["ceiling"] == run.evaluation["sentence"]["gold"]["ceiling_precision_at_2"]


def test_a_corpus_without_gold_leads_with_what_holds_up() -> None:
    run = a_run(["battery", "noise"], gold=False)
    page = rendered(run)
    check_links(page)
    assert words.headlines(run)[0].title.startswith("Does it hold")
    assert "nnotated" not in page.split('<details class="plain"><summary>What the names mean')[0].split("<h1")[1]
    at_k = report.at_k_table(run.evaluation)
    assert at_k["series"].tolist()[0] == "descriptors found"
    assert at_k["precision"].iloc[0] == run.evaluation["sentence"]["labels"]["precision_at_1"]


def test_no_described_neuron_and_a_single_descriptor() -> None:
    run = replace(a_run(["battery"], positives=0.0), evaluation=measures(gold=False))
    files = report.build(run, neurons=2, exemplars=2)
    page = files["index.html"].decode()
    check_links(page)
    assert "No neuron carries it" in page
    assert files["layers.csv"].decode().splitlines()[1] == "1,20,0,0,calibration"
    assert files["descriptors.csv"].decode().splitlines()[1] == "battery,0,0,0,0,0,0"
    one = a_run(["battery"])
    assert check_links(rendered(one)).text.count("with\n  1 descriptor found") == 1


def test_the_composition_rule_shows_its_own_pairs(run: Run) -> None:
    other = replace(run, rule=run.rule | {"rule": "composition"})
    pairs = run.calibration.pairs
    assert int(report.descriptor_table(other)["neurons"].sum()) == int(pairs["composition_assigned"].sum())
    assert "30 % of those sentences" in rendered(other)


def test_flattering_labels_are_called_so(run: Run) -> None:
    assert "flatter" in words.headlines(run)[-1].note
    assert "flatter" not in words.headlines(replace(run, labeller_is_target=False))[-1].note


def test_a_missing_null_is_not_invented(run: Run) -> None:
    evaluation = copy.deepcopy(dict(run.evaluation))
    evaluation["null"] = {}
    groups = words.headlines(replace(run, evaluation=evaluation))
    assert groups[0].figures[0].chance is None
    assert content.measure_rows(evaluation, "neuron")[0].most_common is None


def test_addresses_differ_and_are_ascii() -> None:
    found = cards.anchors(["Noise", "noise!", "noise 2", "élevé", "电池", "价格", "<script>"])
    assert len(set(found)) == 7
    assert all(re.fullmatch(r"descriptor-[a-z0-9-]+", anchor) for anchor in found)
    assert found[3] == "descriptor-eleve"


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0, "0 %"),
        (1, "100 %"),
        (0.0002, "< 0.1 %"),
        (0.05, "5 %"),
        (0.0625, "6.2 %"),
        (0.0999, "10 %"),
        (0.734, "73 %"),
    ],
)
def test_percent(share: float, shown: str) -> None:
    assert words.percent(share) == shown


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.05, "0.050"), (1.0, "1.000"), (3.2e-21, "3 × 10⁻²¹"), (0.00096, "1 × 10⁻³"), (0.0, "< 10⁻³⁰⁰")],
)
def test_chance(p: float, shown: str) -> None:
    assert words.chance(p) == shown
