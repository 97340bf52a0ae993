"""Repairs files that a `dvc` left half-written when it was killed or the disk was full: dvc.lock and its list of locks.

DVC writes both in place. Nothing is lost: dvc.lock is restored from the last commit, and `dvc repro` finds what ran
since in its cache.
"""

import json
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.lock import Lock, LockError
from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from dvc.utils.serialize import parse_yaml
from voluptuous import Invalid

from stages.harness.stage import run_stage

LOCK = Path("dvc.lock")
TEMPORARY = Path(".dvc/tmp")
RWLOCK = TEMPORARY / "rwlock"


def is_whole(text: str) -> bool:
    """Whether a dvc.lock is complete, not cut off. One with a merge conflict counts as complete: git resolves it."""
    if re.search("^<<<<<<< ", text, re.MULTILINE):
        return True
    try:
        read = COMPILED_LOCKFILE_SCHEMA(parse_yaml(text, str(LOCK)))
    except (DvcException, Invalid):
        return False
    last = [out for stage in read.get("stages", {}).values() for out in stage.get("outs", [])][-1:]
    return text.endswith("\n") and all(_is_whole_out(out) for out in last)


def _is_whole_out(out: Mapping[str, Any]) -> bool:
    """Whether an output has its last keys, which a cut between two lines removes from valid YAML."""
    return "size" in out and ("nfiles" in out or not str(out.get("md5")).endswith(".dir"))


def _is_json(text: str) -> bool:
    with suppress(json.JSONDecodeError):
        json.loads(text)
        return True
    return False


def main() -> None:
    if TEMPORARY.is_dir():  # DVC has run here
        with suppress(LockError), Lock(str(TEMPORARY / "lock")):  # unless it is running now
            _mend()


def _mend() -> None:
    if LOCK.is_file() and not is_whole(LOCK.read_text(encoding="utf-8", errors="replace")):
        LOCK.unlink()
        committed = subprocess.run(  # noqa: S603 - no shell, and nothing of a user's in it
            ["git", "checkout", "--", str(LOCK)],  # noqa: S607
            capture_output=True,
            check=False,
        )
        how = "restored from the last commit" if committed.returncode == 0 else "removed"
        print(f"{LOCK} was half-written and is {how}; what ran since is in DVC's cache")
    if RWLOCK.is_file() and not _is_json(RWLOCK.read_text(encoding="utf-8", errors="replace")):
        RWLOCK.unlink()
        print(f"{RWLOCK} was half-written and is removed")


if __name__ == "__main__":
    run_stage(main)
