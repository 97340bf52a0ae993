"""`python -m descry verify [OTHER]`: is this run as it was recorded; does it agree with another one?"""

from __future__ import annotations

import argparse
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from descry.assignment.rules import RULES
from descry.errors import InputError
from descry.results import layout
from descry.results.changes import compare_assignments, compare_settings
from descry.results.columns import Columns, take_rows
from descry.results.comparison import AGREEING, Comparison, Tolerance, compare_files
from descry.results.layout import read_lock
from descry.schemas.assign import ASSIGNMENT_TABLE
from descry.splits import SPLITS
from descry.storage.nesting import flatten
from descry.storage.tables import read_columns
from stages.harness.environment import find_unlike_lock, read_stamps
from stages.harness.recorded import (
    find_cache,
    find_changed,
    find_damaged,
    hash_files,
    list_files,
    read_entries,
    read_expected,
)

DESCRIPTION = """
Without OTHER: read every file that dvc.lock names and every object of the DVC cache and compare it with its hash, since
DVC trusts a file whose size and time have not changed. With OTHER, the folder of another run: compare the artifacts of
both runs; integers and text must be equal, floats within the tolerance. The exit code is 0 if all is well, else 1.
"""


def add_parser(commands: Any) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser("verify", help="check this run, or compare it with another", description=DESCRIPTION)
    parser.add_argument("other", nargs="?", type=Path, metavar="OTHER", help="the folder of another run")
    parser.add_argument(
        "--heal",
        action="store_true",
        help="remove this run's damaged results, so that `dvc checkout` or `dvc repro` restores them",
    )
    default = Tolerance()
    for name in ("relative", "absolute"):
        about = f"{name} difference that floats of both runs may have (default: %(default)s)"
        parser.add_argument(f"--{name}", type=float, default=getattr(default, name), help=about)
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> int:
    """Run the command; 0 where all is well, else 1."""
    warning = find_unlike_lock()
    if warning:
        print(warning)
    if chosen.other is None:
        sound = _check_run(chosen.heal)
    else:
        sound = _check_agreement(chosen.other, Tolerance(chosen.relative, chosen.absolute))
    return int(bool(warning) or not sound)


def _check_run(heal: bool) -> bool:
    """Print every damaged file, remove it if `heal`; returns whether there is none."""
    outs, deps = (read_entries(Path(), role) for role in ("outs", "deps"))
    written = {out.path for out in outs}
    inputs = [dep for dep in deps if not any(path in written for path in (dep.path, *dep.path.parents))]
    cache = find_cache()
    damaged = [(path, out.stage) for out in find_changed(outs) for path in find_damaged(out, cache)]
    changed_inputs = [dep.path for dep in find_changed(inputs) if not _holds(dep.path, written)]
    objects = sorted(path for path in cache.glob("[0-9a-f][0-9a-f]/*") if path.is_file())
    torn = [path for path, md5 in hash_files(objects).items() if not path.as_posix().endswith(_end_of_path(md5, path))]
    for path, stage in damaged:
        print(f"{path}: {'damaged or changed' if path.exists() else 'missing'}: not what {stage} wrote")
    for path in changed_inputs:
        print(f"{path}: not what the last run read; if you did not change it: `git checkout {path}`")
    names = {out.md5: out.path for out in outs}
    names |= {md5: path for out in outs for path, md5 in read_expected(out, cache).items()}
    for path in torn:
        name = names.get(path.parent.name + path.name)
        print(f"{os.path.relpath(path)}: damaged object of the cache" + (f", of {name}" if name else ""))
    results = [path for path, _ in damaged] + torn
    if heal:
        for path in results:
            _remove(path)
    if results:
        print(
            "removed; `dvc pull` or `dvc repro` restores them"
            if heal
            else "`python -m descry verify --heal` removes them; then `dvc pull` or `dvc repro` restores them"
        )
    if not results and not changed_inputs:
        print(f"{len(outs)} results and {len(objects)} objects of the cache are as recorded")
    return not results and not changed_inputs


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _end_of_path(md5: str, path: Path) -> str:
    """How the path of a cached object with that md5 ends."""
    return f"/{md5[:2]}/{md5[2:]}{'.dir' if path.suffix == '.dir' else ''}"


def _holds(path: Path, written: set[Path]) -> bool:
    """Whether a folder holds results, which are checked on their own."""
    return any(path in result.parents for result in written)


def _check_agreement(other: Path, tolerance: Tolerance) -> bool:
    """Print of every artifact of either run whether both agree; returns whether all do."""
    if other.resolve() == Path().resolve():
        raise InputError(f"{other}: this very run; name the folder of another one")
    for line in (*_compare_parameters(other), *_compare_environments(other)):
        print(line)
    results = list(_compare_artifacts(other, tolerance))
    for name, result in results:
        print(f"{result.verdict:<12} {name}" + (f": {result.detail}" if result.detail else ""))
    for line in _compare_assignments(other):
        print(line)
    agreeing = sum(result.verdict in AGREEING for _, result in results)
    within = f"floats within {tolerance.absolute:g} + {tolerance.relative:g} x value"
    print(f"{agreeing} of {len(results)} artifacts agree ({within})")
    return agreeing == len(results)


def _compare_artifacts(other: Path, tolerance: Tolerance) -> Iterator[tuple[Path, Comparison]]:
    """Compare every file that either dvc.lock names, or that lies in a folder that it names."""
    here = Path()
    outs = {entry.path for root in (here, other) for entry in read_entries(root, "outs")}
    for out in sorted(outs):
        inside = {file.relative_to(root) for root in (here, other) for file in list_files(root / out)}
        for name in sorted(inside) or [out]:
            yield name, compare_files(here / name, other / name, tolerance)


def _compare_parameters(other: Path) -> Iterator[str]:
    """A line for each parameter whose values differ."""
    for key, first, second in compare_settings(*(read_lock(root) for root in (Path(), other))):
        yield f"params.yaml: {key} is {first!r}, {second!r} there"


def _compare_environments(other: Path) -> Iterator[str]:
    """A line for each difference between the environments in which stages ran, with the stages that it concerns."""
    both = [read_stamps(root) for root in (Path(), other)]
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for stage in sorted(both[0].keys() & both[1].keys()):
        first, second = (flatten(stamps[stage]) for stamps in both)
        for key in sorted(first.keys() | second.keys()):
            if first.get(key) != second.get(key):
                alike[f"{key} is {first.get(key)}, {second.get(key)} there"].append(stage)
    for line, stages in alike.items():
        yield f"environment: {line} ({', '.join(stages)})"
    alone = sorted(both[0].keys() ^ both[1].keys())
    if alone:
        yield f"environment: only one run has recorded its own of {', '.join(alone)}"


def _compare_assignments(other: Path) -> Iterator[str]:
    """A line for each split and rule: how far the assignments of both runs agree."""
    for split in SPLITS:
        paths = [root / layout.ASSIGNMENTS / f"{split}.parquet" for root in (Path(), other)]
        try:
            here, there = (read_columns(path, ASSIGNMENT_TABLE) for path in paths)
        except InputError:  # reported among the artifacts
            continue
        for rule in RULES:
            agreement = compare_assignments(_select_assigned(here, rule), _select_assigned(there, rule))
            yield (
                f"assignments of {split} by {rule}: Jaccard of the pairs {agreement.jaccard:.3f}, "
                f"same first descriptor {100 * agreement.first:.1f} % of neurons"
            )


def _select_assigned(table: Columns, rule: str) -> Columns:
    """The pairs that a rule assigns, each with its `place` (1 = the neuron's first)."""
    return take_rows(table | {"place": table[f"{rule}_rank"]}, table[f"{rule}_assigned"])
