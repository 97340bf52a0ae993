"""How fast is the page, for the committed run and for a made-up one of 36,864 neurons and 300 descriptors?

Run by itself: python benchmarks/report.py [folder]. Writes benchmarks/results/report.json. The made-up run has 20,000
sentences a split, of random words as long as English ones; each neuron prefers a few descriptors, reads 10 exemplars of
each split token by token and has a probe of 1,000 sentences; tables of measures, which do not grow, are the committed
run's. In headless Chromium, opened from disk offline: `open_seconds` is from the start of the navigation until the
overview is drawn, `neurons_seconds` until the table of all neurons is, `neuron_seconds` until the card of one is
complete, each the median of 5; `search_ms` from a key to the drawn result, the median and the slowest of 12 searches.
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
from descry.assignment import assign_by, gather_evidence, log_p, tabulate_assignments
from descry.report.build import build_report
from descry.report.content import Beyond, Content, SplitContent, select_clearest
from descry.storage.files import write_json
from descry.storage.schema import TABLES
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
    """Sentences of 5 to 30 words."""
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxz"))
    vocabulary = ["".join(generator.choice(letters, size)) for size in generator.integers(2, 10, 5000)]
    return [" ".join(generator.choice(vocabulary, size)) for size in generator.integers(5, 31, count)]


def side(generator: np.random.Generator, wanted: np.ndarray) -> tuple[SplitContent, np.ndarray]:
    """A split whose neurons prefer the descriptors in `wanted`, int [neurons, n]; and the exemplars of its pairs."""
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
    pairs = tabulate_assignments(
        assign_by(("enrichment", "composition"), gather_evidence(rows, labels)), layer + 1, index, names
    )
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
    read: Callable[[str, str], pd.DataFrame],
) -> Beyond:
    """What goes beyond descriptors of sentences, of every neuron, descriptor and pair."""

    def made(kind: str, rows: int, **given: Any) -> pd.DataFrame:
        numbers = {name: generator.random(rows) for name in TABLES[kind]}
        whole = {name: np.arange(rows) for name, dtype in TABLES[kind].items() if dtype.startswith("int")}
        return pd.DataFrame(numbers | whole | given)[list(TABLES[kind])]

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
        triggers=made("triggers", NEURONS, layer=layer, index=index, pattern="", **drives),
        relations=made("relations", len(one), **both),
        relations_there=made("relations", len(one), **both),
        depth=made("depth", len(names), descriptor=names),
        transfer=made("transfer", len(names), descriptor=names),
        transfer_pairs=made("transfer_pairs", len(pairs), **pairs[["layer", "index", "descriptor"]].to_dict("series")),
        ablation=made("ablation", len(names), descriptor=names),
        measures=pd.concat([read(f"{name}/measures.parquet", "measures") for name in measured], ignore_index=True),
    )


def made_up(committed: Path) -> Content:
    """A run of the size of BERT-base."""
    generator = np.random.default_rng(0)
    wanted = generator.integers(0, DESCRIPTORS, (NEURONS, 4))
    (own, rows), (other, there) = (side(generator, wanted) for _ in range(2))
    names = [f"descriptor {number}" for number in range(DESCRIPTORS)]
    found = own.pairs.loc[own.pairs["enrichment_assigned"], ["layer", "index", "descriptor"]].reset_index(drop=True)
    strengths = list(TABLES["associations"])[6:]
    found[strengths] = generator.uniform(-0.1, 0.6, (len(found), len(strengths)))
    place = (
        (found["layer"] - 1) * (NEURONS // LAYERS) + found["index"],
        found["descriptor"].str.split().str[1].astype(int),
    )
    evidence = gather_evidence(there, other.labels)
    found["validation_count"], found["validation_known"] = evidence.counts[place], evidence.known[place]
    found["validation_p"] = np.exp(log_p(evidence)[place])
    layer, index = np.divmod(np.arange(NEURONS), NEURONS // LAYERS)

    def read(name: str, kind: str) -> pd.DataFrame:
        return read_table(committed / "data" / name, kind)

    return Content(
        layer=(layer + 1).astype(np.int16),
        index=index.astype(np.int32),
        descriptors=[{"name": name, "members": [f"{name} {word}" for word in "abcdef"]} for name in names],
        calibration=own,
        validation=other,
        examples=select_clearest(own.labels, generator.random(own.labels.shape), 3),
        neighbours=find_neighbours(rows[:, :50], there[:, :50], 6),
        compared=50,
        explained=[],
        consistency=read("consistency/measures.parquet", "measures"),
        evaluation=read("evaluation/measures.parquet", "measures"),
        p_values=read("consistency/p_values.parquet", "p_values"),
        sweeps=read("sweeps.parquet", "sweeps"),
        associations=found,
        beyond=beyond(generator, names, layer + 1, index, found, read),
        aspects=read("evaluation/aspects.parquet", "aspects").head(0),
        confusion=read("evaluation/confusion.parquet", "confusion").head(0),
        agreement=pd.DataFrame(columns=list(TABLES["agreement"])),
        rule={"rule": "enrichment", "alpha": 0.05, "min_lift": 1.5, "min_count": 3, "tau": 0.1, "exemplars": EXEMPLARS},
        target="made up",
        pooling="mean",
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
    """Seconds from the start of a navigation until the page is drawn, and what it waits for is there."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(address, wait_until="commit")
    wait(page)
    seconds = float(page.evaluate(DRAWN)) / 1000
    context.close()
    return seconds


def measured(browser: Any, page: Path) -> dict[str, float]:
    """The figures of one page."""
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
            "pairs": len(run.found.calibration),
        }
        browser.close()
    write_json(Path("benchmarks/results/report.json"), content)
    for name in content["default"]:
        print(f"{name:18} default {content['default'][name]:10,}   36,864 x 300 {content['made_up'][name]:10,}")


if __name__ == "__main__":
    main()
