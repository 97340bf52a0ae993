"""The page and the plots: nothing of the data is markup, nothing is fetched, the figures are the tables'."""

from __future__ import annotations

import io
import re
from collections import Counter
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import hypergeom

from descry.activations.neighbours import find_neighbours
from descry.activations.token_words import TokenReadings
from descry.analyses.triggers import CLASSES
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import RULES, Rule, assign_by, tabulate_assignments
from descry.report import words
from descry.report.build import build_report
from descry.report.content import (
    Beyond,
    Content,
    Explained,
    Guess,
    NegativeEnd,
    SplitContent,
    select_clearest,
    tabulate_carriers,
)
from descry.report.figures import controls, headlines, quality, trust
from descry.report.measures import CONTROL_TEXTS, NULL_TEXTS, Level, collect_scores, compare_levels, group_scores
from descry.report.page.page import PLOTS, render_page
from descry.report.plots import series
from descry.results.measures import MEASURES, find_measure
from descry.schemas.ablate import ABLATION_TABLE
from descry.schemas.associate import ASSOCIATION_TABLE
from descry.schemas.consistency import P_VALUE_TABLE
from descry.schemas.depth import DEPTH_TABLE
from descry.schemas.evaluate import ASPECT_TABLE, CONFUSION_TABLE
from descry.schemas.judge import JUDGED_TABLE
from descry.schemas.measures import MEASURE_TABLE
from descry.schemas.relations import COFIRING_TABLE, RELATION_TABLE
from descry.schemas.replicate import TRANSFER_PAIR_TABLE, TRANSFER_TABLE
from descry.schemas.sweep import SWEEP_TABLE
from descry.schemas.triggers import TRIGGER_TABLE
from descry.schemas.writes import WRITES_TABLE, WRITTEN_PAIR_TABLE
from descry.splits import Pair
from descry.storage.schema import TableSchema
from tests.conftest import ROOT

EXEMPLARS = 12
RULE = Rule(exemplars=EXEMPLARS)
HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"' onmouseover='alert(1)' {{ 7 * 7 }} </style></script>",
    "https://example.org/?a=1&b=<2>",
)


SHOWN = 6
"""Exemplars that are read token by token."""


def a_reading(texts: list[str], rows: np.ndarray, generator: np.random.Generator) -> TokenReadings:
    """The exemplars' words as tokens, whose values are made up: most are small, one is high."""
    own = np.unique(rows[:, :SHOWN])
    words = [[match.span() for match in re.finditer(r"\S+", texts[row])] for row in own]
    lengths = np.array([len(spans) for spans in words], dtype=np.int32)
    sizes = lengths[np.searchsorted(own, rows[:, :SHOWN])].ravel()
    values = [generator.exponential(0.3, size) + 2.0 * (np.arange(size) == size - 1) for size in sizes]
    places = np.array([place for spans in words for place in spans], dtype=np.int32)
    on_tokens = np.concatenate(values).astype(np.float16)
    return TokenReadings(own.astype(np.int32), lengths, places[:, 0], places[:, 1], rows[:, :SHOWN], on_tokens)


def a_side(labels: np.ndarray, names: list[str], seed: int) -> SplitContent:
    """60 neurons in 3 layers; neuron n fires on the sentences of descriptor n % (descriptors + 1), if any."""
    generator = np.random.default_rng(seed)
    neurons, count = 60, len(labels)
    activations = generator.normal(size=(neurons, count)).astype(np.float32)
    for neuron in range(neurons):
        column = neuron % (len(names) + 1)
        if column < len(names):
            activations[neuron] += 3.0 * (labels[:, column] == 1)
    rows = np.argsort(-activations, axis=1, kind="stable")[:, :EXEMPLARS].astype(np.int32)
    findings = assign_by(RULES, gather_evidence(rows, labels), RULE)
    layer, index = np.repeat([1, 2, 3], 20).astype(np.int16), np.tile(np.arange(20), 3).astype(np.int32)
    texts = [f"sentence {seed}-{row}" for row in range(count)]
    texts[: len(HOSTILE)] = HOSTILE
    return SplitContent(
        sentences=pd.DataFrame(
            {"review_id": [f"r{row // 3}" for row in range(count)], "product": "a <b>", "text": texts}
        ),
        labels=labels,
        rows=rows,
        activations=np.take_along_axis(activations, rows, axis=1),
        mean=activations.mean(axis=1),
        probe=activations.T[::2].astype(np.float16),
        read=a_reading(texts, rows, generator),
        pairs=tabulate_assignments(findings, layer, index, names),
    )


AT_K = [f"{name}_at_{k}" for name in ("precision", "recall") for k in (1, 2)]
CONTROLS = ("random_directions", "untrained_target")
EVERYWHERE = ("random_exemplars", "shuffled_labels", *CONTROLS)
"""Nulls of every measure that neurons take part in."""


def beside(names: dict[str, tuple[str, ...]]) -> pd.DataFrame:
    """The table of some measures, each with its nulls, every number different."""
    numbers = iter(range(100, 1000))
    rows = []
    for name, nulls in names.items():
        counts = name.rpartition(".")[2] in ("described", "pairs", "count", "polysemantic")
        value = float(next(numbers) // 10 if counts else next(numbers) / 1000)
        for null in nulls or ("",):
            chance = next(numbers) / 1000 if null else np.nan
            adjusted = np.nan if counts or not null else (value - chance) / (1 - chance)
            rows.append((name, null, value, chance, chance - 0.004, chance + 0.004, 20 * bool(null), adjusted))
    return pd.DataFrame(rows, columns=list(MEASURE_TABLE.columns))


def consistency() -> pd.DataFrame:
    """As the `consistency` stage writes it."""
    chance = ("permuted_neurons", *EVERYWHERE)
    more = {"replication": (*chance, "unassigned_pairs"), "calibrated_alpha": ()}
    return beside(dict.fromkeys(("jaccard", "coverage", "pairs"), chance) | more)


def evaluation(gold: bool) -> pd.DataFrame:
    """As the `evaluate` stage writes it."""
    names: dict[str, tuple[str, ...]] = {"labels.missing_share": (), "descriptors.count": ()}
    names |= {f"neuron.{name}": (*EVERYWHERE, "most_common") for name in AT_K}
    names |= dict.fromkeys(("neuron.described", "neuron.coverage"), EVERYWHERE)
    names |= dict.fromkeys(("second_opinion.survival", "second_opinion.support"), ("permuted_neurons",))
    blocks = ["sentence.labels"] + ["sentence.gold", "oracle.sentence"] * gold
    names |= {f"{block}.{name}": (*EVERYWHERE, "most_common") for block in blocks for name in AT_K}
    names |= {f"{block}.ceiling_precision_at_{k}": () for block in blocks for k in (1, 2)}
    if gold:
        names |= {"labels.mean_best_ap": ("shuffled_labels",), "second_opinion.mean_best_ap": ()}
        names["oracle.replication"] = EVERYWHERE
    return beside(names)


def resplits(gold: bool) -> pd.DataFrame:
    """Every measure on three other splits, with a standard deviation of 0.001 (counts: 1)."""
    rows = [
        (whose, name, split, value + (split - 1) * (1.0 if value > 1 else 0.001))
        for whose in ("target", "random_directions")
        for frame in (consistency(), evaluation(gold))
        for name, value in dict(zip(frame["measure"], frame["value"], strict=True)).items()
        for split in range(3)
    ]
    return pd.DataFrame(rows, columns=["neurons", "measure", "split", "value"])


def sweeps(gold: bool) -> pd.DataFrame:
    """As the `sweep` stage writes it; no neuron is described where the threshold is above a half."""
    sentence = f"sentence.{'gold' if gold else 'labels'}"
    measures = (f"{sentence}.precision_at_1", f"{sentence}.recall_at_2", "neuron.precision_at_1", "neuron.described")
    settings = {"threshold": ["0.1", "0.5", "0.9"], "exemplars": ["5", "10", "200"], "pooling": ["mean", "max"]}
    rows = []
    for rule in ("enrichment", "composition"):
        for sweep, values in settings.items():
            for number, x in enumerate(values):
                for whose in ("target", "random_exemplars", "most_common"):
                    level = 0.0 if x == "0.9" else 0.5 - 0.1 * number
                    rows += [
                        (sweep, x, rule, whose, name, level if whose == "target" else 0.01)
                        for name in measures
                        if (whose, name) != ("most_common", "neuron.described")
                    ]
        for whose in ("target", *CONTROL_TEXTS):
            rows += [("layer", str(layer), rule, whose, "neuron.described", 0.1 * layer) for layer in (1, 2, 3)]
    return pd.DataFrame(rows, columns=list(SWEEP_TABLE.columns))


def p_values() -> pd.DataFrame:
    kinds = [(split, labels) for split in ("calibration", "validation") for labels in ("observed", "shuffled_labels")]
    rows = [(*kind, p / 4, 0.1 + 0.1 * number) for kind in kinds for number, p in enumerate(range(4))]
    return pd.DataFrame(rows, columns=list(P_VALUE_TABLE.columns))


def associations(pairs: pd.DataFrame, validation: SplitContent, names: list[str]) -> pd.DataFrame:
    """Every pair's strength, the stronger the later, and what validation's exemplars say of it."""
    out = pairs[["layer", "index", "descriptor"]].reset_index(drop=True)
    tested = []
    for layer, index, name in out.itertuples(index=False):
        labels = validation.labels[:, names.index(name)]
        seen, known = labels[validation.rows[(layer - 1) * 20 + index]], labels[labels >= 0]
        count, drawn = int((seen == 1).sum()), int((seen >= 0).sum())
        tested.append((count, drawn, hypergeom.sf(count - 1, len(known), known.sum(), drawn)))
    named = ["validation_count", "validation_known", "validation_p"]
    out[named] = pd.DataFrame(tested, columns=named, index=out.index)
    for number, column in enumerate(list(ASSOCIATION_TABLE.columns)[len(out.columns) :]):
        out[column] = np.linspace(-0.3, 0.9, len(out)) + number / 1000
    return out


def aspects(names: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """An aspect more than descriptors, the last two of the same descriptor; and the confusion of all."""
    gold = [f"aspect <{number}>" for number in range(len(names) + 1)]
    rows = [(name, [*names, names[-1]][n], 0.9 - n / 10, 0.05, 0.3, 0.02, 90 - n) for n, name in enumerate(gold)]
    numbers = iter(range(1000))
    pairs = [(aspect, name, next(numbers)) for aspect in [*gold, ""] for name in [*names, ""]]
    return (
        pd.DataFrame(rows, columns=list(ASPECT_TABLE.columns)),
        pd.DataFrame(pairs, columns=list(CONFUSION_TABLE.columns)),
    )


def agreement(names: list[str]) -> pd.DataFrame:
    """Agreement with a language model that gave the last descriptor to no sentence."""
    positives = np.arange(len(names))[::-1]
    return pd.DataFrame(
        {"descriptor": names, "f1": 0.625 * (positives > 0), "chance": 0.125, "positives": positives, "sentences": 977}
    )


def a_negative_end(pairs: pd.DataFrame, calibration: SplitContent) -> NegativeEnd:
    """The pairs of other neurons, with other figures; exemplars are those of the neuron opposite, one has none."""
    own = pairs[["layer", "index", "descriptor", "composition", "lift", "q"]].iloc[::2].reset_index(drop=True)
    own["index"] = 19 - own["index"]
    figures = {"validation_count": 3, "validation_known": 4, "validation_p": np.linspace(0, 0.1, len(own))}
    rows, values = calibration.rows[::-1].copy(), -calibration.activations[::-1]
    rows[7] = -1
    return NegativeEnd(own.assign(**figures, pearson=-0.25), Pair(rows, rows), Pair(values, values))


def beyond(names: list[str], calibration: SplitContent, *, worded: bool = False) -> Beyond:
    """What the stages beyond the paper write: every number another, the last descriptor where chance would put it."""
    size, pairs = len(names), calibration.pairs[calibration.pairs["enrichment_assigned"]]
    generator = np.random.default_rng(5)

    def made(schema: TableSchema, rows: int, **given: Any) -> pd.DataFrame:
        numbers = {name: generator.random(rows) for name in schema.columns}
        whole = {name: np.arange(rows) + 3 for name, dtype in schema.columns.items() if dtype.startswith("int")}
        return pd.DataFrame(numbers | whole | given)[list(schema.columns)]

    layer, index = np.repeat([1, 2, 3], 20), np.tile(np.arange(20), 3)
    kinds = [CLASSES[neuron % 3] for neuron in range(60)]
    words = [[f"<i>word {neuron}</i>", names[0]][: 1 + neuron % 2] for neuron in range(60)]
    shares, pattern = [[0.5, 0.25][: len(own)] for own in words], np.where(layer > 1, "<b>-ing</b>", "")
    triggers = made(
        TRIGGER_TABLE, 60, **{"class": kinds}, layer=layer, index=index, validation_class=kinds[::-1], words=words,
        shares=shares, pattern=pattern,
    )  # fmt: skip
    ordered = [(one, other) for one in names for other in names if one != other]
    related = {"descriptor": [one for one, _ in ordered], "other": [other for _, other in ordered]}
    signs = np.where(generator.random(len(ordered)) < 0.5, -1, 1)
    relations = [made(RELATION_TABLE, len(ordered), **related) for _ in range(2)]
    relations[0]["z"] = 5 * signs * relations[0]["z"]
    relations[0]["pmi"] = np.nan
    causes = made(ABLATION_TABLE, size, descriptor=names)
    word = [name for name in causes if name.startswith("word_")]
    if not worded:
        causes[["words", *word]] = [0, *[np.nan] * len(word)]
    tokens = {name: [[f" <u>{name}", "b"]] * 60 for name in ("promoted", "suppressed")}
    tokens |= {f"{name}_logits": [[2.0, 1.0]] * 60 for name in tokens}
    nulls = {"writes.agreement": "permuted_rows", "ends.negative": "permuted_neurons"}
    nulls |= {"tokens.agreement": "permuted_neurons", "relations.polysemantic": "dealt_descriptors"}
    nulls |= {"transfer.replication": "unassigned_pairs", "ablation.share_specific": "exchangeable_sets"}
    return Beyond(
        triggers=triggers,
        relations=relations[0],
        relations_validation=relations[1],
        cofiring=made(
            COFIRING_TABLE,
            size - 1,
            descriptor=names[1:],
            ratio=np.where(np.arange(size - 1), np.linspace(0.5, 2, size - 1), np.nan),
        ),
        depth=made(DEPTH_TABLE, size - 1, descriptor=names[:-1]),
        transfer=made(TRANSFER_TABLE, size, descriptor=names, replication=[np.nan, *np.linspace(0.9, 0.1, size - 1)]),
        transfer_pairs=made(
            TRANSFER_PAIR_TABLE,
            len(pairs),
            **{name: pairs[name].to_numpy() for name in ("layer", "index", "descriptor")},
        ),
        ablation=causes,
        writes=made(WRITES_TABLE, 60, layer=layer, index=index, **tokens),
        written_pairs=made(
            WRITTEN_PAIR_TABLE,
            len(pairs),
            **{name: pairs[name].to_numpy() for name in ("layer", "index", "descriptor")},
            end=np.array(["positive", "negative"])[np.arange(len(pairs)) % 2],
            auroc=np.where(np.arange(len(pairs)), np.linspace(0.1, 0.9, len(pairs)), np.nan),
        ),
        negative=a_negative_end(pairs, calibration),
        judged=made(
            JUDGED_TABLE,
            5,
            whose=[*["given"] * 2, *["written"] * 3],
            layer=2,
            index=[0, 4, 4, 5, 7],
            description="<u>a text",
            descriptor=names[0],
            auroc_descriptor=[0.5, np.nan, 0.25, 0.25, 0.25],
        ),
        glosses=pd.DataFrame({"descriptor": names[:1], "description": ["<u>a gloss"]}),
        measures=beside({name: (null,) for name, null in nulls.items()}),
    )


def a_run(names: list[str], *, gold: bool = True, positives: float = 0.15, taught: bool = False) -> Content:
    """A run with planted neurons; positives: prevalence of every descriptor."""
    sides = []
    for seed in (1, 2):
        generator = np.random.default_rng(seed + 10)
        labels = (generator.random((150, len(names))) < positives).astype(np.int8)
        labels[generator.random(labels.shape) < 0.01] = -1
        labels[: len(HOSTILE)] = int(positives > 0)
        sides.append(a_side(labels, names, seed))
    calibration, validation = sides
    matched, confused = aspects(names)
    scores = np.linspace(1, 0, calibration.labels.size).reshape(calibration.labels.shape, order="F")
    return Content(
        layer=np.repeat([1, 2, 3], 20),
        index=np.tile(np.arange(20), 3),
        descriptors=[{"name": name, "members": [name, f"{name}s"]} for name in names],
        calibration=calibration,
        validation=validation,
        examples=select_clearest(calibration.labels, scores, 3),
        neighbours=find_neighbours(calibration.rows, validation.rows, 3),
        explained=[
            Explained(text, [(0, 1), (1, 4)], ["<i>aspect</i>"], [Guess(0, 0.85, 0.02, [0.1, -0.3], [(3, 2.0, 0.1)])])
            for text in HOSTILE[:2]
        ],
        consistency=consistency(),
        evaluation=evaluation(gold),
        p_values=p_values(),
        resplits=resplits(gold),
        sweeps=sweeps(gold),
        associations=associations(calibration.pairs, validation, names),
        aspects=matched if gold else matched.head(0),
        confusion=confused if gold else confused.head(0),
        beyond=beyond(names, calibration, worded=taught),
        agreement=agreement(names) if taught else agreement(names).head(0),
        rule=RULE,
        target="a/model",
        pooling="mean",
        units="inputs of layers.*.<down>",
        labellers=("embedding", "lexical"),
        encoder_is_target=True,
    )


NAMES = ["battery", "<b>noise</b>", "prix élevé", "$x^2$"]


@pytest.fixture(scope="module")
def run() -> Content:
    return a_run(NAMES)


@pytest.fixture(scope="module")
def files(run: Content) -> dict[str, bytes]:
    return build_report(run, exemplars=5)


@pytest.fixture(scope="module")
def page(files: dict[str, bytes]) -> str:
    return files["index.html"].decode()


def rendered(run: Content) -> str:
    """The page without the time that drawing takes."""
    nothing = dict.fromkeys(PLOTS, b"\x89PNG" + bytes(20))
    return render_page(run, series.tabulate_series(run), nothing, exemplars=2)


def without(run: Content, *nulls: str) -> Content:
    """A run in which some nulls or controls were not drawn."""
    kept = {name: getattr(run, name) for name in ("consistency", "evaluation")}
    swept = run.sweeps[~run.sweeps["neurons"].isin(nulls)]
    return replace(run, sweeps=swept, **{name: frame[~frame["null"].isin(nulls)] for name, frame in kept.items()})


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
    views = [*ids, "descriptors", "neurons", "map", "beyond", "try"]
    to_cards = ("#descriptor/", "#neuron/")
    assert {link for link in links if link[1:] not in views and not link.startswith(to_cards)} == set()
    return read


def test_what_comes_from_the_data_is_text(page: str) -> None:
    read = check_links(page)
    scripts = [attributes for tag, attributes in read.elements if tag == "script"]
    assert [attributes for attributes in scripts if attributes.get("type") != "application/gzip"] == [{}]
    assert {tag for tag, attributes in read.elements if "onerror" in attributes or "onmouseover" in attributes} == set()
    assert all(attributes.get("src", "data:") != "x" for _, attributes in read.elements)
    for text in ("<b>noise</b>", "aspect <0>"):
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
    assert build_report(a_run(NAMES), exemplars=5) == files


def test_pictures_carry_no_software_and_no_date(files: dict[str, bytes]) -> None:
    pictures = {name: content for name, content in files.items() if name.endswith(".png")}
    assert {name.removesuffix(".png") for name in pictures} == {*PLOTS, "map"}
    for picture in pictures.values():
        assert picture.startswith(b"\x89PNG")
        assert b"Software" not in picture
        assert b"tEXt" not in picture


def test_headline_figures_are_those_of_the_tables(run: Content) -> None:
    groups = headlines.make_headlines(run)
    assert [len(group.figures) for group in groups] == [4, 4, 4, 2, 3]
    first, key = groups[0].figures[0], "sentence.gold.precision_at_1"
    rows = run.evaluation[run.evaluation["measure"] == key].set_index("null")
    assert first.value == rows["value"].iloc[0]
    assert first.chance is not None
    assert first.chance.mean == rows["chance"][find_measure(key).chance]
    assert {name: level.mean for name, level in first.controls.items()} == dict(rows["chance"][list(CONTROLS)])
    values = [figure.value for group in groups for figure in group.figures]
    for name in ("oracle.sentence.recall_at_2", "jaccard", "second_opinion.survival"):
        assert run.scores[name].value in values
    described = run.scores["neuron.described"]
    assert described.value / 60 in values
    coverage = next(figure for group in groups for figure in group.figures if figure.name == "neuron.described")
    assert coverage.chance is not None
    assert coverage.chance.mean == described.levels[find_measure("neuron.described").chance].mean / 60
    titles = {figure.title for group in groups for figure in group.figures}
    assert "" not in titles
    assert titles <= {measure.title for measure in MEASURES}


def test_every_measure_stands_on_the_page_beside_its_nulls(run: Content, page: str) -> None:
    shown_tables = re.findall(
        r'<table class="measures">(.*?)</table>', page[page.index('id="all-measures"') :], re.DOTALL
    )
    assert len(shown_tables) == len(list(group_scores(run.scores)))
    found = 0
    for markup in shown_tables:
        columns = re.findall(r'<th scope="col">([^<]*)</th>', markup)
        for name, title, cells in re.findall(
            r"<code>([\w.]+)</code>(?:<small>([^<]*)</small>)?</th>((?:<td.*?</td>)+)", markup
        ):
            shown = dict(zip(columns[1:], re.findall(r"<td[^>]*>(.*?)</td>", cells), strict=True))
            own = run.scores[name]
            assert unescape(title) == find_measure(name).title
            marked = [shown for shown in re.findall(r'<td class="chance">(.*?)</td>', cells) if shown != "–"]
            assert [cell.partition("<")[0] for cell in marked] == [
                words.format_measure(level.mean, own.counts) for level in (own.chance,) if level
            ]
            assert shown["value"] == f"<b>{words.format_measure(own.value, own.counts)}</b>"
            for null, (called, _) in (NULL_TEXTS | CONTROL_TEXTS).items():
                if called in shown:
                    level = own.levels.get(null)
                    assert shown[called].partition("<")[0] == words.format_measure(level and level.mean, own.counts)
                    assert ("[" in shown[called]) == (level is not None and not own.counts)
                else:
                    assert null not in own.levels
            assert shown["adjusted"] == words.format_measure(own.adjusted)
            found += 1
    assert found == len(run.scores) > 25


def test_the_table_of_measures_is_read_as_written() -> None:
    found = collect_scores(evaluation(gold=True), {})
    assert not [name for name in found if "ceiling" in name]
    row = found["sentence.gold.precision_at_2"]
    table = evaluation(gold=True).set_index(["measure", "null"])
    assert row.ceiling == table.loc[("sentence.gold.ceiling_precision_at_2", ""), "value"]
    assert row.adjusted == table.loc[("sentence.gold.precision_at_2", "most_common"), "adjusted"]
    assert found["neuron.described"].adjusted is None
    assert found["descriptors.count"].levels == {}


def test_a_comparison_needs_more_than_chance() -> None:
    level = Level(0.5, 0.4, 0.56)
    assert [compare_levels(value, level) for value in (0.5, 0.55, 0.58, 0.6, 0.4, 0.37, 0.35)] == [0, 0, 0, 1, 0, 0, -1]


def with_directions(run: Content, sentences: float, neurons: float) -> Content:
    """A run whose random directions lie so far below its neurons."""
    frames = {}
    for name in ("consistency", "evaluation"):
        frame = getattr(run, name).copy()
        here, off = frame["null"] == "random_directions", sentences if name == "evaluation" else neurons
        frame.loc[here, "chance"] = frame.loc[here, "value"] - off * (1 if name == "evaluation" else frame["value"])
        frame.loc[here, "low"], frame.loc[here, "high"] = frame["chance"] - 0.01, frame["chance"] + 0.01
        frames[name] = frame
    return replace(run, **frames)


@pytest.mark.parametrize(
    ("sentences", "neurons", "said"),
    [(0.0, 0.2, "vote together, the neurons are tied"), (0.1, 0.2, "are ahead of"), (-0.1, 0.2, "behind")],
)
def test_neurons_are_told_from_random_directions_by_the_figures(
    run: Content, sentences: float, neurons: float, said: str
) -> None:
    other = with_directions(run, sentences, neurons)
    rows = controls.compare_controls(other)
    (told,) = controls.describe_controls(rows)
    assert said in told.partition("Taken one by one")[0]
    assert ("any directions" in told) == (sentences == 0)
    assert {row.verdicts["random_directions"] for row in rows if row.measure.name == "jaccard"} == {"ahead"}
    assert f"{run.scores['jaccard'].value:.3f} against" in told
    assert told in Reader(rendered(other)).text


def test_latents_are_told_from_the_neurons_of_their_layers(run: Content) -> None:
    frames = {}
    for name in ("consistency", "evaluation"):
        frame = getattr(run, name)
        neurons = frame[frame["null"] == "random_directions"].assign(null="target_neurons")
        off = 0.2 if name == "evaluation" else 0.0
        frames[name] = pd.concat([frame, neurons.assign(chance=neurons["value"] + off)])
    other = replace(run, **frames)
    rows = controls.compare_controls(other)
    assert {row.verdicts["target_neurons"] for row in rows if row.measure.name == "jaccard"} == {"tied"}
    told = controls.describe_controls(rows)[1]
    assert "On sentences, where all latents vote together, the latents are behind neurons (" in told
    assert "one by one, the latents are tied with neurons" in told
    text = Reader(rendered(other)).text
    assert told in text
    assert "Latents against controls" in text
    assert "latents against neurons" in text


def test_the_attained_error_is_chance_over_the_pairs_found(run: Content) -> None:
    pairs = run.scores["pairs"]
    error = pairs.levels["shuffled_labels"].mean / pairs.value
    said = headlines.describe_attained_error(run)
    assert f"an attained error of {words.format_percent(error)}" in said
    assert ("within the 5 %" in said) == (error <= 0.05)
    assert f"An alpha of {run.scores['calibrated_alpha'].value:.3f} would attain 5 %" in said
    assert "alpha" not in headlines.describe_attained_error(replace(run, rule=replace(run.rule, name="composition")))
    assert headlines.describe_attained_error(without(run, "shuffled_labels")) == ""


def test_examples_are_the_strongest_of_those_that_bear_it() -> None:
    labels = np.array([[1, 0], [1, 0], [0, 0], [1, 0]], dtype=np.int8)
    scores = np.array([[0.2, 9], [0.5, 9], [0.9, 9], [0.5, 9]])
    assert select_clearest(labels, scores, 2).tolist() == [[1, 3], [-1, -1]]


def test_plot_tables(run: Content) -> None:
    layers = series.tabulate_layers(run)
    pairs = run.validation.pairs[run.validation.pairs["enrichment_assigned"]]
    here = layers[layers["layer"] == 2].iloc[0]
    described = pairs[pairs["layer"] == 2]["index"].nunique()
    assert (here["described_on_validation"], here["validation"], here["neurons"]) == (described, described / 20, 20)
    assert here["untrained_target"] == 0.2
    assert here["random_exemplars"] == run.scores["neuron.described"].levels["random_exemplars"].mean / 60
    found = tabulate_carriers(run)
    assert (found[["layer_1", "layer_2", "layer_3"]].sum(axis=1) == found["neurons"]).all()
    assert found["neurons"].is_monotonic_decreasing
    own = series.tabulate_at_k(run).set_index("k").loc[2]
    gold, oracle = run.scores["sentence.gold.precision_at_2"], run.scores["oracle.sentence.precision_at_2"]
    assert own["precision"] == gold.value
    assert own["precision_random_directions"] == gold.levels["random_directions"].mean
    assert own["precision_oracle"] == oracle.value
    assert own["ceiling"] == gold.ceiling


def test_a_swept_setting_runs_in_order_and_stops_where_no_neuron_is_described(run: Content) -> None:
    threshold, exemplars = series.tabulate_sweep(run, "threshold"), series.tabulate_sweep(run, "exemplars")
    assert threshold["threshold"].tolist() == [0.1, 0.5, 0.9]
    assert exemplars["exemplars"].tolist() == [5, 10, 200]
    assert threshold["neuron_described_enrichment"].tolist() == [0.5, 0.4, 0]
    assert threshold["neuron_precision_at_1_composition"].isna().tolist() == [False, False, True]
    assert threshold["sentence_precision_at_1_composition"].tolist() == [0.5, 0.4, 0]
    assert (threshold["sentence_recall_at_2_enrichment_most_common"] == 0.01).all()


def test_histograms_of_p_stand_beside_a_flat_line(run: Content) -> None:
    table = series.tabulate_p_value_bins(run)
    assert table["p"].tolist() == [0, 0.25, 0.5, 0.75]
    assert table["validation_observed"].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert (table["uniform"] == 0.25).all()


def test_poolings_are_compared_where_there_are_several(run: Content, files: dict[str, bytes]) -> None:
    assert files["pooling.csv"].decode().splitlines()[1].startswith('"mean",')
    assert "pooling" not in series.tabulate_series(replace(run, sweeps=run.sweeps[run.sweeps["x"] != "max"]))


def test_the_plots_of_dvc_find_their_columns(files: dict[str, bytes]) -> None:
    drawn = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    for plot in drawn:
        if isinstance(plot, str):
            assert plot.removeprefix("report/") in files
        else:
            (shown,) = plot.values()
            for path, columns in shown["y"].items():
                header = set(pd.read_csv(io.BytesIO(files[path.removeprefix("report/")])))
                assert {shown["x"], *columns} <= header


def test_label_quality_says_what_the_tables_say(run: Content, page: str) -> None:
    matched = quality.list_aspect_rows(run.aspects)
    assert [aspect.precision for aspect in matched] == run.aspects["average_precision"].tolist()
    confused = quality.arrange_confusion(run.confusion, matched[:3])
    assert confused is not None
    assert confused.columns == NAMES[:3]
    rare = run.confusion["aspect"].isin(["aspect <3>", "aspect <4>"])
    total = run.confusion["sentences"][~rare].sum()
    assert sum(cell.sentences for _, cells in confused.rows for cell in cells) == total
    name, cells = confused.rows[1]
    row = run.confusion[run.confusion["aspect"] == name].set_index("descriptor")["sentences"]
    assert [cell.sentences for cell in cells] == [*row[NAMES[:3]], row[NAMES[3]], row[""]]
    assert [cell.best for cell in cells] == [False, True, False, False, False]
    assert sum(cell.share for cell in cells) == pytest.approx(1)
    assert confused.rows[-1][0] == ""
    assert page.count('<table class="confusion">') == page.count('<table class="aspects">') == 1


def test_a_corpus_without_gold_leads_with_what_holds_up() -> None:
    run = a_run(["battery", "noise"], gold=False)
    page = rendered(run)
    check_links(page)
    assert headlines.make_headlines(run)[0].title == "Replication and consistency"
    text = Reader(page).text.partition("Headline figures")[0]
    assert "aspect" not in text
    assert trust.select_trusted(run)[0].figure.name == "sentence.labels.precision_at_1"
    assert 'id="labels"' not in page
    at_k = series.tabulate_at_k(run)
    assert at_k["precision"].iloc[0] == run.scores["sentence.labels.precision_at_1"].value
    assert at_k["precision_oracle"].isna().all()


def test_no_described_neuron_and_a_single_descriptor() -> None:
    run = without(a_run(["battery"], gold=False, positives=0.0), *CONTROL_TEXTS)
    run = replace(run, sweeps=run.sweeps[run.sweeps["x"] != "max"])
    files = build_report(run, exemplars=2)
    page = files["index.html"].decode()
    check_links(page)
    assert not [name for name in files if name.startswith("pooling")]
    assert 'id="plot-pooling"' not in page
    assert files["layers.csv"].decode().splitlines()[1].startswith("1,20,0,0,0.0,0.0,")
    assert files["descriptors.csv"].decode().splitlines()[1] == '"battery",0,0.0,0,0,0,0'
    one = a_run(["battery"])
    assert "1 descriptor found" in check_links(rendered(one)).text


def test_the_composition_rule_shows_its_own_pairs(run: Content) -> None:
    other = replace(run, rule=replace(run.rule, name="composition"))
    pairs = run.calibration.pairs
    assert int(tabulate_carriers(other)["neurons"].sum()) == int(pairs["composition_assigned"].sum())
    assert f"at least 30 % of its {EXEMPLARS} strongest sentences" in rendered(other)


def test_it_is_said_where_the_labels_come_from(run: Content) -> None:
    assert "flatter" in headlines.make_headlines(run)[-1].note
    assert "flatter" not in headlines.make_headlines(replace(run, encoder_is_target=False))[-1].note
    words_only = headlines.make_headlines(replace(run, labellers=("lexical", "embedding")))
    assert "from words alone" in words_only[-1].note
    assert not [group.title for group in words_only if "flatter" in group.note]
    second = {group.title: group for group in headlines.make_headlines(run)}["Second labeller"]
    assert "words alone" in second.note
    assert "lower bound" in second.figures[0].sentence


def test_a_missing_null_is_not_invented(run: Content) -> None:
    bare = without(run, *NULL_TEXTS, *CONTROL_TEXTS)
    rare = replace(bare, consistency=bare.consistency.head(0), evaluation=run.evaluation[run.evaluation["null"] == ""])
    assert rendered(rare)
    some = without(run, "most_common", "random_exemplars", "shuffled_labels")
    assert headlines.make_headlines(some)[0].figures[0].chance is None
    assert trust.select_trusted(some)[0].figure.chance is None
    assert series.tabulate_at_k(some)["precision_most_common"].isna().all()
    assert series.tabulate_layers(some)["random_exemplars"].isna().all()


def test_without_controls_none_is_drawn(run: Content) -> None:
    plain = without(run, *CONTROL_TEXTS)
    page = rendered(plain)
    check_links(page)
    page = page.split("</style>")[1]
    for mark in ("andom directions", "ntrained model", 'class="ring', "not chance"):
        assert mark not in page, mark
    assert controls.compare_controls(plain) == []
    assert {trusted.clause for trusted in trust.select_trusted(plain)} == {""}
    assert series.tabulate_layers(plain)["random_directions"].isna().all()
    one = without(run, "random_directions")
    assert controls.describe_controls(controls.compare_controls(one)) == []
    assert "ntrained model" in rendered(one)


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
    assert words.format_percent(share) == shown


@pytest.mark.parametrize(
    ("p", "shown"),
    [(0.05, "0.050"), (1.0, "1.000"), (3.2e-21, "3 × 10⁻²¹"), (0.00096, "1 × 10⁻³"), (0.0, "< 10⁻³⁰⁰")],
)
def test_chance(p: float, shown: str) -> None:
    assert words.format_p(p) == shown


@pytest.mark.parametrize(("value", "shown"), [(0.314, "0.31"), (-0.2, "−0.20"), (-0.001, "0.00"), (1.0, "1.00")])
def test_signed(value: float, shown: str) -> None:
    assert words.format_signed(value) == shown


def test_an_interval_that_looks_like_its_mean_is_left_out() -> None:
    assert words.format_interval(0.1234, 0.1334, words.format_measure) == "[0.123, 0.133]"
    assert words.format_interval(0.1001, 0.1002, words.format_measure) == ""


def test_a_distilled_labellers_agreement_is_shown_beside_chance(run: Content) -> None:
    assert 'id="agreement"' not in build_report(run, exemplars=2)["index.html"].decode()
    page = build_report(replace(a_run(NAMES, taught=True), labellers=("distil", "lexical")), exemplars=2)
    text = page["index.html"].decode()
    shown = text[text.index('id="agreement"') : text.index('id="measures"')]
    assert "<b>0.625</b>" in shown
    assert "977" in shown
    assert "&lt;b&gt;noise&lt;/b&gt;" in shown
    assert "A language model labelled a sample" in text
