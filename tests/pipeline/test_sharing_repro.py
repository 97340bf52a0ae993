"""What one machine made, others have: over a folder, SSH and S3, through a lost network, a shared cache and merges."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, draw
from tests.support.projects import SMALL, Shell, change, clone, environment, finished, shell, with_model
from tests.support.remotes import REMOTES, Remote

OLD = {"generate.per_sentence": "2", "label.embedding.sharpness": "5.0", "extract.top_k": "50"}
HEAVY = ("generate", "label@first", "extract@calibration")
"""Stages that run a model, and other settings of theirs in an old commit."""


@pytest.fixture(scope="module")
def project(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with two commits: one of heavy stages with other settings, and one of the whole pipeline."""
    folder, site = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("site")
    clone(folder, site, SMALL | with_model(tiny_bert) | {"cluster.min_sentences": "2"})
    run = shell(folder, site)
    settings = (folder / "params.yaml").read_text()
    for path, value in OLD.items():
        change(folder, path, value)
    run("dvc", "repro", "-q", *HEAVY[1:])
    committed(run, "old")
    (folder / "params.yaml").write_text(settings)
    run("dvc", "repro", "-q")
    committed(run, "new")
    return folder


@pytest.fixture(scope="module", params=draw("remotes", list(REMOTES)))
def remote(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remote]:
    with REMOTES[request.param](tmp_path_factory.mktemp(request.param)) as found:
        yield found


def joined(folder: Path, remote: Remote, origin: Path) -> Shell:
    """A clone that knows the remote, as on a machine of its own."""
    subprocess.run(["git", "clone", "-q", str(origin), str(folder)], check=True)
    run = shell(folder, folder.with_suffix(".site"), **remote.variables)
    run("dvc", "remote", "add", "-d", "--local", "store", remote.url)
    for option, value in remote.options.items():
        run("dvc", "remote", "modify", "--local", "store", option, value)
    return run


@pytest.fixture(scope="module")
def pushed(project: Path, remote: Remote, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository whose data, of all commits and with the records of all runs, are in the remote."""
    origin, mine = (tmp_path_factory.mktemp("pushed") / name for name in ("origin.git", "mine"))
    subprocess.run(["git", "clone", "-q", "--bare", str(project), str(origin)], check=True)
    run = joined(mine, remote, origin)
    shutil.copytree(project / ".dvc/cache", mine / ".dvc/cache")
    run("dvc", "push", "-q", "-A", "--run-cache")
    run("dvc", "exp", "run", "-q", "-n", "three", "-S", "report.exemplars=3")
    run("dvc", "exp", "push", "-q", "origin", "three")
    return origin


@pytest.fixture
def other(pushed: Path, remote: Remote, tmp_path: Path) -> tuple[Path, Shell]:
    """A fresh clone that knows the remote and has no data yet."""
    return tmp_path / "other", joined(tmp_path / "other", remote, pushed)


def committed(run: Shell, message: str) -> None:
    run("git", "add", "-A")
    run("git", "commit", "-qm", message)


def ran(run: Shell, *arguments: str) -> set[str]:
    """Stages that `dvc repro` with these arguments ran."""
    return set(re.findall(r"Running stage '(.+)'", run("dvc", "repro", *arguments).stdout))


def lock(folder: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((folder / "dvc.lock").read_text())["stages"])


def is_clean(run: Shell) -> bool:
    return run("git", "status", "--porcelain").stdout == "" and run("dvc", "status", "--json").stdout.strip() == "{}"


def whole(folder: Path) -> set[str]:
    """The objects of a cache; each has the bytes that its name says."""
    found = set()
    for path in (folder / ".dvc/cache/files/md5").glob("*/*"):
        name = path.parent.name + path.name
        assert hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == name.removesuffix(".dir"), path
        found.add(name)
    return found


def test_pulled_elsewhere_nothing_runs(
    other: tuple[Path, Shell], record_property: Callable[[str, object], None]
) -> None:
    folder, run = other
    run("dvc", "pull", "-q")
    assert ran(run) == set()
    assert is_clean(run)
    assert (folder / "report/index.html").is_file()
    assert whole(folder)
    record_property("remotes", 1)


@pytest.mark.parametrize("remote", ["folder"], indirect=True)
def test_without_a_pull_nothing_runs_either(other: tuple[Path, Shell]) -> None:
    folder, run = other
    assert ran(run, "--pull") == set()
    assert is_clean(run)
    assert (folder / "report/index.html").is_file()


def test_without_a_pull_an_old_setting_brings_its_results_back(other: tuple[Path, Shell]) -> None:
    folder, run = other
    for path, value in OLD.items():
        change(folder, path, value)
    assert ran(run, "--pull", *HEAVY) == set()
    restored = lock(folder)
    run("git", "checkout", "-q", "HEAD~1", "--", "dvc.lock")
    assert {stage: restored[stage] for stage in HEAVY} == {stage: lock(folder)[stage] for stage in HEAVY}


def test_old_commits_and_experiments_are_had_elsewhere(other: tuple[Path, Shell]) -> None:
    folder, run = other
    run("dvc", "exp", "pull", "-q", "origin", "three")
    run("dvc", "exp", "apply", "-q", "three")
    assert "  exemplars: 3" in (folder / "params.yaml").read_text()
    assert ran(run) == set()
    assert (folder / "report/index.html").is_file()
    run("git", "checkout", "-q", "--force", "HEAD~1")
    run("dvc", "pull", "-q", "--allow-missing")
    assert ran(run, *HEAVY) == set()
    assert run("git", "status", "--porcelain").stdout == ""


@pytest.mark.parametrize("remote", ["folder"], indirect=True)
def test_a_new_setting_downloads_only_what_its_stages_read(other: tuple[Path, Shell]) -> None:
    folder, run = other
    change(folder, "report.exemplars", "2")
    assert ran(run, "--pull", "--allow-missing") == {"report"}
    assert not (folder / "data/controls").exists()


@pytest.mark.long
@pytest.mark.parametrize("remote", ["ssh", "s3"], indirect=True)
def test_a_push_that_lost_the_network_is_finished_by_another(project: Path, remote: Remote, tmp_path: Path) -> None:
    assert remote.link
    again = replace(remote, url=f"{remote.url}-lost")
    mine, other = (joined(tmp_path / name, again, project) for name in ("mine", "other"))
    shutil.copytree(project / ".dvc/cache", tmp_path / "mine/.dvc/cache")
    remote.link.cut_after(200_000)
    try:
        done = mine("dvc", "push", check=False)
    finally:
        remote.link.mend()
    print(done.stdout, done.stderr)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "ERROR: " in done.stderr
    mine("dvc", "push", "-q")
    other("dvc", "pull", "-q")
    assert ran(other) == set()
    assert is_clean(other)
    assert whole(tmp_path / "other") <= whole(tmp_path / "mine")


@pytest.mark.long
@pytest.mark.parametrize(
    ("ours", "theirs", "mergeable"),
    [  # git alone would merge the locks of the first two; the metrics of the others are in conflict as well
        (("label.max_missing", "0.06"), ("report.exemplars", "3"), True),
        (("evaluate.ks", "[1, 2, 5]"), ("evaluate.seed", "1"), False),
    ],
)
def test_two_branches_are_merged_as_the_docs_say(
    project: Path, tmp_path: Path, ours: tuple[str, str], theirs: tuple[str, str], mergeable: bool
) -> None:
    recipe = re.search(r"^git checkout --ours dvc\.lock .+$", (ROOT / "docs/sharing.md").read_text(), re.MULTILINE)
    assert recipe
    folder = tmp_path / "merged"
    shutil.copytree(project, folder, symlinks=True)
    run = shell(folder, tmp_path / "site")
    run("git", "branch", "-m", "main")
    for branch, (path, value) in (("theirs", theirs), ("ours", ours)):
        run("git", "checkout", "-q", "-b", branch, "main")
        change(folder, path, value)
        assert ran(run)
        committed(run, branch)
        run("dvc", "checkout", "-q")
    for branch in ("ours", "main", "theirs"):
        (tmp_path / branch).write_text(run("git", "show", f"{branch}:dvc.lock").stdout)
    merged_by_git = run("git", "merge-file", "-q", "-p", "../ours", "../main", "../theirs", check=False)
    assert (merged_by_git.returncode == 0) == mergeable
    assert "CONFLICT (content): Merge conflict in dvc.lock" in run("git", "merge", "-q", "theirs", check=False).stdout
    run("sh", "-c", recipe[0])
    committed(run, "merged")
    assert is_clean(run)
    merged = lock(folder)
    run("dvc", "repro", "-q", "-f", "--no-run-cache", "-s", "evaluate", "metrics", "report")
    assert lock(folder) == merged
    assert is_clean(run)


class User:
    """Someone of a group who works on the machine: runs commands under a number that nobody else has."""

    def __init__(self, number: int, group: int, home: Path, python: Path) -> None:
        self.home = home
        home.mkdir(mode=0o700)
        (home / ".gitconfig").write_text("[safe]\n    directory = *\n")  # the repository that they clone is not theirs
        os.chown(home, number, group)
        self._who: dict[str, Any] = {"user": number, "group": group, "extra_groups": [], "umask": 0o002}
        self._variables = environment(
            home / "site",
            PATH=os.pathsep.join([str(python), os.environ["PATH"]]),
            PYTHONPATH=os.pathsep.join(path for path in sys.path if path.endswith("-packages")),
            HOME=str(home),
            LOGNAME=home.name,
            GIT_CONFIG_GLOBAL=str(home / ".gitconfig"),
        )

    def __call__(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        folder = self.home / "descry"
        place = folder if folder.exists() else self.home
        return finished(command, check, cwd=place, env=self._variables, **self._who)


def python_for_all(folder: Path) -> Path:
    """A folder with a `python` and a `dvc` that every user of the machine may run."""
    folder.mkdir(mode=0o755)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = [Path(sys.executable).resolve(), Path("/usr/bin") / version, Path("/usr/local/bin") / version]
    (folder / "python").symlink_to(next((path for path in found if path.exists() and open_to_all(path)), "nowhere"))
    shutil.copy(ROOT / "tests/support/libyaml.py", folder)
    (folder / "libyaml.py").chmod(0o644)
    start = "import libyaml; libyaml.use_libyaml(); from dvc.cli import main; sys.exit(main(sys.argv[1:]))"
    script = f"import sys; sys.path.insert(0, {str(folder)!r}); {start}"
    (folder / "dvc").write_text(f'#!/bin/sh\nexec python -c "{script}" "$@"\n')
    (folder / "dvc").chmod(0o755)
    return folder


def open_to_all(path: Path) -> bool:
    return all(each.stat().st_mode & 0o001 for each in (path, *path.parents))


@pytest.fixture
def users(project: Path) -> Iterator[tuple[User, User, Path]]:
    """Two users of one group, and a folder of their group's."""
    if os.getuid() != 0:
        pytest.skip("only root can work as two users")
    base = Path(tempfile.mkdtemp())
    try:
        base.chmod(0o755)
        python = python_for_all(base / "bin")
        one, two = (User(number, 64100, base / name, python) for number, name in ((64101, "one"), (64102, "two")))
        if one("python", "-c", "import dvc.cli, torch", check=False).returncode:
            pytest.skip("other users of this machine may not run this Python and its packages")
        shared = base / "shared"
        shared.mkdir()
        os.chown(shared, 0, 64100)
        shared.chmod(0o2775)  # chmod g+ws
        shutil.copytree(project, base / "origin", symlinks=True)
        (base / "origin").chmod(0o755)
        run = shell(base / "origin", base / "site")
        run("dvc", "remote", "add", "-d", "--local", "store", str(base / "store"))
        run("dvc", "push", "-q", "--run-cache")
        yield one, two, base
    finally:
        shutil.rmtree(base)


def test_two_users_of_one_group_share_a_cache(users: tuple[User, User, Path]) -> None:
    *both, base = users
    for user in both:
        user("git", "clone", "-q", str(base / "origin"), "descry")
        user("dvc", "cache", "dir", "--local", str(base / "shared"))
        user("dvc", "config", "--local", "cache.shared", "group")
    one, two = both
    one("dvc", "remote", "add", "-d", "--local", "store", str(base / "store"))
    one("dvc", "pull", "-q")
    assert ran(two) == set()
    assert is_clean(two)
    change(two.home / "descry", "report.exemplars", "3")
    assert ran(two) == {"report"}
    change(one.home / "descry", "report.exemplars", "3")
    assert ran(one) == set()
    assert (one.home / "descry/report/index.html").read_bytes() == (two.home / "descry/report/index.html").read_bytes()
    assert not (two.home / "descry/.dvc/cache/files").exists()
