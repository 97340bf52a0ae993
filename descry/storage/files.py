"""Write files whole or not at all, and read them with one-line errors; JSON and metrics files."""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
from safetensors import SafetensorError

from descry.errors import InputError

HEAL = "run `dvc repro` again, or `dvc pull` it"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path for the block to write, next to `path`: renamed to `path` if the block succeeds, and deleted
    otherwise. Errors: InputError if it cannot be written, because the disk is full for example."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.part"):  # of a run that was killed
            leftover.unlink(missing_ok=True)
        try:
            yield partial
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors while `path` is written into an InputError."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: cannot be written ({reason}); free disk space or correct the permissions, then run the same "
            "command again"
        ) from error


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn errors while `path` is read into an InputError."""
    if not path.is_file():
        raise InputError(f"{path}: not there; {HEAL}")
    try:
        yield
    except InputError:
        raise
    except (SafetensorError, pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: damaged or another kind of file ({reason}); {HEAL}") from error


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content: 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys, an indent of one space and a final newline."""
    with replacing(path) as partial:
        partial.write_text(
            json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n",
            encoding="utf-8",
        )


def read_json(path: Path) -> Any:
    """Read JSON."""
    with readable(path):
        return json.loads(path.read_text(encoding="utf-8"))


def write_metrics(path: Path, measures: Mapping[str, Any]) -> None:
    """Write a metrics file for `dvc metrics`: nested finite numbers, rounded to 6 decimals.

    Errors: ValueError for anything that is not a finite number.
    """

    def round_nested(value: Any, name: str) -> Any:
        if isinstance(value, Mapping):
            return {key: round_nested(inner, f"{name}.{key}") for key, inner in value.items()}
        if isinstance(value, (bool, str)) or not math.isfinite(value):
            raise ValueError(f"metric {name[1:]} is {value}, not a finite number")
        return value if isinstance(value, int) else round(float(value), 6)

    write_json(path, round_nested(measures, ""))
