"""Killed at any moment and started again, `extract` and `label` go on from the last whole shard, to the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from descry import artifacts
from descry.exemplars import read_kept
from tests.test_repro import SMALL, change, clone, environment

KILLS = 20
STAGES = {
    "extract calibration": ["data/activations/calibration.safetensors", "data/poolings/calibration/max.safetensors"],
    "label first": ["data/labels/first/calibration.safetensors", "data/labels/first/validation.safetensors"],
}
CHANGES = SMALL | {"runtime.shard": "40", "split.limit": "160"}

# Libraries are loaded once; each run is a fork, so that a kill costs no start-up.
FORKS = """
import importlib, os, sys, torch, transformers, sentence_transformers
torch.set_num_threads(1)
from stages import _stage
stages = {name: importlib.import_module(f"stages.{name}") for name in ("extract", "label")}
for line in sys.stdin:
    stage, argument = line.split()
    child = os.fork()
    if child == 0:
        sys.argv = [stage, argument]
        os.environ["DVC_STAGE"] = f"{stage}@{argument}"
        _stage.run(stages[stage].main)
        sys.stdout.flush()
        os._exit(0)
    print("child", child, flush=True)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forks:
    """Runs stages of a project, each in a process of its own that can be killed."""

    def __init__(self, folder: Path, site: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", FORKS],
            cwd=folder,
            env=environment(site, PYTHONPATH=str(folder), TOKENIZERS_PARALLELISM="false"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def _said(self, word: str) -> int:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith(f"{word} "):
                return int(line.split()[1])
        raise AssertionError("the process that forks has ended")

    def run(self, stage: str, killed_after: float | None = None) -> int:
        """The exit code; negative for a signal."""
        assert self._process.stdin
        self._process.stdin.write(stage + "\n")
        self._process.stdin.flush()
        child = self._said("child")
        if killed_after is not None:
            time.sleep(killed_after)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return self._said("ended")

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which all has run once, in small shards."""
    folder, site = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("site")
    run = clone(folder, site, CHANGES)
    run("dvc", "repro", "-q", "label", "extract")
    return folder


@pytest.fixture(scope="module")
def forks(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    found = Forks(project, tmp_path_factory.mktemp("site"))
    yield found
    found.close()


def emptied(folder: Path, files: list[str]) -> dict[str, bytes]:
    """The files' bytes; they are removed, as DVC does before a stage runs."""
    contents = {name: (folder / name).read_bytes() for name in files}
    for name in files:
        (folder / name).unlink()
    return contents


def shards_done(project: Path) -> int:
    """Sentences of whole shards that are kept."""
    kept = list((project / ".shards").rglob("kept.safetensors"))
    if kept:
        return sum(read_kept(kept[0])[1].values())
    vectors = (project / ".shards").rglob("*.safetensors")
    return sum(len(artifacts.read_arrays(path, "vectors")[0]["vectors"]) for path in vectors)


@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_random_it_goes_on_to_the_same_bytes(project: Path, forks: Forks, stage: str) -> None:
    expected = emptied(project, STAGES[stage])
    start = time.perf_counter()
    assert forks.run(stage) == 0
    whole = time.perf_counter() - start
    assert emptied(project, STAGES[stage]) == expected
    generator, kills, before, went_on = random.Random(stage), 0, 0, 0
    while kills < KILLS:
        if forks.run(stage, generator.uniform(0.0, whole)) == 0:  # it came to its end before the kill
            assert emptied(project, STAGES[stage]) == expected
            before = 0
            continue
        kills += 1
        done = shards_done(project)
        assert done >= before
        went_on += 0 < before < done
        before = done
    assert forks.run(stage) == 0
    assert emptied(project, STAGES[stage]) == expected
    assert went_on > 0
    assert not (project / ".shards" / stage.replace(" ", "-")).exists()


@pytest.mark.parametrize("stage", STAGES)
def test_a_changed_parameter_reuses_no_shard(project: Path, forks: Forks, stage: str) -> None:
    parameters = (project / "params.yaml").read_text()
    for name in STAGES[stage]:
        (project / name).unlink(missing_ok=True)
    try:
        change(project, "runtime.batch_tokens", "64")
        assert forks.run(stage) == 0
        expected = emptied(project, STAGES[stage])
        (project / "params.yaml").write_text(parameters)
        while not shards_done(project):
            assert forks.run(stage, 0.5) == -signal.SIGKILL
        change(project, "runtime.batch_tokens", "64")
        assert forks.run(stage) == 0
        assert emptied(project, STAGES[stage]) == expected
    finally:
        (project / "params.yaml").write_text(parameters)
