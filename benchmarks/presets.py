"""What does a preset find, what does it cost, and does it ask a language model anything twice?

Run in the project's folder: python -m benchmarks.presets NAME [--folder FOLDER]. Adds the preset to
benchmarks/results/presets.json: every measure beside its chance level, random directions and its spread over splits.
The working tree, and DVC's cache of what has been run in it, are copied to a folder (a temporary one, or FOLDER, which
stays) and run there, twice; then the stages that ask are forced. So after a run of the default, only what the preset
changes is run and timed. A run that was interrupted in FOLDER goes on; --before gives the minutes that it had taken.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from benchmarks.repro import ROOT, copied, make_environment, read_times, time_with
from descry.results.columns import Folder, read_measures, read_stds
from descry.results.measures import find_measure, is_registered
from descry.results.noise import RANDOM_DIRECTIONS
from descry.storage.files import read_json, write_json

RESULTS = ROOT / "benchmarks" / "results" / "presets.json"
ASKING = ("generate", "label@first", "label@second")
"""Stages that may ask a language model."""
FURTHER = ("second_opinion.mean_best_ap", "second_opinion.agreement")
"""Measures that are kept besides the registered ones."""


def run(command: list[str], folder: Path, environment: Mapping[str, str]) -> tuple[str, float]:
    """Run a command of Python's, shown as it goes: what it printed, and its seconds."""
    start, said = perf_counter(), []
    given = {"cwd": folder, "env": environment, "text": True, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-m", *command], **given) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            said.append(line)
    if process.returncode:
        sys.exit(process.returncode)
    return "".join(said), perf_counter() - start


def count_calls(said: str) -> int:
    """The calls to a language model that a run made, by the lines before each job."""
    return sum(int(number.replace(",", "")) for number in re.findall(r"([\d,]+) to make", said))


def list_measures(folder: Path) -> dict[str, dict[str, float]]:
    """Every registered measure of a finished run: its value and, where it has them, its chance level, that of random
    directions, and its standard deviation over splits."""
    run_folder = Folder.of(folder)
    table, stds = read_measures(run_folder), read_stds(run_folder)
    rows = list(zip(*(table[name].tolist() for name in ("measure", "null", "value", "chance")), strict=True))
    values = {name: value for name, _, value, _ in rows}
    levels = {(name, null): chance for name, null, _, chance in rows}
    found = {}
    for name in filter(lambda name: is_registered(name) or name in FURTHER, values):
        figures = {
            "value": values[name],
            "chance": levels.get((name, find_measure(name).chance)),
            "random_directions": levels.get((name, RANDOM_DIRECTIONS)),
            "std": stds.get(name),
        }
        known = {key: figure for key, figure in figures.items() if figure is not None and not isnan(figure)}
        found[name] = {key: round(figure, 6) for key, figure in known.items()}
    return found


def run_preset(name: str, folder: Path, temporary: str, before: float) -> dict[str, Any]:
    """Run a preset in `folder`; temporary: for what is needed meanwhile; before: minutes that it has taken already."""
    copied(folder)
    if (cache := ROOT / ".dvc" / "cache").is_dir():
        shutil.copytree(cache, folder / ".dvc" / "cache", dirs_exist_ok=True)
    times, environment = Path(temporary) / "times", make_environment(temporary)
    load = os.getloadavg()[0]
    run(["stages.commands.preset", name], folder, environment)
    said, seconds = run(["dvc", "repro"], folder, environment | time_with(times))
    again, idle = run(["dvc", "repro"], folder, environment)
    forced, _ = run(["dvc", "repro", "-f", "-s", *ASKING], folder, environment)
    return {
        "minutes": round(before + seconds / 60, 1),
        "load_before": round(load, 2),
        "calls": count_calls(said),
        "calls_again": count_calls(again) + count_calls(forced),
        "stages_again": again.count("Running stage"),
        "seconds_again": round(idle, 1),
        "stages": {stage["stage"]: round(stage["seconds"], 1) for stage in read_times(times)},
        "measures": list_measures(folder),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(path.stem for path in (ROOT / "presets").glob("*.yaml")))
    parser.add_argument("--folder", type=Path, help="a new folder for the run, which stays")
    parser.add_argument("--before", type=float, default=0.0)
    given = parser.parse_args()
    with TemporaryDirectory() as temporary:
        found = run_preset(given.name, given.folder or Path(temporary) / "project", temporary, given.before)
    write_json(RESULTS, (read_json(RESULTS) if RESULTS.exists() else {}) | {given.name: found})


if __name__ == "__main__":
    main()
