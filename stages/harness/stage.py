"""What every stage needs: its parameters, checked inputs, and one line of error for bad input."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from descry.errors import InputError
from descry.settings.base import Section
from descry.settings.parsing import parse_section

S = TypeVar("S", bound=Section)


def read_settings(section: type[S]) -> S:
    """Read a section of params.yaml, as DVC reads it, as far as this stage declares it. Errors: InputError."""
    return parse_section(section, _read_declared())


@cache
def _read_declared() -> dict[str, Any]:
    if "DVC_STAGE" not in os.environ:
        raise InputError(
            "a stage runs inside DVC, which hands it its parameters: use `dvc repro` (or `dvc repro -s NAME`)"
        )
    from stages.harness.parameters import read_declared

    return read_declared(os.environ["DVC_STAGE"])


def read_text(path: Path) -> str:
    """Read a text file. Errors: InputError if it cannot be read or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not valid UTF-8 (byte {error.start + 1}); save the file as UTF-8") from None


def run_stage(stage: Callable[[], None]) -> None:
    """Run a stage after checking what it reads; InputError or a full disk ends it with one line on stderr and exit
    code 1."""
    try:
        if "DVC_STAGE" in os.environ:
            _run_recorded(os.environ["DVC_STAGE"], stage)
        else:
            stage()
    except InputError as error:
        _end(str(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _end(f"{error.filename or 'the disk'}: {error.strerror}; free some space, then run the same command again")


def _end(message: str) -> NoReturn:
    print(f"descry: {message}", file=sys.stderr)
    sys.exit(1)


def _run_recorded(name: str, stage: Callable[[], None]) -> None:
    """Check what a stage reads, run it, and record its environment."""
    from stages.harness.environment import PACKAGES, find_unlike_lock, write_stamp
    from stages.harness.recorded import check_inputs

    warning = find_unlike_lock(PACKAGES)
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
    check_inputs(name)
    stage()
    write_stamp(name.rpartition(":")[2], _read_declared().get("runtime", {}))
