"""The pipeline as a user runs it: a clone, `dvc repro`, and what reruns after which change."""

import json
from pathlib import Path

import pytest
import yaml

from descry.schemas.consistency import P_VALUE_TABLE
from descry.schemas.measures import MEASURE_TABLE
from descry.storage.tables import count_rows, read_table
from tests.stages.test_reruns import ASKING
from tests.support.projects import BEYOND, LEFT_OUT, SMALL, TWO_LAYERS, Shell, change, clone, shell
from tests.support.warm import warm_path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, site: Path) -> Path:
    """A clone in which the pipeline has run once, its results committed."""
    folder = tmp_path_factory.mktemp("project")
    run = clone(folder, site, SMALL | TWO_LAYERS)
    run("dvc", "repro", "-q")
    run("git", "add", "-A")
    run("git", "commit", "-qm", "run")
    return folder


def changed_stages(run: Shell) -> set[str]:
    return set(json.loads(run("dvc", "status", "--json").stdout))


def test_the_run_leaves_all_it_promises(project: Path, site: Path) -> None:
    run = shell(project, site)
    assert (project / "report" / "index.html").stat().st_size > 10_000
    metrics = json.loads(run("dvc", "metrics", "show", "--json").stdout)[""]["data"]
    assert "another corpus" in run("python", "-m", "stages.commands.summary").stdout
    rows = ("neurons", "split_std", "chance", "random_directions", "untrained")
    assert set(metrics) == {f"metrics/{name}.json" for name in rows}
    assert run("git", "status", "--porcelain").stdout == ""


def check_p_values(folder: Path) -> None:
    """Flat under shuffled labels, and not in truth."""
    table = read_table(folder / "data/consistency/p_values.parquet", P_VALUE_TABLE)
    for (_, labels), part in table.groupby(["split", "labels"]):
        shares = part["share"].to_numpy()
        assert shares.sum() == pytest.approx(1.0)
        if labels == "shuffled_labels":
            assert shares.min() > 0.04
            assert shares.max() < 0.06
        else:
            assert shares[0] > 0.06


def test_every_figure_stands_beside_chance(project: Path) -> None:
    check_p_values(project)
    for stage, nulls in (("consistency", {"permuted_neurons"}), ("evaluation", {"most_common"})):
        table = read_table(project / "data" / stage / "measures.parquet", MEASURE_TABLE)
        everyone = nulls | {"random_exemplars", "shuffled_labels", "untrained_target", "random_directions"}
        for measure in ("jaccard", "replication") if stage == "consistency" else ("sentence.gold.recall_at_2",):
            rows = table[table["measure"] == measure]
            assert set(rows["null"]) >= everyone
            assert (rows["low"] <= rows["chance"]).all()
            assert (rows["chance"] <= rows["high"]).all()
        alone = set(table.loc[table["null"] == "", "measure"].str.rpartition(".")[2])
        assert all(name in ALONE or name.startswith("ceiling_") for name in alone)
    for name in ("triggers", "relations", "depth", "replication", "ablation"):
        table = read_table(project / "data" / name / "measures.parquet", MEASURE_TABLE)
        assert len(table) > 1
        alone = table.loc[table["null"] == "", "measure"]
        rest = {one for one in alone if not one.rpartition(".")[2].startswith("ceiling_")}
        assert rest <= {"relations.pairs", "tokens.descriptor_correlation"}
    found = json.loads((project / "metrics" / "detail" / "beyond.json").read_text())
    for group, name in (("tokens", "agreement"), ("relations", "replication"), ("transfer", "replication")):
        assert any(name in levels.get(group, {}) for levels in found["null"].values())
        assert 0 < found[group][name] <= 1
    assert 0 <= found["ablation"]["share_specific"] <= 1
    assert found["null"]["exchangeable_sets"]["ablation"]["share_specific"] == pytest.approx(0.5, abs=0.05)
    assert found["transfer"]["chance"] == found["null"]["unassigned_pairs"]["transfer"]["replication"]


ALONE = {"missing_share", "per_sentence", "none_share", "count", "calibrated_alpha"}
"""What says how much there is, not how good it is."""


def test_a_second_run_does_nothing_and_says_so(project: Path, site: Path) -> None:
    run = shell(project, site)
    assert "Data and pipelines are up to date." in run("dvc", "repro").stdout
    assert changed_stages(run) == set()


BOTH = ("calibration", "validation")
EXTRACT, ASSIGN = {f"extract@{s}" for s in BOTH}, {f"assign@{s}" for s in BOTH}
LABEL, MEASURE = {"label@first", "label@second"}, {"associate", "consistency", "evaluate", "resplit", "sweep"}
FOLLOWING = {"ends", "writes", "triggers", "relations", "depth", "replicate", "ablate", "describe", "judge"}


@pytest.mark.long
@pytest.mark.parametrize(
    ("path", "value", "stages"),
    [
        ("models.target.revision", "x", {"models@target"}),
        ("models.llms", "{x: {source: y}}", {"models@llms"}),
        ("llms", "{x: {client: openai, base_url: http://localhost, model: y}}", ASKING),
        ("split.key", "other", {"split"}),
        ("generate.retrieval.words", "1400", {"generate"}),
        ("cluster.max_descriptors", "20", {"cluster"}),
        ("label.embedding.sharpness", "8.0", LABEL | {"transfer"}),
        ("extract.also", "[last]", EXTRACT | {"controls", "tokens", "transfer", "ablate", "writes"}),
        ("controls.seed", "1", {"controls"}),
        ("assign.exemplars", "20", ASSIGN | MEASURE | FOLLOWING | {"report"}),
        ("consistency.repeats", "4", {"consistency", "ends"}),
        ("evaluate.repeats", "4", {"evaluate"}),
        ("resplit.splits", "3", {"resplit"}),
        ("associate.repeats", "4", {"associate", "ends"}),
        ("sweep.ks", "[1]", {"sweep"}),
        ("tokens.exemplars", "9", {"tokens"}),
        ("triggers.share", "0.3", {"triggers"}),
        ("relations.alpha", "0.01", {"relations"}),
        ("depth.seed", "1", {"depth"}),
        ("transfer.seed", "1", {"transfer", "replicate"}),
        ("ablate.value", "zero", {"ablate"}),
        ("writes.tokens", "3", {"writes"}),
        ("describe.neurons", "3", {"describe"}),
        ("judge.source", "data/reviews.jsonl", {"judge"}),
        ("neighbours.nearest", "3", {"neighbours"}),
        ("report.exemplars", "3", {"report"}),
        (
            "runtime.batch_tokens",
            "512",
            {"cluster", "controls", "tokens", "ablate", "writes"} | ASKING | EXTRACT,
        ),
        ("runtime.concurrency", "2", ASKING),
    ],
)
def test_a_parameter_touches_just_its_stages(
    project: Path, site: Path, path: str, value: str, stages: set[str]
) -> None:
    before = (project / "params.yaml").read_text()
    change(project, path, value)
    try:
        assert changed_stages(shell(project, site)) == stages
    finally:
        (project / "params.yaml").write_text(before)


def test_what_goes_beyond_the_paper_can_be_left_out(project: Path, site: Path) -> None:
    run = shell(project, site)
    before = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    shown = json.loads(run("dvc", "metrics", "show", "--json").stdout)
    for path, value in LEFT_OUT.items():
        change(project, path, value)
    try:
        run("dvc", "repro", "-q")
        after = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
        changed = {name for name in after if after[name].get("outs") != before[name].get("outs")}
        assert changed == {*BEYOND, "replicate", "metrics", "report"}
        assert json.loads((project / "metrics" / "detail" / "beyond.json").read_text()) == {}
        assert json.loads(run("dvc", "metrics", "show", "--json").stdout) == shown
        for folder in ("triggers", "relations", "depth", "transfer", "replication", "ablation"):
            for path in (project / "data" / folder).iterdir():
                assert count_rows(path) == 0
        page = (project / "report" / "index.html").read_text()
        assert "Transfer, ablation, lexical triggers" not in page
        run("python", "-m", "descry", "verify")
        assert "20 of" in run("python", "-m", "descry", "top").stdout
        assert "another corpus" not in run("python", "-m", "stages.commands.summary").stdout
    finally:
        run("git", "checkout", "-q", ".")
        run("dvc", "checkout", "-q", "--force")


def test_other_surroundings_give_the_same_bytes(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a folder with blanks"
    folder.mkdir()
    clone(folder, tmp_path / "site", SMALL | TWO_LAYERS)
    other = {"PYTHONHASHSEED": "4711", "TZ": "Pacific/Chatham", "LC_ALL": "C", "PYTHONUTF8": "0"}
    run = shell(folder, tmp_path / "site", PATH=warm_path(**other), **other)
    run("dvc", "repro", "-q")
    assert (folder / "dvc.lock").read_text() == (project / "dvc.lock").read_text()
    metrics = [path.relative_to(project) for path in (project / "metrics").rglob("*.json")]
    assert len(metrics) == 10
    for path in metrics:
        assert (folder / path).read_bytes() == (project / path).read_bytes()


def test_an_experiment_reruns_no_model_and_shows_its_difference(project: Path, site: Path) -> None:
    run = shell(project, site)
    done = run("dvc", "exp", "run", "-S", "assign.exemplars=20")
    assert "Running stage 'assign@calibration'" in done.stdout
    for stage in ("models@target", "split", "generate", "cluster", "label@first", "extract@calibration", "controls"):
        assert f"Running stage '{stage}'" not in done.stdout
    assert "metrics/neurons.json" in json.loads(run("dvc", "metrics", "diff", "--json").stdout)
    parameters = json.loads(run("dvc", "params", "diff", "--json").stdout)["params.yaml"]
    assert set(parameters) == {"assign.exemplars"}
    assert "index.html" in run("dvc", "plots", "diff", "-o", "dvc_plots").stdout
    run("git", "checkout", "-q", ".")
    run("dvc", "checkout", "-q", "--force")
    assert changed_stages(run) == set()


@pytest.mark.long
@pytest.mark.parametrize("stage", ["generate", "label@first", "extract@calibration"])
def test_a_cluster_gives_the_same_bytes(project: Path, site: Path, stage: str) -> None:
    run = shell(project, site)
    before = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    change(project, "runtime.engine", "ray")
    change(project, "runtime.shard", "100")
    try:
        assert f"Running stage '{stage}'" in run("dvc", "repro", "-s", stage).stdout
        after = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
        change(project, "runtime.engine", "local")
        run("dvc", "repro", "-s", stage)
        local = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
        assert after[stage]["outs"] == local[stage]["outs"]
        assert after[stage]["params"] != before[stage]["params"]
    finally:
        run("git", "checkout", "-q", ".")
        run("dvc", "checkout", "-q", "--force")


def test_pushed_and_pulled_elsewhere_nothing_runs(project: Path, site: Path, tmp_path: Path) -> None:
    run = shell(project, site)
    run("dvc", "remote", "add", "-d", "--local", "store", str(tmp_path / "store"))
    run("dvc", "push", "-q")
    run("git", "clone", "-q", str(project), str(tmp_path / "other"))
    other = shell(tmp_path / "other", tmp_path / "site")
    other("dvc", "remote", "add", "-d", "--local", "store", str(tmp_path / "store"))
    other("dvc", "pull", "-q")
    assert "Data and pipelines are up to date." in other("dvc", "repro").stdout
    assert other("git", "status", "--porcelain").stdout == ""
    assert (tmp_path / "other" / "data/models/target/model.safetensors").is_file()


@pytest.mark.long
@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("assign.exemplars", "150", "descry: params.yaml: assign.exemplars is 150"),
        ("assign.alpha", "7", "descry: params.yaml: assign.alpha is 7"),
        ("models.target.source", "package:nowhere", "descry: model package:nowhere"),
        ("split.source", "README.md", "descry: README.md: .md is not a format"),
        ("cluster.min_sentences", "100000", "descry: cluster: no descriptor found"),
    ],
)
def test_a_stage_that_cannot_go_on_says_one_line(project: Path, site: Path, path: str, value: str, said: str) -> None:
    run = shell(project, site)
    change(project, path, value)
    try:
        done = run("dvc", "repro", check=False)
        assert done.returncode != 0
        assert "Traceback" not in done.stdout + done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("descry: ")]
        assert len(lines) == 1
        assert lines[0].startswith(said)
    finally:
        run("git", "checkout", "-q", ".")
        run("dvc", "checkout", "-q", "--force")


def test_a_stage_by_hand_says_how_it_is_meant_to_run(project: Path, site: Path) -> None:
    done = shell(project, site)("python", "-m", "stages.split", check=False)
    assert done.returncode == 1
    assert "dvc repro" in done.stderr
    assert "Traceback" not in done.stderr
