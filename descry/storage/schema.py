"""What a file of ours holds: storage is handed one of these, and knows none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from descry.errors import InputError
from descry.storage.files import HEAL

VERSION = 1
"""Version of every file; a reader refuses another one."""


@dataclass(frozen=True)
class TableSchema:
    """A table: what the file is called inside itself, and the Arrow type of every column."""

    kind: str
    columns: Mapping[str, str]


@dataclass(frozen=True)
class ArraySchema:
    """Arrays: what the file is called inside itself, and every array's dtype and named dimensions, which must agree
    within a file."""

    kind: str
    arrays: Mapping[str, tuple[str, tuple[str, ...]]]


def check_kind(path: Path, metadata: Mapping[Any, Any] | None, kind: str) -> None:
    """Errors: InputError where a file's own metadata name another kind or version."""
    found = {str(key): str(value) for key, value in (metadata or {}).items()}
    if (found.get("kind"), found.get("schema")) != (kind, str(VERSION)):
        raise InputError(
            f"{path}: holds {found.get('kind')} of schema {found.get('schema')}, not {kind} of schema {VERSION}; {HEAL}"
        )
