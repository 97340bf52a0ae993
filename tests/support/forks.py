"""Stages in processes of their own that cost no start-up: forked from one that has loaded what they import."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Timer

from tests.support.projects import environment

SERVES = """
import importlib, json, os, sys, torch, traceback
torch.set_num_threads(1)
from stages.harness import stage as harness

def run(command):
    stage, _, argument = command.partition(" ")
    sys.argv = [stage, argument]
    os.environ["DVC_STAGE"] = f"{stage}@{argument}" if argument else stage
    harness._read_declared.cache_clear()
    harness.run_stage(importlib.import_module(f"stages.{stage}").main)

def ended(command):
    code = 0
    try:
        run(command)
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    return code

for command in json.loads(sys.argv[1]):
    run(command)
print("ready", 0, flush=True)
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(order["folder"])
        output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdin, sys.stdout = open(os.devnull), open(1, "w", buffering=1, closefd=False)
        os._exit(ended(order["stage"]))
    print("child", child, flush=True)
    print("ended", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Forks:
    """Runs stages (`name` or `name item`) as DVC would, each in a process of its own that can be killed."""

    def __init__(self, folder: Path, site: Path, stages: Sequence[str], **changes: str) -> None:
        """stages: run once in `folder`, in the process that forks, which has loaded their models and modules then;
        changes: of the environment."""
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVES, json.dumps(stages)],
            cwd=folder,
            env=environment(site, PYTHONPATH=str(folder), TOKENIZERS_PARALLELISM="false", **changes),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._said("ready")

    def _said(self, word: str) -> int:
        assert self._process.stdout
        for line in self._process.stdout:
            if line.startswith(f"{word} "):
                return int(line.split()[1])
        raise AssertionError("the process that forks has ended")

    def _start(self, stage: str, folder: Path, output: str) -> int:
        assert self._process.stdin
        order = {"stage": stage, "folder": str(folder), "output": output}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._said("child")

    def run(self, stage: str, killed_after: float | None = None, since: Callable[[], bool] = lambda: True) -> int:
        """The exit code; negative for a signal. killed_after: seconds, from the start or from when `since` holds."""
        child = self._start(stage, self._folder, os.devnull)
        if killed_after is not None:
            with suppress(ProcessLookupError):
                while not since():
                    os.kill(child, 0)  # it still runs
                    time.sleep(0.001)
                time.sleep(killed_after)
                os.kill(child, signal.SIGKILL)
        return self._said("ended")

    def heard(self, stage: str, folder: Path, output: Path, longest: float) -> tuple[int, str]:
        """The exit code in another folder, and what the stage said. longest: seconds until it is killed."""
        timer = Timer(longest, os.kill, (self._start(stage, folder, str(output)), signal.SIGKILL))
        timer.start()
        try:
            return self._said("ended"), output.read_text(errors="replace")
        finally:
            timer.cancel()

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()
