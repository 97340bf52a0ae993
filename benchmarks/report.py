"""How fast is the page, for the committed run and for a synthetic one of 36,864 neurons and 300 descriptors?

Run: python -m benchmarks.report [folder of a finished run]. Writes benchmarks/results/report.json. The synthetic run
has 20,000 sentences per split, of random words as long as English ones; each neuron prefers a few descriptors, has 10
exemplars of each split with values per token, and a probe of 1,000 sentences; tables of measures, whose size does not
depend on the run, are taken from the committed run. Measured in headless Chromium, offline, with the page opened from
disk: `open_seconds` from the start of the navigation until the overview is drawn, `neurons_seconds` until the table of
all neurons is, `neuron_seconds` until the card of one is complete, each the median of 5; `search_ms` from a key press
to the drawn result, the median of 12 searches, and `slowest_search_ms`, their maximum.
"""

import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from playwright.sync_api import sync_playwright

from descry.activations.neighbours import find_neighbours
from descry.activations.token_words import TokenReadings
from descry.analyses.triggers import CLASSES
from descry.assignment.evidence import gather_evidence
from descry.assignment.false_discovery import log_p
from descry.assignment.rules import RULES, Rule, assign_by, tabulate_assignments
from descry.report.build import build_report
from descry.report.content import Beyond, Content, SplitContent, select_clearest
from descry.schemas.ablate import ABLATION_TABLE
from descry.schemas.associate import ASSOCIATION_TABLE
from descry.schemas.consistency import P_VALUE_TABLE
from descry.schemas.depth import DEPTH_TABLE
from descry.schemas.describe import GLOSS_TABLE
from descry.schemas.evaluate import ASPECT_TABLE, CONFUSION_TABLE
from descry.schemas.judge import JUDGED_TABLE
from descry.schemas.label import AGREEMENT_TABLE
from descry.schemas.measures import MEASURE_TABLE
from descry.schemas.relations import COFIRING_TABLE, RELATION_TABLE
from descry.schemas.replicate import TRANSFER_PAIR_TABLE, TRANSFER_TABLE
from descry.schemas.resplit import RESPLIT_TABLE
from descry.schemas.sweep import SWEEP_TABLE
from descry.schemas.triggers import TRIGGER_TABLE
from descry.schemas.writes import WRITES_TABLE, WRITTEN_PAIR_TABLE
from descry.storage.files import write_json
from descry.storage.schema import TableSchema
from descry.storage.tables import read_table

NEURONS, LAYERS, DESCRIPTORS, SENTENCES, EXEMPLARS, READ, PROBE = 36_864, 12, 300, 20_000, 100, 10, 1_000
SHOWN = 8
SEARCHES = (
    "b",
    "ba",
    "descriptor 7",
    "descriptor 123",
    "12:",
    "3:77",
    "descriptor",
    "9",
    "zz",
    "29",
    "descriptor 29",
    "1",
)
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def words(generator: np.random.Generator, count: int) -> list[str]:
    """Draw sentences of 5 to 30 random words."""
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    vocabulary = ["".join(generator.choice(letters, size)) for size in generator.integers(2, 10, 5000)]
    return [" ".join(generator.choice(vocabulary, size)) for size in generator.integers(5, 31, count)]


def side(generator: np.random.Generator, wanted: np.ndarray) -> tuple[SplitContent, np.ndarray]:
    """Make a split whose neurons prefer the descriptors in `wanted`, int [neurons, n]; returns also its exemplars."""
    prevalence = np.geomspace(1e-3, 0.1, DESCRIPTORS)
    labels = (generator.random((SENTENCES, DESCRIPTORS)) < prevalence).astype(np.int8)
    bearing = [np.flatnonzero(labels[:, column]) for column in range(DESCRIPTORS)]
    rows = generator.integers(0, SENTENCES, (NEURONS, EXEMPLARS), dtype=np.int32)
    for neuron, columns in enumerate(wanted):
        for place, column in enumerate(columns):
            rows[neuron, place :: 2 * len(columns)] = generator.choice(
                bearing[column], len(rows[0, place :: 2 * len(columns)])
            )
    layer, index = np.divmod(np.arange(NEURONS), NEURONS // LAYERS)
    names = [f"descriptor {number}" for number in range(DESCRIPTORS)]
    findings = assign_by(RULES, gather_evidence(rows, labels), Rule())
    pairs = tabulate_assignments(findings, layer + 1, index, names)
    texts = words(generator, SENTENCES)
    spans = [np.cumsum([0, *(len(word) + 1 for word in text.split())]) for text in texts]
    own = np.unique(rows[:, :READ])
    lengths = np.array([len(spans[row]) - 1 for row in own], dtype=np.int32)
    start = np.concatenate([spans[row][:-1] for row in own]).astype(np.int32)
    stop = np.concatenate([spans[row][1:] - 1 for row in own]).astype(np.int32)
    sizes = int(lengths[np.searchsorted(own, rows[:, :READ])].sum())
    on_tokens = (generator.normal(0, 1, sizes) ** 3).clip(-0.17, None).astype(np.float16)
    return SplitContent(
        sentences=pd.DataFrame(
            {"review_id": [f"r{row // 5}" for row in range(SENTENCES)], "product": "", "text": texts}
        ),
        labels=labels,
        rows=rows,
        activations=-np.sort(-generator.exponential(1, rows.shape).astype(np.float32), axis=1),
        mean=np.zeros(NEURONS, np.float32),
        probe=(generator.normal(0, 1, (PROBE, NEURONS)) ** 3).clip(-0.17, 8).astype(np.float16),
        read=TokenReadings(own.astype(np.int32), lengths, start, stop, rows[:, :READ], on_tokens),
        pairs=pairs,
    ), rows


def beyond(
    generator: np.random.Generator,
    names: list[str],
    layer: np.ndarray,
    index: np.ndarray,
    pairs: pd.DataFrame,
    read: Callable[[str, TableSchema], pd.DataFrame],
) -> Beyond:
    """Make random tables of the analyses beyond the paper, for every neuron, descriptor and pair."""

    def made(schema: TableSchema, rows: int, **given: Any) -> pd.DataFrame:
        numbers = {name: generator.random(rows) for name in schema.columns}
        whole = {name: np.arange(rows) for name, dtype in schema.columns.items() if dtype.startswith("int")}
        return pd.DataFrame(numbers | whole | given)[list(schema.columns)]

    listed = np.array(words(generator, 1)[0].split() * 40)[:200]
    own, shares = listed[generator.integers(0, len(listed), (NEURONS, 5))].tolist(), generator.random((NEURONS, 5))
    kinds = np.array(CLASSES)[generator.integers(0, 3, NEURONS)]
    one, other = np.nonzero(~np.eye(len(names), dtype=bool))
    both = {"descriptor": np.array(names)[one], "other": np.array(names)[other]}
    measured = ("triggers", "relations", "depth", "replication", "ablation")
    drives = {
        "class": kinds,
        "validation_class": kinds,
        "words": own,
        "shares": shares.tolist(),
    }
    return Beyond(
        triggers=made(TRIGGER_TABLE, NEURONS, layer=layer, index=index, pattern="", **drives),
        relations=made(RELATION_TABLE, len(one), **both),
        relations_validation=made(RELATION_TABLE, len(one), **both),
        cofiring=made(COFIRING_TABLE, len(names), descriptor=names),
        depth=made(DEPTH_TABLE, len(names), descriptor=names),
        transfer=made(TRANSFER_TABLE, len(names), descriptor=names),
        transfer_pairs=made(
            TRANSFER_PAIR_TABLE, len(pairs), **pairs[["layer", "index", "descriptor"]].to_dict("series")
        ),
        ablation=made(ABLATION_TABLE, len(names), descriptor=names),
        writes=made(WRITES_TABLE, 0),
        written_pairs=made(WRITTEN_PAIR_TABLE, 0),
        negative=None,
        judged=made(JUDGED_TABLE, 0),
        glosses=made(GLOSS_TABLE, 0),
        measures=pd.concat([read(f"{name}/measures.parquet", MEASURE_TABLE) for name in measured], ignore_index=True),
    )


def made_up(committed: Path) -> Content:
    """Make a synthetic run of the size of BERT-base."""
    generator = np.random.default_rng(0)
    wanted = generator.integers(0, DESCRIPTORS, (NEURONS, 4))
    (own, rows), (other, there) = (side(generator, wanted) for _ in range(2))
    names = [f"descriptor {number}" for number in range(DESCRIPTORS)]
    found = own.pairs.loc[own.pairs["enrichment_assigned"], ["layer", "index", "descriptor"]].reset_index(drop=True)
    strengths = list(ASSOCIATION_TABLE.columns)[6:]
    found[strengths] = generator.uniform(-0.1, 0.6, (len(found), len(strengths)))
    place = (
        (found["layer"] - 1) * (NEURONS // LAYERS) + found["index"],
        found["descriptor"].str.split().str[1].astype(int),
    )
    evidence = gather_evidence(there, other.labels)
    found["validation_count"], found["validation_known"] = evidence.counts[place], evidence.known[place]
    found["validation_p"] = np.exp(log_p(evidence)[place])
    layer, index = np.divmod(np.arange(NEURONS), NEURONS // LAYERS)

    def read(name: str, schema: TableSchema) -> pd.DataFrame:
        return read_table(committed / "data" / name, schema)

    return Content(
        layer=(layer + 1).astype(np.int16),
        index=index.astype(np.int32),
        descriptors=[{"name": name, "members": [f"{name} {word}" for word in "abcdef"]} for name in names],
        calibration=own,
        validation=other,
        examples=select_clearest(own.labels, generator.random(own.labels.shape), 3),
        neighbours=find_neighbours(rows[:, :50], there[:, :50], 6),
        explained=[],
        consistency=read("consistency/measures.parquet", MEASURE_TABLE),
        evaluation=read("evaluation/measures.parquet", MEASURE_TABLE),
        p_values=read("consistency/p_values.parquet", P_VALUE_TABLE),
        resplits=read("resplits.parquet", RESPLIT_TABLE),
        sweeps=read("sweeps.parquet", SWEEP_TABLE),
        associations=found,
        beyond=beyond(generator, names, layer + 1, index, found, read),
        aspects=read("evaluation/aspects.parquet", ASPECT_TABLE).head(0),
        confusion=read("evaluation/confusion.parquet", CONFUSION_TABLE).head(0),
        agreement=pd.DataFrame(columns=list(AGREEMENT_TABLE.columns)),
        rule=Rule(exemplars=EXEMPLARS, tau=0.1),
        target="made up",
        pooling="mean",
        units="inputs of layers.*.down_proj",
        labellers=("embedding", "lexical"),
        encoder_is_target=False,
    )


DRAWN = "new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(performance.now()))))"
SEARCH = f"""async (text) => {{
  const field = document.getElementById("find-neuron");
  const start = performance.now();
  field.value = text;
  field.dispatchEvent(new Event("input", {{ bubbles: true }}));
  return await {DRAWN} - start;
}}"""


def opened(browser: Any, address: str, wait: Callable[[Any], None]) -> float:
    """Time a navigation, in seconds, until what `wait` waits for is there and the page is drawn."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(address, wait_until="commit")
    wait(page)
    seconds = float(page.evaluate(DRAWN)) / 1000
    context.close()
    return seconds


def measured(browser: Any, page: Path) -> dict[str, float]:
    """Measure one page."""
    address = page.resolve().as_uri()
    views = {
        "open_seconds": ("", ".plots img >> nth=0"),
        "neurons_seconds": ("#neurons", "#stage tbody tr >> nth=0"),
        "neuron_seconds": ("#neuron/2:5", ".histogram svg"),
    }
    out = {}
    for name, (view, there) in views.items():
        times = [
            opened(browser, address + view, lambda at, there=there: at.locator(there).wait_for()) for _ in range(5)
        ]
        out[name] = round(statistics.median(times), 3)
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    at = context.new_page()
    at.goto(f"{address}#neurons")
    at.locator("#stage tbody tr >> nth=0").wait_for()
    times = [at.evaluate(SEARCH, text) for text in SEARCHES]
    context.close()
    out["search_ms"] = round(statistics.median(times), 1)
    out["slowest_search_ms"] = round(max(times), 1)
    out["megabytes"] = round(page.stat().st_size / 1e6, 2)
    return out


def main() -> None:
    committed = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        run = made_up(committed)
        began = perf_counter()
        large = Path(folder) / "index.html"
        large.write_bytes(build_report(run, exemplars=SHOWN)["index.html"])
        seconds = perf_counter() - began
        browser = started.chromium.launch(executable_path=CHROMIUM, args=options)
        content = {
            "default": measured(browser, committed / "report/index.html"),
            "made_up": measured(browser, large) | {"build_seconds": round(seconds, 1)},
            "neurons": NEURONS,
            "descriptors": DESCRIPTORS,
            "pairs": len(run.assigned.calibration),
        }
        browser.close()
    write_json(Path("benchmarks/results/report.json"), content)
    for name in content["default"]:
        print(f"{name:18} default {content['default'][name]:10,}   36,864 x 300 {content['made_up'][name]:10,}")


if __name__ == "__main__":
    main()
