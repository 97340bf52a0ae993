"""What README.md, docs/ and CONTRIBUTING.md say is what was measured, and what they name exists."""

import json
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import load_yaml

import descry
from descry.results.layout import SWEEPS
from descry.results.noise import judge_gap
from descry.schemas.sweep import SWEEP_TABLE
from descry.storage.nesting import flatten
from descry.storage.tables import read_table
from docs import examples, tables
from tests.conftest import ROOT
from tests.results.test_run import needs_a_run

DOCUMENTS = ("README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))))
TEXTS = {name: (ROOT / name).read_text() for name in DOCUMENTS}
MAKEFILE = (ROOT / "Makefile").read_text()


def flow(text: str) -> str:
    """A text without its line breaks."""
    return " ".join(text.split())


def git(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *command], cwd=ROOT, text=True, capture_output=True, check=False)


@cache
def committed(path: str) -> Any:
    """A JSON file: of the working tree where the documents are being changed, else as committed, since on another kind
    of CPU `make` changes last bits."""
    shown = git("show", f"HEAD:{path}")
    changing = shown.returncode or git("diff", "--quiet", "HEAD", "--", "README.md", "docs").returncode
    return json.loads((ROOT / path).read_text() if changing else shown.stdout)


def row(name: str) -> dict[str, float]:
    """A row of `dvc metrics show`."""
    found: dict[str, float] = committed(f"metrics/{name}.json")
    return found


def detail(name: str) -> dict[str, float]:
    """A file of further metrics, by dotted name."""
    return flatten(committed(f"metrics/detail/{name}.json"))


def benchmark(name: str) -> Any:
    """A benchmark's results."""
    return committed(f"benchmarks/results/{name}.json")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_tables_are_made_of_the_committed_figures(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert tables.fill(TEXTS[name], committed) == TEXTS[name], "run `make docs`"


def test_every_table_has_its_place() -> None:
    placed = [name for text in TEXTS.values() for name in re.findall(r"<!-- table: (\w+) -->", text)]
    assert sorted(placed) == sorted(tables.TABLES)
    assert sum(text.count("<!-- end -->") for text in TEXTS.values()) == len(placed)


def percent(value: float, digits: int = 0) -> str:
    return f"{100 * value:.{digits}f} %"


def quotes() -> Iterator[tuple[str, str]]:
    """Every sentence that quotes a figure: the document, and the words with the figure in them."""
    neurons, chance, directions = row("neurons"), row("chance"), row("random_directions")
    consistency, evaluation, beyond = detail("consistency"), detail("evaluation"), detail("beyond")
    planted, transfer, ray, speed = (benchmark(name) for name in ("planted", "transfer", "ray", "extract"))
    surgery, synthetic, opinosis = planted["surgery"], planted["synthetic"], transfer["opinosis"]
    replication, first = neurons["replication"], neurons["precision_at_1"]
    reviews = len((ROOT / "data/reviews.jsonl").read_text().splitlines())

    yield "README.md", f"{percent(replication)} of the neuron–descriptor pairs are found again"
    yield "README.md", f"(chance: {percent(chance['replication'])})"
    yield "README.md", f"right in {percent(first)} of the cases (chance: {percent(chance['precision_at_1'])};"
    yield "README.md", f"random directions, see below: {percent(directions['precision_at_1'])})"
    yield "README.md", f"permutation measures {percent(consistency['attained_error'], 1)}"
    yield "README.md", f"All {surgery['planted']} neurons planted"
    yield "README.md", f"{percent(surgery['labels_first'])} of them with descry's own labels"
    yield "README.md", f"on {reviews} product reviews"

    yield "docs/method.md", f"is {consistency['attained_error']:.3f} of the number of findings"
    yield "docs/method.md", f"{consistency['calibrated_alpha']:.4f} for this run"
    yield "docs/method.md", f"descry describes {neurons['described']:,} of 9,216 feed-forward neurons"
    yield "docs/method.md", f"by {evaluation['descriptors.count']} descriptors at a false discovery rate"
    yield "docs/method.md", f"({percent(consistency['attained_error'], 1)} by permutation)"
    yield "docs/method.md", f"{percent(replication)} replicate on reviews not used to find them"
    yield "docs/method.md", f"against {percent(chance['replication'])} with neurons paired at random"
    yield "docs/method.md", f"and {percent(consistency['replication_unassigned'])} among pairs not assigned"
    yield "docs/method.md", f"is right in {percent(first)} of the cases"
    yield "docs/method.md", f"against {percent(chance['precision_at_1'])} for the most common aspect"
    yield (
        "docs/method.md",
        f"reach {percent(directions['precision_at_1'])}, and {percent(directions['replication'])} replication, "
        "both ties",
    )
    yield "docs/method.md", f"{synthetic['dropped']['0.5']['recall']:.3f} of the pairs are found"
    yield "docs/method.md", f"names all {surgery['planted']} by their aspect first"
    yield (
        "docs/method.md",
        f"{surgery['labels_first']:.3f} of the neurons of the {len(surgery['labels_first_aspects'])}",
    )
    yield "docs/method.md", f"AUROC of {surgery['planted_over_decoys_auroc']:.3f} on calibration and"
    yield "docs/method.md", f"and {surgery['planted_over_decoys_auroc_validation']:.3f} on validation"
    yield "docs/method.md", f"{surgery['decoy_rate']:.3f} of the random directions have one"
    yield "docs/method.md", f"and {surgery['neuron_rate']:.3f} of the model's own neurons"

    polysemantic = beyond["relations.polysemantic"] / evaluation["neuron.described"]
    yield "docs/beyond.md", f"yet {percent(polysemantic)} of the described ones are polysemantic"
    yield "docs/beyond.md", f"account for {percent(beyond['ablation.separation_own_loss'])} of it"
    guess, two = opinosis["gold_precision_at_1"], opinosis["gold_recall_at_2"]
    yield "docs/beyond.md", f"right for {guess:.3f} of the sentences ({opinosis['gold_precision_at_1_chance']:.3f} for"
    yield "docs/beyond.md", f"{two:.3f} of the topics ({opinosis['gold_recall_at_2_chance']:.3f})"

    presets, names = benchmark("presets"), benchmark("smollm")["descriptors_ap"]
    model, there, retrieval, union = (names[way] for way in ("model", "retrieval_there", "retrieval", "union"))
    smollm, decoder = (presets[name]["measures"] for name in ("smollm", "decoder"))
    second, survival = (smollm[f"second_opinion.{name}"] for name in ("mean_best_ap", "survival"))
    gold, described, agreed = (decoder[n] for n in ("sentence.gold.precision_at_1", "neuron.described", "jaccard"))
    ends = {end: decoder[f"ends.{end}"]["value"] for end in ("positive", "negative", "both")}
    yield "README.md", f"({percent(model['aspects'])} against {percent(there['aspects'])})"
    yield "README.md", f"confirms {percent(survival['value'])} of the pairs (chance: {percent(survival['chance'])})"
    yield "README.md", f"do, {percent(gold['value'])} against {percent(gold['random_directions'])}"
    yield "docs/llms.md", f"of its {model['descriptors']} names, {percent(model['aspects'])} are an aspect's"
    yield "docs/llms.md", f"precision of {model['mean_best_ap']:.3f} with its names, {there['mean_best_ap']:.3f} with"
    yield (
        "docs/llms.md",
        f"{retrieval['mean_best_ap']:.3f} with all of retrieval's and {union['mean_best_ap']:.3f} with",
    )
    yield "docs/llms.md", f"The second opinion has {second['value']:.3f}"
    quality = benchmark("smollm")["labels_ap"]
    three = [f"{quality[way]:.3f}" for way in ("likelihood", "embedding", "together")]
    yield "docs/llms.md", f"the three are {three[0]}, {three[1]} and {three[2]}"
    yield "docs/beyond.md", f"{described['value']:,.0f} have a descriptor"
    yield "docs/beyond.md", f"(random directions {described['random_directions']:,.0f})"
    yield "docs/beyond.md", f"{percent(ends['negative'], 1)} of the neurons have a descriptor there"
    yield "docs/beyond.md", f"{percent(ends['positive'], 1)} at the positive end"
    yield "docs/beyond.md", f"{percent(ends['both'], 1)} at both"
    for end in ("", "negative_"):
        found = decoder[f"writes.{end}agreement"]
        yield "docs/beyond.md", f"{found['value']:.3f} ({found['chance']:.3f}"
    for found in (gold, agreed, decoder["replication"], decoder["neuron.precision_at_1"]):
        yield "docs/beyond.md", f"{found['value']:.3f} against {found['random_directions']:.3f}"

    yield "docs/scaling.md", f"**{ray['speedup_2_workers']:.2f} times** as fast"
    yield "docs/scaling.md", f"`extract` at {speed['of_matmul_rate']:.2f} of that"
    yield "docs/scaling.md", f"has {speed['tokens'] / speed['sentences']:.1f} tokens"
    for size in ray["merge"].values():
        yield "docs/scaling.md", f"{size['seconds_for_1000']:.0f} s"


@pytest.mark.parametrize(("document", "words"), list(quotes()))
def test_a_quoted_figure_is_as_measured(document: str, words: str) -> None:
    assert flow(words) in flow(TEXTS[document])


def test_what_is_said_without_figures_holds() -> None:
    neurons, directions, untrained = (row(name) for name in ("neurons", "random_directions", "untrained"))
    # README: directions predict as well, but fewer are described and their descriptions agree less
    std = row("split_std")
    verdicts = {name: judge_gap(neurons[name], directions[name], std[name]) for name in directions if name in std}
    assert {name for name, verdict in verdicts.items() if verdict == "tied"} == {
        "precision_at_1",
        "recall_at_2",
        "replication",
    }
    assert verdicts["described"] == verdicts["jaccard"] == verdicts["neuron_precision_at_1"] == "ahead"
    # method.md: the untrained model's first descriptors are often confirmed, but few of its neurons are described
    assert untrained["neuron_precision_at_1"] > 5 * row("chance")["neuron_precision_at_1"]
    assert untrained["described"] < neurons["described"] / 2
    surgery = benchmark("planted")["surgery"]
    assert surgery["gold_first"] == surgery["gold_first_validation"] == 1.0
    assert surgery["max_output_change"] == 0.0
    # method.md: repeats take half as long as a pass
    assert benchmark("chance")["ratio"] == pytest.approx(0.5, abs=0.05)
    # beyond.md: AUROC falls little and clearly for few; random neurons account for none of the separation
    beyond = detail("beyond")
    assert beyond["ablation.own_loss"] < 0.02
    assert beyond["ablation.share_clear"] < 0.5 < beyond["ablation.share_specific"]
    assert abs(beyond["null.random_neurons.ablation.separation_own_loss"]) < 0.01


@pytest.mark.skipif(not (ROOT / SWEEPS).is_file(), reason="the sweeps are not at hand: run `dvc repro` or `dvc pull`")
def test_what_is_said_of_the_papers_rule_holds() -> None:
    table = read_table(ROOT / SWEEPS, SWEEP_TABLE).query("sweep == 'threshold' and rule == 'composition'")
    described = table[table["measure"] == "neuron.described"].set_index(["neurons", "x"])["value"]
    assert 0.08 < described["target", "0.1"] < 0.14
    assert described["target", "0.3"] == 0
    assert described["random_exemplars", "0.05"] == pytest.approx(0.07, abs=0.01)


@needs_a_run
def test_what_is_said_of_the_run_holds() -> None:
    run = descry.load(ROOT)
    keys = ["layer", "index"]
    both = run.triggers.merge(run.neurons[[*keys, "descriptor", "pearson"]].dropna(), on=keys, suffixes=("", "_first"))
    driven = both[both["class"] != "contextual"]
    assert driven["pearson"].median() > driven["pearson_first"].median()
    bound = both[both["class"] == "token-bound"]
    assert ((bound["descriptor"] == "cost") & (bound["words"].map(lambda words: words[0]) == "of")).any()
    by_layer = (run.triggers["class"] == "token-bound").groupby(run.triggers["layer"]).mean()
    assert by_layer.iloc[0] > 5 * by_layer.iloc[-1]
    assert run.ablation["auroc"].mean() > 0.95


def words_of(output: str) -> list[str]:
    """The words of an output: on another kind of CPU last digits differ."""
    return re.findall(r"[a-z]{3,}", output)


@needs_a_run
@pytest.mark.parametrize("name", [str(path) for path in examples.DOCUMENTS])
def test_the_commands_print_what_is_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert "$ descry " in TEXTS[name]
    assert words_of(examples.fill(TEXTS[name])) == words_of(TEXTS[name]), "run `make docs`"


def test_the_stages_are_those_of_the_pipeline() -> None:
    part = TEXTS["README.md"].split("\n## How it works\n")[1].split("\n## ")[0]
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE) == list(stages)


@pytest.mark.parametrize("name", [*DOCUMENTS, "data/README.md", "CHANGELOG.md"])
def test_what_a_document_names_exists(name: str) -> None:
    text = (ROOT / name).read_text()
    for link in re.findall(r"\]\((?!http)([^)#]+)", text):
        assert ((ROOT / name).parent / link).exists(), link
    for path in re.findall(r"`((?:descry|stages|tests|benchmarks|docs|presets|prompts|metrics)/[\w./-]+)`", text):
        assert "NAME" in path or (ROOT / path).exists(), path
    for target in re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE):
        assert f"\n{target}:" in MAKEFILE, target
    for benchmarked in re.findall(r"make bench NAME=(\w+)", text):
        assert (ROOT / "benchmarks" / f"{benchmarked}.py").is_file(), benchmarked
    for preset in re.findall(r"make preset NAME=(\w+)", text):
        assert (ROOT / "presets" / f"{preset}.yaml").is_file(), preset


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_command_sets_only_parameters_that_exist(name: str) -> None:
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    for key in re.findall(r"-S '?([a-z_.]+)=", TEXTS[name]):
        section = values
        for part in key.split("."):
            assert part in section, key
            section = section[part]


@pytest.mark.parametrize("order", [1, -1])
def test_experiments_one_after_the_other_leave_params_readable(tmp_path: Path, order: int) -> None:
    """DVC writes lists anew; an end-of-line comment on one of them would garble the file at the next edit."""
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    values = flatten(load_yaml(str(path)))
    lists = [f"{key}=[]" for key, value in values.items() if isinstance(value, list)]
    for edit in ["assign.exemplars=20", *lists[::order], *lists]:
        apply_overrides(str(path), [edit])
        changed = flatten(load_yaml(str(path)))
        assert changed.keys() == values.keys()
        assert str(changed[edit.partition("=")[0]]) == edit.partition("=")[2]


@pytest.mark.parametrize("name", [*DOCUMENTS, "CHANGELOG.md", "data/README.md", "Makefile", "params.yaml"])
def test_a_document_names_no_place_of_its_authors(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not re.search(r"(?<![\w/])/(root|work|tmp|usr|Users)/|site-packages|pypi|127\.0\.0\.1", text)


def test_make_bench_lists_the_benchmarks_and_runs_nothing() -> None:
    listed = subprocess.run(["make", "bench"], cwd=ROOT, text=True, capture_output=True, check=True).stdout
    names = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text()}
    assert set(re.findall(r"^  (\w+) +\S", listed, re.MULTILINE)) == names
    unknown = subprocess.run(["make", "bench", "NAME=none"], cwd=ROOT, text=True, capture_output=True, check=False)
    assert unknown.returncode != 0
    assert "no benchmark none" in unknown.stdout


@pytest.mark.parametrize("name", ["layers", "at_k"])
def test_the_pictures_are_those_of_the_committed_run(name: str) -> None:
    drawn = ROOT / "report" / f"{name}.png"
    if not drawn.is_file():
        pytest.skip("the report is not at hand: run `dvc repro` or `dvc pull`")
    assert (ROOT / "docs/images" / f"{name}.png").read_bytes() == drawn.read_bytes(), "run `make docs`"


FIGURES = {"metrics/neurons.json": {"replication": 0.5, "described": 1234.4}, "metrics/chance.json": {"described": 0.2}}


def made_up(path: str) -> Any:
    return FIGURES.get(path, {})


def test_a_table_shows_the_figures_that_it_is_given() -> None:
    text = "before\n<!-- table: metrics -->\nold\n<!-- end -->\nafter"
    filled = tables.fill(text, made_up)
    rows = ["|  | `described` | `replication` |", "| `neurons` | 1,234 | 0.500 |", "| `chance` | 0 | – |"]
    assert [line for line in filled.splitlines() if line in rows] == rows
    assert filled.startswith("before\n")
    assert filled.endswith("\nafter")
    assert "old" not in filled
    assert tables.fill(filled, made_up) == filled


def test_a_command_gets_its_output() -> None:
    text = "```console\n$ descry top --count 1\nold\n\nold\n```\nafter\n```sh\ndescry top\n```\n"
    new = "```console\n$ descry top --count 1\n<top --count 1>\n```\nafter\n```sh\ndescry top\n```\n"
    assert examples.fill(text, lambda command: f"<{command}>") == new
