"""Put away what a `dvc` that was killed, or had a full disk, left half-written: its lock file and its list of locks.

DVC writes both in place. Nothing is lost with them: dvc.lock is put back as the last commit has it, and `dvc repro`
finds in its cache what ran since.
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


def whole_lock(text: str) -> bool:
    """Whether a dvc.lock is as DVC or git left it, and not cut off. One with a conflict is git's to solve."""
    if re.search("^<<<<<<< ", text, re.MULTILINE):
        return True
    try:
        read = COMPILED_LOCKFILE_SCHEMA(parse_yaml(text, str(LOCK)))
    except (DvcException, Invalid):
        return False
    last = [out for stage in read.get("stages", {}).values() for out in stage.get("outs", [])][-1:]
    return text.endswith("\n") and all(_whole_out(out) for out in last)


def _whole_out(out: Mapping[str, Any]) -> bool:
    """A cut between two lines leaves sound YAML, but an output that lacks its last keys."""
    return "size" in out and ("nfiles" in out or not str(out.get("md5")).endswith(".dir"))


def _whole_json(text: str) -> bool:
    with suppress(json.JSONDecodeError):
        json.loads(text)
        return True
    return False


def main() -> None:
    if TEMPORARY.is_dir():  # DVC has run here
        with suppress(LockError), Lock(str(TEMPORARY / "lock")):  # unless it is at work right now
            _mend()


def _mend() -> None:
    if LOCK.is_file() and not whole_lock(LOCK.read_text(encoding="utf-8", errors="replace")):
        LOCK.unlink()
        committed = subprocess.run(  # noqa: S603 - no shell, and nothing of a user's in it
            ["git", "checkout", "--", str(LOCK)],  # noqa: S607
            capture_output=True,
            check=False,
        )
        how = "put back as committed" if committed.returncode == 0 else "removed"
        print(f"{LOCK} was half-written and is {how}; what ran since is in DVC's cache")
    if RWLOCK.is_file() and not _whole_json(RWLOCK.read_text(encoding="utf-8", errors="replace")):
        RWLOCK.unlink()
        print(f"{RWLOCK} was half-written and is removed")


if __name__ == "__main__":
    run_stage(main)
