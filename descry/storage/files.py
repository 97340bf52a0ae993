"""Files that are written whole or not at all, and read with one line of error; JSON among them."""

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
    """A temporary name beside `path` that becomes `path` when the block, which writes it, ends well, and vanishes
    otherwise. Errors: InputError where it cannot be written, for a full disk for example."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):  # by a run that was killed
            left.unlink(missing_ok=True)
        try:
            yield partial
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what goes wrong while `path` is written into one line."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: cannot be written ({reason}); free space on the disk or mend its permissions, then run the same "
            "command again"
        ) from error


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while reading `path` into one line."""
    if not path.is_file():
        raise InputError(f"{path}: not there; {HEAL}")
    try:
        yield
    except InputError:
        raise
    except (SafetensorError, pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: damaged or of another kind ({reason}); {HEAL}") from error


def sha256(path: Path) -> str:
    """What a file's content hashes to: 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys, one blank of indent and a last newline."""
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
    """Write what `dvc metrics` shows: nested finite numbers, rounded to 6 decimals.

    Errors: ValueError for anything that is not a finite number.
    """

    def rounded(value: Any, name: str) -> Any:
        if isinstance(value, Mapping):
            return {key: rounded(inner, f"{name}.{key}") for key, inner in value.items()}
        if isinstance(value, (bool, str)) or not math.isfinite(value):
            raise ValueError(f"metric {name[1:]} is {value}, not a finite number")
        return value if isinstance(value, int) else round(float(value), 6)

    write_json(path, rounded(measures, ""))
