"""Schemas of files. Storage is given one with every call; the schemas themselves are in descry.schemas."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from descry.errors import InputError
from descry.storage.files import HEAL

VERSION = 1
"""The version of all files; readers refuse any other."""


@dataclass(frozen=True)
class TableSchema:
    """A table: its kind, which the file records, and the Arrow type of every column."""

    kind: str
    columns: Mapping[str, str]


@dataclass(frozen=True)
class ArraySchema:
    """Arrays: their kind, which the file records, and the dtype and named dimensions of each; dimensions with the same
    name have the same size. sparse: matrices of which only what is not 0 is stored, where that is smaller."""

    kind: str
    arrays: Mapping[str, tuple[str, tuple[str, ...]]]
    sparse: Collection[str] = ()


def check_kind(path: Path, metadata: Mapping[Any, Any] | None, kind: str) -> None:
    """Check a file's metadata. Errors: InputError if they name another kind or version."""
    recorded = {str(key): str(value) for key, value in (metadata or {}).items()}
    if (recorded.get("kind"), recorded.get("schema")) != (kind, str(VERSION)):
        held = f"{recorded.get('kind')} of schema {recorded.get('schema')}"
        raise InputError(f"{path}: holds {held}, not {kind} of schema {VERSION}; {HEAL}")
