"""The commands that ask a finished run: what they say is what the tables say."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import descry
from descry.__main__ import COMMANDS, main
from descry.activations.record import read_activations
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import assign, rank
from descry.cli import explain
from descry.cli.neuron import JUDGED
from descry.evaluation.voting import Firing, predict
from descry.results import layout
from descry.results.columns import Folder
from descry.results.noise import judge_gap
from descry.schemas.label import LABEL_ARRAYS
from descry.schemas.resplit import RESPLIT_TABLE
from descry.splits import SPLITS, Pair
from descry.storage.arrays import read_arrays
from descry.storage.tables import write_table
from tests.conftest import ROOT
from tests.results.test_run import HOSTILE, WIDTH, made, needs_a_run

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of made-up neurons."""
    return made(tmp_path_factory.mktemp("run"))


def told(capsys: Captured, *arguments: object) -> Any:
    """What a command says as JSON."""
    assert main([*map(str, arguments), "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return json.loads(said.out)


def shown(capsys: Captured, *arguments: object) -> str:
    """What a command prints."""
    assert main([*map(str, arguments)]) == 0
    return capsys.readouterr().out


def same(rows: list[dict[str, Any]], table: pd.DataFrame) -> None:
    """The rows are those of a table, in its order, unrounded."""
    assert len(rows) == len(table)
    for row, expected in zip(rows, table.to_dict("records"), strict=True):
        assert row == {name: expected[name] for name in row}
        assert set(row) >= set(table.columns)


def test_a_neuron_is_told_as_the_tables_have_it(folder: Path, capsys: Captured) -> None:
    run = descry.load(folder)
    found = told(capsys, "neuron", "1:1", "--run", folder, "--count", 3)
    own = run.neurons[(run.neurons["layer"] == 1) & (run.neurons["index"] == 1)].iloc[0]
    assert [found[name] for name in ("mean", "std", "maximum")] == [own["mean"], own["std"], own["maximum"]]
    same(found["descriptors"], run.pairs[(run.pairs["layer"] == 1) & (run.pairs["index"] == 1)])
    assert len(found["descriptors"]) == own["descriptors"] > 0
    same([row for rows in found["exemplars"].values() for row in rows], run.exemplars(1, 1, count=3))
    driven = run.triggers[(run.triggers["layer"] == 1) & (run.triggers["index"] == 1)].iloc[0]
    assert found["driven"] == driven.to_dict() | {name: list(driven[name]) for name in ("words", "shares")}
    text = " ".join(shown(capsys, "neuron", "1:1", "--run", folder).split())
    assert "driven by word 1 (50%), odd [red]" in text
    assert "lexical, on validation too" in text
    assert "by words like char-" in shown(capsys, "neuron", "2:0", "--run", folder)
    pairs = run.negative_pairs
    same(found["negative"]["descriptors"], pairs[(pairs["layer"] == 1) & (pairs["index"] == 1)])
    rows = [row for rows in found["negative"]["exemplars"].values() for row in rows]
    same(rows, run.exemplars(1, 1, count=3, end="negative"))
    words = run.written_pairs[(run.written_pairs["layer"] == 1) & (run.written_pairs["index"] == 1)]
    assert found["written"] == dict(zip(words["descriptor"], words["auroc"], strict=True)) != {}
    assert found["writes"]["promoted"] == [" promoted", HOSTILE]
    assert f"{len(found['negative']['descriptors'])} at its negative end" in text
    assert 'promotes " promoted" "odd [red]' in text
    assert f"(AUROC, by chance 0.5): {words['descriptor'].iloc[0]} {words['auroc'].iloc[0]:.2f}" in text
    assert "most negative sentences of validation" in text
    judged = run.judged[(run.judged["layer"] == 1) & (run.judged["index"] == 1)].iloc[0]
    assert found["judged"] == [{name: judged[name] for name in JUDGED}]
    beside = f"of other neurons' texts {judged['auroc_swapped']:.2f}, of its descriptor's name"
    assert f"written; AUROC on validation {judged['auroc']:.2f}, {beside}" in text
    dead = told(capsys, "neuron", f"2:{WIDTH - 1}", "--run", folder)
    assert dead["descriptors"] == []
    assert dead["exemplars"] == {split: [] for split in SPLITS}
    assert "no descriptor" in shown(capsys, "neuron", f"2:{WIDTH - 1}", "--run", folder)


@pytest.mark.parametrize(
    ("by", "column", "smallest"),
    [("p", "p", True), ("q", "q", True), ("lift", "lift", False), ("correlation", "pearson", False)],
)
def test_top_is_the_head_of_the_sorted_table(
    folder: Path, capsys: Captured, by: str, column: str, smallest: bool
) -> None:
    pairs = descry.load(folder).pairs
    found = told(capsys, "top", "--run", folder, "--by", by, "--count", 5)
    assert found["of"] == len(pairs)
    same(found["pairs"], pairs.sort_values(column, ascending=smallest, kind="stable").head(5))
    found = told(capsys, "top", "--run", folder, "--by", by, "--layer", 2, "--descriptor", "battery")
    some = pairs[(pairs["layer"] == 2) & (pairs["descriptor"] == "battery")]
    assert found["of"] == len(some) > 0
    same(found["pairs"], some.sort_values(column, ascending=smallest, kind="stable").head(20))


def test_a_descriptor_is_told_as_the_tables_have_it(folder: Path, capsys: Captured) -> None:
    run = descry.load(folder)
    found = told(capsys, "descriptor", "refund", "--run", folder, "--count", 2, "--sentences", 4)
    own = run.descriptors.set_index("name").loc["refund"]
    assert found["members"] == ["refund", "refunds"]
    assert (found["neurons"], found["first"]) == (own["neurons"], own["first"])
    assert found["replicates"] == pytest.approx(own["replicates"])
    carrying = run.pairs[run.pairs["descriptor"] == "refund"]
    counts = [int((carrying["layer"] == layer).sum()) for layer in (1, 2)]
    assert found["layers"] == [
        {"layer": layer, "neurons": count, "of": WIDTH} for layer, count in zip((1, 2), counts, strict=True)
    ]
    same(found["best"], carrying.sort_values("p", kind="stable").head(2))
    for name in ("depth", "transfer", "ablation", "cofiring"):
        table = getattr(run, name).set_index("descriptor").loc["refund"]
        assert found[name] == table.to_dict() | {"descriptor": "refund"}
    assert [found["gloss"]] == run.glosses["description"].tolist()
    assert told(capsys, "descriptor", HOSTILE, "--run", folder)["gloss"] is None
    text = shown(capsys, "descriptor", "refund", "--run", folder)
    assert "in free text: odd [red]" in text
    assert f"{100 * found['transfer']['replication']:.0f} % of them are found again in the other corpus" in text
    assert f"depth is {found['depth']['depth']:.2f} of 1" in text
    assert found["exclusive"] == run.exclusive.to_dict("records")
    assert f"fire together {found['cofiring']['ratio']:.1f} times as often as by chance" in text
    assert "1:0 splits it with 2:3: on" in text
    assert "2:1 is absorbed by 1:4: on" in text
    assert f"tells it apart {100 * found['ablation']['separation_own']:.0f} % less" in text
    other = told(capsys, "descriptor", HOSTILE, "--run", folder)
    assert other["depth"] is other["cofiring"] is None
    assert other["exclusive"] == []
    for split, prefix in zip(SPLITS, ("", "validation_"), strict=True):
        assert found["splits"][split]["prevalence"] == pytest.approx(own[f"{prefix}prevalence"])
        labels = run.labels[(run.sentences["split"] == split).to_numpy()]["refund"].to_numpy()
        rows = [int(row["sentence_id"][1:]) for row in found["splits"][split]["examples"]]
        assert len(rows) == 4
        assert (labels[rows] == 1).all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["neuron", "1:99"], "layer 1 has 0 to 7"),
        (["neuron", "7:0"], "the layers are 1, 2"),
        (["neuron", "refund"], "write it as 4:812"),
        (["descriptor", "refnd"], "did you mean refund"),
        (["descriptor", "batterys"], "did you mean battery"),
        (["descriptor", "\x1b[2J"], "no descriptor '\\x1b[2J'"),
        (["top", "--layer", "3"], "there are 1, 2"),
        (["top", "--descriptor", "x"], "no descriptor 'x'"),
        (["compare", "."], "this very run"),
        (["compare", "nowhere"], "nowhere: no finished run: data/assignments/calibration.parquet is missing"),
        (["explain", " \u200b "], "dvc.lock: says nothing of split"),
        (["neuron", "1:1", "--run", "nowhere"], "nowhere: no finished run"),
    ],
)
def test_bad_input_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(folder)
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == ""
    assert said in line
    assert line.startswith("descry: ")


def test_text_of_the_data_does_nothing_to_a_terminal(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    for arguments in (["neuron", "1:2"], ["descriptor", HOSTILE], ["top", "--descriptor", HOSTILE]):
        text = shown(capsys, *arguments, "--run", folder)
        assert "odd [red]\\x1b[31m name" in text
        assert "\x1b" not in text
    assert "[bold]calibration[/bold] \\x1b[31mand more" in shown(capsys, "neuron", "1:2", "--run", folder)
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = shown(capsys, "neuron", "1:2", "--run", folder)
    assert "\x1b[" in coloured
    assert "\x1b[31m" not in coloured
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[36m" not in shown(capsys, "neuron", "1:2", "--run", folder)


@pytest.mark.parametrize("width", [20, 45, 60, 80, 200])
def test_figures_are_whole_at_any_width(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    pair = told(capsys, "top", "--run", folder, "--count", 1)["pairs"][0]
    text = shown(capsys, "top", "--run", folder, "--count", 1)
    assert max(map(len, text.splitlines())) <= width
    for figure in (f"{pair['composition']:.3f}", f"{pair['prevalence']:.3f}", f"{pair['lift']:.1f}"):
        assert figure in text.split()
    assert f"{pair['pearson']:.2f}" in text


def test_runs_of_the_same_neurons_are_compared_neuron_by_neuron(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    other = made(tmp_path, seed=1, names=["refund", "battery", "parcel"])
    found = told(capsys, "compare", other, "--run", folder)
    assert found["settings"] == []
    assert found["descriptors"]["kept"] == ["refund", "battery"]
    assert (found["descriptors"]["lost"], found["descriptors"]["gained"]) == ([HOSTILE], ["parcel"])
    firsts = [
        run.neurons.dropna(subset="descriptor").set_index(["layer", "index"])["descriptor"]
        for run in (descry.load(folder), descry.load(other))
    ]
    both = pd.concat(firsts, axis=1, keys=["here", "there"])
    renamed = both.dropna()[both.dropna()["here"] != both.dropna()["there"]]
    neurons = found["neurons"]
    assert [(row["here"], row["there"]) for row in neurons["renamed"]] == list(
        renamed.sort_index().itertuples(index=False, name=None)
    )
    assert len(neurons["only_here"]) == both["there"].isna().sum()
    assert len(neurons["only_there"]) == both["here"].isna().sum()
    assert neurons["same_first"] == (both["here"] == both["there"]).sum() / len(both)
    assert neurons["same_first"] > neurons["same_first_chance"]
    assert neurons["jaccard"] > neurons["jaccard_chance"]
    text = shown(capsys, "compare", other, "--run", folder)
    assert "+ gained: parcel" in text
    assert "by chance" in text


def test_runs_of_other_neurons_are_compared_by_descriptors(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    other = made(tmp_path, layers=4, rule="composition")
    found = told(capsys, "compare", other, "--run", folder)
    assert {row["key"]: (row["here"], row["there"]) for row in found["settings"]} == {
        "assign.rule": ("enrichment", "composition")
    }
    assert found["neurons"] == {
        "matched": False,
        "count_here": 2 * WIDTH,
        "count_there": 4 * WIDTH,
        "layers_here": 2,
        "layers_there": 4,
        "described_here": found["neurons"]["described_here"],
        "described_there": found["neurons"]["described_there"],
    }
    pairs = descry.load(other).pairs
    for row in found["descriptors"]["carried"]:
        own = pairs[pairs["descriptor"] == row["descriptor"]]
        assert row["neurons_there"] == len(own) / (4 * WIDTH)
        assert row["depth_there"] == pytest.approx((own["layer"] - 1).mean() / 3)
        low, high = (
            descry.load(other).depth.set_index("descriptor")[name].get(row["descriptor"]) for name in ("low", "high")
        )
        assert (row["depth_low_there"], row["depth_high_there"]) == (low, high)
    assert "cannot be matched" in shown(capsys, "compare", other, "--run", folder)


def test_several_runs_stand_side_by_side(tmp_path: Path, capsys: Captured) -> None:
    folder = made(tmp_path / "here")
    others = made(tmp_path / "deeper", layers=4), made(tmp_path / "again", seed=1)
    for number, run in enumerate((folder, *others)):
        rows = [("target", "neuron.described", split, 10.0 * number + split) for split in range(3)]
        table = pd.DataFrame(rows, columns=["neurons", "measure", "split", "value"])
        write_table(run / layout.RESPLITS, table, RESPLIT_TABLE)
    found = told(capsys, "compare", *others, "--run", folder)
    assert [row["count"] for row in found["runs"]] == [2 * WIDTH, 4 * WIDTH, 2 * WIDTH]
    pairwise = [told(capsys, "compare", other, "--run", folder)["measures"] for other in others]
    assert [row["measure"] for row in found["measures"]] == [row["measure"] for row in pairwise[0]]
    for row, *two in zip(found["measures"], *pairwise, strict=True):
        for place, compared in enumerate(two, start=1):
            first, other = row["runs"][0], row["runs"][place]
            assert (first["value"], first["chance"], first["std"]) == tuple(
                compared[name] for name in ("here", "here_chance", "here_std")
            )
            assert (other["value"], other["chance"], other["std"], other["verdict"]) == tuple(
                compared[name] for name in ("there", "there_chance", "there_std", "verdict")
            )
    counted = next(row for row in found["measures"] if row["measure"] == "neuron.described")
    assert [run["std"] for run in counted["runs"]] == [1.0, 1.0, 1.0]
    assert counted["runs"][1]["verdict"] is None  # other numbers of neurons
    assert counted["runs"][2]["verdict"] == judge_gap(counted["runs"][0]["value"], counted["runs"][2]["value"], 1.0)
    text = shown(capsys, "compare", *others, "--run", folder)
    assert f"run 3, {others[1]}" in text.replace("\n", "")
    assert main(["compare", str(others[0]), str(others[0]), "--run", str(folder)]) != 0
    assert "named twice" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["neuron", "1:1"], ["descriptor", "refund"], ["top"], ["compare", "OTHER"]])
def test_what_needs_no_model_waits_for_no_heavy_library(folder: Path, tmp_path: Path, command: list[str]) -> None:
    given = [str(made(tmp_path)) if word == "OTHER" else word for word in command]
    script = f"import sys; from descry.__main__ import main; main({given!r}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=folder,
        text=True,
        capture_output=True,
        check=True,
    )
    assert not {"torch", "transformers", "scipy", "pandas", "dvc", "pydantic"} & set(done.stderr.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh", "fish"])
def test_every_shell_gets_a_completion_of_all_commands(shell: str, capsys: Captured) -> None:
    text = shown(capsys, "completion", shell)
    assert all(command in text for command in COMMANDS)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["de"], {"descriptor"}),
        (["co"], {"compare", "completion"}),
        (["top", "--by", ""], {"p", "q", "lift", "composition", "correlation"}),
        (["neuron", "--j"], {"--json"}),
        (["compare", "da"], {"data"}),
    ],
)
def test_bash_completes(folder: Path, tmp_path: Path, capsys: Captured, typed: list[str], offered: set[str]) -> None:
    script = tmp_path / "completion.bash"
    script.write_text(shown(capsys, "completion", "bash"))
    subprocess.run(["bash", "-n", script], check=True)
    words = " ".join(f"'{word}'" for word in ["descry", *typed])
    asked = f"source {script}; COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _shtab_descry; "
    asked += 'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", asked], cwd=folder, text=True, capture_output=True, check=True)
    assert set(done.stdout.split()) == offered


def test_driving_words_are_marked_without_colour() -> None:
    sentence = {
        "text": "The battery died.",
        "tokens": [
            {"start": 0, "stop": 3},
            {"start": 4, "stop": 8},
            {"start": 8, "stop": 11},
            {"start": 12, "stop": 16},
        ],
    }
    assert explain.mark(sentence, [0.1, 1.0, 0.6, 0.4]).plain == "The [battery] died."
    assert explain.mark(sentence, [1.0, 0.1, 0.6, 0.5]).plain == "[The] batt[ery] [died]."
    assert explain.mark(sentence, [-1.0, -0.1, 0.0, -2.0]).plain == "The battery died."
    hostile = {"text": "\x1b[31m[red]", "tokens": [{"start": 0, "stop": 5}]}
    assert explain.mark(hostile, [1.0]).plain == "[\\x1b[31m][red]"


@pytest.fixture(scope="module")
def listener() -> explain.Explainer:
    """What explains sentences by the committed run."""
    return explain.Explainer.of(Folder.of(ROOT))


@needs_a_run
def test_sentences_of_validation_are_explained_as_the_vote_ranks_them(listener: explain.Explainer) -> None:
    active = Pair(*(read_activations(ROOT / layout.ACTIVATIONS / f"{split}.safetensors") for split in SPLITS))
    labels = read_arrays(ROOT / layout.LABELS / "first/calibration.safetensors", LABEL_ARRAYS)[0]["labels"]
    rule = Folder.of(ROOT).rule
    found = assign(gather_evidence(active.calibration.exemplars(rule.exemplars), labels), rule)
    reviews = Folder.of(ROOT).sentences("calibration")["review_id"]
    probabilities = predict(Firing.of(active, reviews), found, labels)
    order = rank(probabilities)
    sentences = descry.load(ROOT).sentences.query("split == 'validation'")["text"].to_numpy()
    for place in range(0, 200, 25):
        said = listener.explain(sentences[active.validation.probe_rows[place]], 3, 5)["descriptors"]
        named = [listener.names.index(row["descriptor"]) for row in said]
        np.testing.assert_allclose([row["probability"] for row in said], probabilities[place, named], atol=1e-2)
        assert named[:3] == order[place, :3].tolist()
        votes = np.array([row["tokens"] for row in said])
        assert votes.shape == (len(said), len(said[0]["tokens"]))


@needs_a_run
def test_explain_finds_what_a_sentence_speaks_of_and_where(capsys: Captured) -> None:
    found = told(capsys, "explain", "They refused my refund. The battery died.", "--run", ROOT, "--descriptors", 2)
    first, second = found["sentences"]
    assert first["text"] == "They refused my refund."
    assert second["text"] == "The battery died."
    best = first["descriptors"][0]
    assert best["descriptor"] == "refund"
    assert best["probability"] > 5 * best["prevalence"]
    driven = [first["text"][start:stop] for start, stop in explain.find_driving(first, best["tokens"])]
    assert any("refund" in words for words in driven)
    assert [bool(row["neurons"]) for row in first["descriptors"]] == [True] * 2 + [False] * (
        len(first["descriptors"]) - 2
    )
    contributions = [neuron["contribution"] for neuron in best["neurons"]]
    assert contributions == sorted(contributions, reverse=True)
    assert first["unread"] == 0
    text = shown(capsys, "explain", "They refused my refund [red]now[/red].", "--run", ROOT)
    assert "[refund]" in text
    assert "They refused my refund [red]now[/red]." in text


@needs_a_run
def test_explain_of_odd_texts(capsys: Captured) -> None:
    long = told(capsys, "explain", "refund " * 600, "--run", ROOT)["sentences"][0]
    assert 0 < long["unread"] < len(long["text"])
    assert long["tokens"][-1]["stop"] == len(long["text"]) - long["unread"]
    unknown = told(capsys, "explain", "𓀀𓀁", "--run", ROOT)["sentences"][0]
    assert len(unknown["tokens"]) >= 1
    assert main(["explain", " \u200b ", "--run", str(ROOT)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the text is empty" in line


PROMPT = (ROOT / "docs" / "prompt.md").read_text()
EXAMPLES = re.findall(r"^```console\n\$ descry (.+)\n((?:.*\n)+?)```$", PROMPT, re.MULTILINE)


@needs_a_run
@pytest.mark.parametrize(("command", "expected"), EXAMPLES)
def test_docs_show_what_the_commands_say(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured, command: str, expected: str
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = "\n".join(line.rstrip() for line in shown(capsys, *shlex.split(command), "--run", ROOT).splitlines())
    if command.startswith("explain"):
        text, expected = (re.sub(r"\d", "0", one) for one in (text, expected))
    number = r"(?<![\w:])-?[\d,]*\.?\d+(?:e-\d+)?"
    assert re.sub(number, "0", text).rstrip() == re.sub(number, "0", expected).rstrip()
    pairs = zip(re.findall(number, text), re.findall(number, expected), strict=True)
    for own, said in pairs:  # another machine's last digit
        value, given = (float(one.replace(",", "")) for one in (own, said))
        assert value == pytest.approx(given, rel=0.02, abs=1.0 if "." not in said else 0.011), (own, said)


def test_docs_name_every_command_and_every_column(folder: Path) -> None:
    assert {command.split()[0] for command, _ in EXAMPLES} == {"explain", "neuron", "descriptor", "top"}
    assert "\ndescry compare " in PROMPT
    run = descry.load(folder)
    named = set(re.findall(r"`(\w+)`", PROMPT))
    tables = (run.neurons, run.descriptors, run.sentences, run.measures, run.exemplars(1, 1))
    tables += (run.triggers, run.relations, run.depth, run.transfer, run.transfer_pairs, run.ablation)
    tables += (run.cofiring, run.exclusive)
    for table in tables:
        assert {re.sub("^separation_|^word_|_low$|_high$", "", name) for name in table} <= named
    assert {name for name in run.pairs if not re.search("validation_|_low$|_high$", name)} <= named
