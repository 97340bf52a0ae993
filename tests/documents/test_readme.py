"""What the README and docs/method.md say is what was measured."""

import json
import re
import subprocess

import pytest

from descry.schemas.sweep import SWEEP_TABLE
from descry.storage.nesting import flatten
from descry.storage.tables import read_table
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
METHOD = (ROOT / "docs" / "method.md").read_text()
BEYOND = (ROOT / "docs" / "beyond.md").read_text()
SWEEPS = ROOT / "data" / "sweeps.parquet"


def committed(name: str) -> dict[str, float]:
    """The metrics of a file by their dotted names: of the working tree where the documents are being changed, else as
    committed, since on another kind of CPU `make` changes last bits."""

    def git(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *command], cwd=ROOT, text=True, capture_output=True, check=False)

    path = f"metrics/{name}.json"
    shown = git("show", f"HEAD:{path}")
    changing = shown.returncode or git("diff", "--quiet", "HEAD", "--", "README.md", "docs").returncode
    return flatten(json.loads((ROOT / path).read_text() if changing else shown.stdout))


def metrics() -> dict[str, float]:
    """Every metric that the tables of measures show."""
    return committed("evaluation") | committed("consistency")


def test_the_figures_beyond_the_paper_are_those_of_the_committed_run() -> None:
    measured = committed("beyond")
    row = r"^\|[^|]+\| `([a-z]+\.[a-z_.0-9]+)` \| ([-\d.,]+) \| ([-\d.,]+) \|(?: `(\w+)` \|)?$"
    for text, rows in ((README, 6), (BEYOND, 20)):
        found = re.findall(row, text[text.index("| `tokens.agreement`") - 100 :], re.MULTILINE)
        assert len(found) == rows
        for key, value, chance, null in found:
            assert value == figure(measured[key]), key
            nulls = [name for name in measured if name.startswith("null.") and name.split(".", 2)[2] == key]
            assert [chance] == [figure(measured[name]) for name in nulls if not null or f".{null}." in name], key


def figure(value: float) -> str:
    return f"{round(value):,}" if abs(value) > 1 else f"{value + 0.0:.3f}"


def test_the_reviews_of_others_are_as_the_benchmark_found_them() -> None:
    rows = re.findall(
        r"^\| `(\w+)`[^|]*\| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| (\d+) % \|", BEYOND, re.M
    )
    found = json.loads((ROOT / "benchmarks/results/transfer.json").read_text())
    assert {name for name, *_ in rows} == set(found)
    for name, *said in rows:
        own = found[name]
        share = f"{100 * own['descriptors_5_times']:.0f}"
        three = [f"{own[key]:.3f}" for key in ("replication", "unassigned")]
        assert said == [
            f"{own['sentences']:,}",
            *three,
            f"{own['times']:.1f}",
            f"{own['strongest_replication']:.3f}",
            share,
        ]


CHANCE = {
    "jaccard": "jaccard_null",
    "replication": "replication_null",
    "second_opinion.survival": "null.permuted_neurons.second_opinion.survival",
    "descriptors.mean_best_ap": "null.shuffled_labels.descriptors.mean_best_ap",
    "neuron.described": "null.shuffled_labels.neuron.described",
}
"""What stands for chance where it is not always naming the most common descriptors."""


def shown(key: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{round(value):,}" if key == "neuron.described" else f"{value:.3f}"


def check_table(text: str, rows: int) -> None:
    """Every row `| words | measure | value | chance | random directions |` of a document."""
    found = re.findall(r"^\|[^|]+\| `([^`]+)` \| ([\d.,]+) \| ([\d.,]*) ?\| ([\d.,]*) ?\|", text, re.MULTILINE)
    assert len(found) == rows
    measured = metrics()
    for key, *figures in found:
        chance = measured.get(CHANCE.get(key, f"null.most_common.{key}"))
        directions = measured.get(f"null.random_directions.{key}")
        assert figures == [shown(key, value) for value in (measured[key], chance, directions)], key


def test_the_figures_are_those_of_the_committed_run() -> None:
    check_table(README, 12)
    check_table(METHOD, 7)


@pytest.mark.skipif(not SWEEPS.is_file(), reason="the sweeps are not at hand: run `dvc repro` or `dvc pull`")
def test_the_papers_rule_is_shown_as_measured() -> None:
    rows = re.findall(r"^\|[^|]+\| `([^`]+)` \|.*\| ([\d.]+) \| ([\d.]+ %|–) \|$", METHOD, re.MULTILINE)
    table = read_table(SWEEPS, SWEEP_TABLE)
    table = table[(table["sweep"] == "threshold") & (table["rule"] == "composition") & (table["x"] == "0.1")]
    measured = table[table["neurons"] == "target"].set_index("measure")["value"]
    assert len(rows) == 7
    for key, value, _ in rows:
        assert value == f"{measured[key]:.3f}", key


def test_the_planted_neurons_are_as_the_benchmark_found_them() -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "planted.json").read_text())
    said = README[README.index("**Known answers.**") :]
    surgery, synthetic = found["surgery"], found["synthetic"]
    assert f"{surgery['planted']} neurons planted" in said
    assert f"the probes of {len(surgery['aspects'])} aspects are all named" in said
    assert surgery["gold_first"] == surgery["gold_first_validation"] == 1.0
    assert surgery["max_output_change"] == 0.0
    assert f"{100 * synthetic['recall']:.1f} % of the planted pairs" in said
    assert f"{100 * synthetic['fdr']:.1f} % of\nwhat is found is false" in said


def test_the_two_commands_and_what_it_links_to_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^make (\w+)", README, re.MULTILINE):
        assert f"\n{target}:" in makefile
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("name", ["layers", "at_k"])
def test_the_pictures_are_those_of_the_committed_run(name: str) -> None:
    drawn = ROOT / "report" / f"{name}.png"
    if not drawn.is_file():
        pytest.skip("the report is not at hand: run `dvc repro` or `dvc pull`")
    assert (ROOT / "docs/images" / f"{name}.png").read_bytes() == drawn.read_bytes(), "run `make docs`"
