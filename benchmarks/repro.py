"""What does the default pipeline cost from scratch, and how much of that is not spent in a model's forward passes?

Run in the project's folder: python -m benchmarks.repro. Writes benchmarks/results/repro.json. The working tree is
copied to a temporary folder and run there, with benchmarks/stopwatch on the Python path of every stage.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from descry.storage.files import write_json

ROOT = Path(__file__).resolve().parent.parent
WHATS = ("seconds", "model_pass", "imports")


def copied(folder: Path) -> None:
    """Copy the project as git sees it, with uncommitted changes but without dvc.lock, into `folder`."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, text=True, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)


def make_environment(temporary: str) -> dict[str, str]:
    """The environment in which DVC runs a copy of the project in a temporary folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "DVC_SITE_CACHE_DIR": str(Path(temporary) / "site")}


def time_with(times: Path) -> dict[str, str]:
    """The variables with which every stage adds a line of JSON to `times`; see benchmarks/stopwatch."""
    return {"PYTHONPATH": str(ROOT / "benchmarks" / "stopwatch"), "STOPWATCH": str(times)}


def read_times(times: Path) -> list[dict[str, Any]]:
    """What the stages wrote there, in order."""
    return [json.loads(entry) for entry in times.read_text().splitlines()]


def repro(folder: Path, environment: Mapping[str, str]) -> float:
    """Run `dvc repro` and return its seconds."""
    start = perf_counter()
    subprocess.run([sys.executable, "-m", "dvc", "repro"], cwd=folder, env=environment, check=True)
    return perf_counter() - start


def line(name: str, figures: Mapping[str, float], whole: float) -> str:
    """Format a line of the printed table."""
    seconds = "".join(f"{figures[what]:>12.1f}" for what in WHATS)
    return f"{name:<22}{seconds}{figures['seconds'] / whole:>10.3f}"


def main() -> None:
    load = os.getloadavg()[0]
    with TemporaryDirectory() as temporary:
        folder, times = Path(temporary) / "project", Path(temporary) / "times"
        copied(folder)
        environment = make_environment(temporary) | time_with(times)
        whole, idle = (repro(folder, environment) for _ in range(2))
        stages = read_times(times)
    total = {what: sum(stage[what] for stage in stages) for what in WHATS}
    print(f"\n{'':<22}" + "".join(f"{what:>12}" for what in (*WHATS, "of all")))
    for stage in stages:
        print(line(stage["stage"], stage, whole))
    print(line("DVC itself", {**dict.fromkeys(WHATS, 0.0), "seconds": whole - total["seconds"]}, whole))
    print(line("all", {**total, "seconds": whole}, whole))
    share = 1 - total["model_pass"] / whole
    print(f"\noutside of model passes: {share:.3f}; a second run, with nothing to do: {idle:.1f} s")
    content = {
        "seconds": round(whole, 1),
        "share_outside_model": round(share, 3),
        "noop_seconds": round(idle, 1),
        "dvc_seconds": round(whole - total["seconds"], 1),
        "cores": os.cpu_count(),
        "load_before": round(load, 2),
        "stages": {stage["stage"]: {what: round(stage[what], 2) for what in WHATS} for stage in stages},
    }
    write_json(ROOT / "benchmarks" / "results" / "repro.json", content)


if __name__ == "__main__":
    main()
