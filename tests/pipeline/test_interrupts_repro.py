"""Killed, interrupted or out of space in any stage, the same command again ends as an undisturbed run does."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest
import yaml

from stages.commands.mend import is_whole
from tests.conftest import ROOT, SEED, bert_of_reviews, draw
from tests.pipeline.test_server_repro import KEY, VARIABLE, reader
from tests.support.fake_server import FakeServer, Reply, Seen
from tests.support.forks import Forks
from tests.support.projects import SMALL, change, clone, environment, shell, with_model

TINY = SMALL | {
    "runtime.shard": "20",
    "split.limit": "60",
    "generate.retrieval.words": "300",
    "cluster.min_sentences": "3",
    "extract.top_k": "40",
    "extract.probe": "50",
    "assign.exemplars": "20",
    "sweep.exemplars": "[10]",
}
LLM = {
    "generate.generators": "[shop]",
    "label.labeller": "list",
    "label.prompted.llm": "shop",
    "label.max_missing": "0.9",
    "runtime.concurrency": "4",
    "runtime.retries": "0",
}
MODEL = {"generate", "cluster", "label", "extract", "controls", "tokens", "transfer", "ablate", "writes"}
"""Stages that load a library of models, which takes seconds."""
LASTS, NOTES = {True: 2.5, False: 0.5}, 0.3
"""Seconds, about, of a stage that loads models, or none; of DVC writing dvc.lock."""
ASKING = ("generate", "label@first")
HOW = ("stage", "dvc", "group", "ctrl-c")
SHELLS = ("/bin/sh", "/bin/bash")
UNCACHED = {"metrics"}
"""The stage with an uncached output other than metrics and plots: DVC's run cache keeps no such stage."""
ENDS = 90.0
"""Seconds in which whatever a killed run had started must be gone; Ray's helpers look now and then for their node."""


def stages_of(folder: Path) -> list[str]:
    """Every stage, in an order in which they can run."""
    found = yaml.safe_load((folder / "dvc.yaml").read_text())["stages"]
    items = {name: next(iter(stage.get("matrix", {"": []}).values())) for name, stage in found.items()}
    return [address for name in found for address in ([f"{name}@{item}" for item in items[name]] or [name])]


STAGES = stages_of(ROOT)
KILLED, FILLED = draw("killed", STAGES), draw("filled", STAGES)
"""The stages that are killed today, and those whose disk is full."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights that knows the corpus' words."""
    return bert_of_reviews(tmp_path_factory.mktemp("tiny") / "bert")


def made(folder: Path, tiny: Path) -> Path:
    """A clone in `folder` that has not run."""
    clone(folder, folder.parent / "site", TINY | with_model(tiny))
    return folder


class Repro:
    """A `dvc repro` in a session of its own, whose processes can be told from all others."""

    def __init__(self, folder: Path, *command: str, **changes: str) -> None:
        self._log = (folder / ".dvc/tmp").joinpath("said.txt")
        self._log.parent.mkdir(exist_ok=True)
        with self._log.open("w") as log:
            self.dvc = subprocess.Popen(
                ["dvc", "repro", *command],
                cwd=folder,
                env=environment(folder.parent / "site", **changes),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def until(self, line: str) -> bool:
        """Wait for a line; False where the run ended without it."""
        while line not in self.said:
            if self.dvc.poll() is not None:
                return False
            time.sleep(0.005)
        return True

    def others(self) -> list[psutil.Process]:
        """What it started and what still runs."""
        found = []
        for process in psutil.process_iter():
            with suppress(OSError, psutil.Error):
                if process.pid != self.dvc.pid and os.getsid(process.pid) == self.dvc.pid:
                    found.append(process)
        return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]

    def kill(self, how: str) -> None:
        """how: `group`, `dvc` and `stage` by SIGKILL; `ctrl-c` as a terminal sends it."""
        with suppress(ProcessLookupError):
            if how == "ctrl-c":
                os.killpg(self.dvc.pid, signal.SIGINT)
            elif how == "group":
                os.killpg(self.dvc.pid, signal.SIGKILL)
            elif how == "stage" and (running := self.others()):
                running[0].kill()
            else:
                self.dvc.kill()

    def orphans(self) -> list[psutil.Process]:
        """What has not ended though the run has."""
        self.dvc.wait()
        until = time.monotonic() + ENDS
        while (left := self.others()) and time.monotonic() < until:
            time.sleep(0.02)
        return left


def broke(said: str) -> bool:
    """Whether a traceback was shown of this project's code. Python itself shows one where Ctrl-C finds it starting."""
    return "Traceback" in said and bool(re.search("/(stages|descry)/", said))


@dataclass
class Trials:
    """What became of kills. kills: each; lost: those after which something ran on, or did not go on, or a traceback
    was shown; mended: how many left DVC's own files half-written."""

    folder: Path
    kills: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    mended: int = 0

    def kill(self, stage: str, line: str, how: str, wait: float, *force: str) -> bool:
        """Run a stage and kill the run so many seconds after a line; False where it came to its end before."""
        self.mend()
        run = Repro(self.folder, "-s", stage, *force, SHELL=SHELLS[len(self.kills) % len(SHELLS)])
        run.until(line)
        time.sleep(wait)
        alive = run.dvc.poll() is None
        run.kill(how)
        name = f"{stage}: {how}, {wait:.3f} s after {line!r}"
        if run.orphans() or broke(run.said):
            self.lost.append(f"{name}\n{run.said}")
        if alive:
            self.kills.append(name)
        return alive

    def mend(self) -> None:
        run = shell(self.folder, self.folder.parent / "site")
        self.mended += bool(run("python", "-m", "stages.commands.mend").stdout)

    def again(self, *stages: str) -> None:
        """The same command again, as `make` gives it."""
        self.mend()
        done = shell(self.folder, self.folder.parent / "site")("dvc", "repro", "-s", *stages, check=False)
        if done.returncode:
            self.lost.append(f"{stages} do not go on\n{done.stderr}")


def trials(folder: Path) -> Trials:
    """Stage after stage, the day's share killed at a random moment, most of it killed again while DVC notes what came
    of them, and all then run to the end."""
    found, generator, before = Trials(folder), random.Random(SEED), 0
    for number, stage in enumerate(KILLED):
        place, line = STAGES.index(stage), f"Running stage '{stage}'"
        if before < place:
            found.again(*STAGES[before:place])
        before = place + 1
        wait = generator.uniform(0.0, LASTS[stage.partition("@")[0] in MODEL])
        if not found.kill(stage, line, HOW[number % len(HOW)], wait):
            while not found.kill(stage, line, HOW[number % len(HOW)], wait := wait / 2, "-f"):
                pass
        if number % 3 != 2:
            found.kill(stage, " lock file 'dvc.lock'", HOW[1 + number % 3], generator.uniform(0.0, NOTES))
        found.again(stage)
    if before < len(STAGES):
        found.again(*STAGES[before:])
    return found


def again(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """The same command again, as `make` gives it: first what DVC left half-written is put away."""
    run = shell(folder, folder.parent / "site")
    run("python", "-m", "stages.commands.mend")
    return run("dvc", "repro", *command, check=False)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> tuple[Path, Trials]:
    """An undisturbed clone, and what became of one whose stages were killed and run again."""
    undisturbed, broken = (made(tmp_path_factory.mktemp(name) / "clone", tiny) for name in ("whole", "broken"))
    shell(undisturbed, undisturbed.parent / "site")("dvc", "repro", "-q")
    return undisturbed, trials(broken)


@pytest.fixture(scope="module")
def project(killed: tuple[Path, Trials]) -> Path:
    """A clone in which the pipeline has run, undisturbed."""
    return killed[0]


def lock(folder: Path) -> Any:
    return yaml.safe_load((folder / "dvc.lock").read_text())


def test_killed_in_any_stage_it_ends_as_an_undisturbed_run(
    killed: tuple[Path, Trials], record_property: Callable[[str, object], None]
) -> None:
    undisturbed, found = killed
    done = again(found.folder)
    assert done.returncode == 0
    # What ran is in the cache, even where dvc.lock was put away.
    assert set(re.findall("Running stage '(.*)'", done.stdout)) <= UNCACHED
    expected, entries = lock(undisturbed)["stages"], lock(found.folder)["stages"]
    lost = found.lost + [stage for stage in STAGES if entries[stage] != expected[stage]]
    record_property("kills", len(found.kills))
    record_property("kills_lost", len(lost))
    record_property("kills_mended", found.mended)
    assert not lost
    assert len(found.kills) > len(KILLED)
    assert {name.partition(":")[0] for name in found.kills} == set(KILLED)
    assert not [path for path in found.folder.rglob("*.part") if ".git" not in path.parts]
    assert shell(found.folder, found.folder.parent / "site")("dvc", "status", "--json").stdout.strip() == "{}"


def test_a_key_stroke_ends_a_stage_with_one_line(project: Path) -> None:
    run = Repro(project, "-s", "-f", "evaluate")
    assert run.until("Running stage 'evaluate'")
    while not any("stages.evaluate" in process.cmdline() for process in run.others()):
        time.sleep(0.005)
    time.sleep(0.3)
    run.kill("ctrl-c")
    assert not run.orphans()
    assert "Traceback" not in run.said
    assert run.said.count("descry: interrupted; run the same command again") == 1
    assert "exited with 130" in run.said
    assert again(project, "-s", "evaluate").returncode == 0


@pytest.mark.long
@pytest.mark.parametrize("cut", [0.0, 0.77])
def test_a_lock_file_cut_off_is_put_away_and_found_again(project: Path, cut: float) -> None:
    path, expected = project / "dvc.lock", lock(project)
    text = path.read_text()
    path.write_text(text[: int(cut * len(text))])
    (project / ".dvc/tmp/rwlock").write_text('{"write": {"/')
    done = again(project)
    assert done.returncode == 0, done.stderr
    assert set(re.findall("Running stage '(.*)'", done.stdout)) == UNCACHED
    assert lock(project) == expected


def test_a_lock_file_cut_off_is_put_back_as_committed(project: Path) -> None:
    run, path = shell(project, project.parent / "site"), project / "dvc.lock"
    run("git", "add", "-A")
    run("git", "commit", "-qm", "run")
    text = path.read_text()
    path.write_text(text[:1000])
    assert "restored from the last commit" in run("python", "-m", "stages.commands.mend").stdout
    assert path.read_text() == text
    assert run("python", "-m", "stages.commands.mend").stdout == ""


def test_wherever_a_lock_file_is_cut_no_output_is_half_noted() -> None:
    note = {"hash": "md5", "md5": "0123456789abcdef0123456789abcdef", "size": 10}
    folder = {"hash": "md5", "md5": "0123456789abcdef0123456789abcdef.dir", "size": 10, "nfiles": 2}
    stage = {"cmd": "x", "deps": [{"path": "a", **note}], "outs": [{"path": "b", **note}, {"path": "c", **folder}]}
    text = yaml.safe_dump({"schema": "2.0", "stages": {"one": stage, "two": stage}}, sort_keys=False)
    assert is_whole(text)
    accepted = [text[:end] for end in range(len(text)) if is_whole(text[:end])]
    for cut in accepted:
        stages = yaml.safe_load(cut).get("stages", {}).values()
        assert all(out in stage["outs"] for found in stages for out in found.get("outs", []))
    assert len(accepted) < len(text) / 10


def test_a_conflict_is_left_to_git(project: Path) -> None:
    path = project / "dvc.lock"
    text = path.read_text()
    conflict = "<<<<<<< ours\nstages: {}\n=======\nstages: []\n>>>>>>> theirs\n"
    try:
        for damaged in (conflict, text + conflict):
            path.write_text(damaged)
            shell(project, project.parent / "site")("python", "-m", "stages.commands.mend")
            assert path.read_text() == damaged
    finally:
        path.write_text(text)


def test_two_at_once_give_what_one_gives(project: Path) -> None:
    expected = lock(project)
    runs = [
        subprocess.Popen(
            ["dvc", "repro", "-s", "-f", "assign@calibration"],
            cwd=project,
            env=environment(project.parent / "site"),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    said = [run.communicate()[0] for run in runs]
    for run, text in zip(runs, said, strict=True):
        assert run.returncode == 0 or "is busy" in text or "Unable to acquire lock" in text, text
        assert "Traceback" not in text
    assert any(run.returncode == 0 for run in runs)
    assert again(project, "-s", "assign@calibration").returncode == 0
    assert lock(project) == expected


def test_a_cluster_ends_with_the_run_that_started_it(project: Path) -> None:
    pytest.importorskip("ray")
    parameters, before = (project / "params.yaml").read_text(), (project / "dvc.lock").read_text()
    change(project, "runtime.engine", "ray")
    change(project, "runtime.shard", "5")
    try:
        run = Repro(project, "-s", "extract@calibration")
        while not any("raylet" in process.name() for process in run.others()):
            assert run.dvc.poll() is None, run.said
            time.sleep(0.05)
        run.kill("dvc")
        assert not run.orphans()
    finally:
        (project / "params.yaml").write_text(parameters)
        (project / "dvc.lock").write_text(before)
        assert again(project, "-s", "extract@calibration").returncode == 0


class Bench:
    """A run project in which stages are run by a process that forks, their errors kept."""

    def __init__(self, project: Path, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(project, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".git", ".dvc"))
        self._outs = {stage: [out["path"] for out in entry["outs"]] for stage, entry in lock(project)["stages"].items()}
        self._log = folder.parent / f"{folder.name}.log"
        names = [stage.replace("@", " ") for stage in STAGES if stage in {*FILLED, *ASKING}]
        self._forks = Forks(folder, folder.parent / "site", names, **{VARIABLE: KEY})

    def run(self, stage: str) -> tuple[int, str]:
        """The exit code, and what was said."""
        return self._forks.heard(stage.replace("@", " "), self.folder, self._log, longest=300)

    def written(self, stage: str) -> dict[Path, bytes]:
        """The stage's outputs, as far as they are there."""
        paths = [self.folder / out for out in self._outs[stage]]
        files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
        return {file: file.read_bytes() for file in files if file.is_file()}

    def emptied(self, stage: str) -> dict[Path, bytes]:
        """The same; they are removed, as DVC does before a stage runs."""
        found = self.written(stage)
        for file in found:
            file.unlink()
        return found

    def close(self) -> None:
        self._forks.close()


def fault(said: str) -> str:
    """The one line of error among what a stage said."""
    assert "Traceback" not in said
    [line] = [line for line in said.splitlines() if line.startswith("descry: ")]
    return line


@pytest.fixture(scope="module")
def bench(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """On a file system of its own where that may be had, which is for root on Linux."""
    folder = tmp_path_factory.mktemp("bench") / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    mounted = bool(shutil.which("mount")) and not subprocess.run(mount, capture_output=True, check=False).returncode
    try:
        found = Bench(project, folder)
        yield found
        found.close()
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_named_and_the_next_run_mends_it(bench: Bench) -> None:
    if not bench.folder.is_mount():
        pytest.skip("no file system of its own may be mounted here: not root, or not Linux")
    generator, full = random.Random(6), 0
    filler = bench.folder / "filler"
    for stage in FILLED:
        expected = bench.emptied(stage)
        size = sum(map(len, expected.values()))
        free = shutil.disk_usage(bench.folder).free
        filler.write_bytes(bytes(max(0, free - generator.randrange(size))))
        code, said = bench.run(stage)
        filler.unlink()
        left = bench.written(stage)
        assert left.items() <= expected.items(), stage  # whole or not there
        if code:
            line = fault(said)
            assert re.match(r"descry: (model )?\S+: ", line), line
            assert "No space left on device" in line
            assert "run the same command again" in line
            full += 1
        else:
            assert left == expected
        for file in left:
            file.unlink()
        assert bench.run(stage)[0] == 0
        assert bench.written(stage) == expected
    assert full >= len(FILLED) - 2  # what is small may find its room


@pytest.mark.long
@pytest.mark.parametrize("stage", ASKING)
def test_a_server_that_dies_is_named_and_asked_again(bench: Bench, stage: str) -> None:
    parameters, before = (bench.folder / "params.yaml").read_text(), bench.written(stage)
    for path, value in LLM.items():
        change(bench.folder, path, value)
    try:
        with FakeServer(reader) as server:
            serve(bench.folder, server, "whole")
            bench.emptied(stage)
            assert bench.run(stage)[0] == 0
            expected, calls = bench.emptied(stage), len(server.seen)
        with FakeServer(reader) as server:

            def dies(seen: Seen) -> Reply:
                if len(server.seen) == calls // 2:
                    Thread(target=server.die).start()
                return reader(seen)

            server.behaviour = dies
            serve(bench.folder, server, "broken")
            code, said = bench.run(stage)
            assert code == 1
            line = fault(said)
            assert server.url in line
            assert "run the same command again" in line
            assert not bench.written(stage)
        with FakeServer(reader) as server:
            serve(bench.folder, server, "broken")
            assert bench.run(stage)[0] == 0
            assert bench.written(stage) == expected
            assert 0 < len(server.seen) < calls
    finally:
        (bench.folder / "params.yaml").write_text(parameters)
        bench.emptied(stage)
        for file, content in before.items():
            file.write_bytes(content)


def serve(folder: Path, server: FakeServer, answers: str) -> None:
    """Have the project ask this server, and keep its answers there."""
    llm = f"{{shop: {{client: openai, base_url: '{server.url}', model: reader, key: {VARIABLE}}}}}"
    change(folder, "llms", llm)
    change(folder, "runtime.answers", f".answers/{answers}-{folder.name}")
