"""Compares files with the hashes that dvc.lock records of what stages read and wrote.

DVC trusts a file whose size and time have not changed; the functions here read it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from descry.errors import InputError
from descry.results.layout import LOCK, read_lock
from stages.harness.parameters import read_dependencies

IGNORED = "__pycache__"
"""The folder that .dvcignore names."""


@dataclass(frozen=True)
class Entry:
    """A file or folder as a stage read or wrote it. md5: DVC's hash, which ends in `.dir` for a folder."""

    stage: str
    path: Path
    md5: str


def read_entries(root: Path, role: str) -> list[Entry]:
    """All files and folders that dvc.lock lists under `role`, `outs` or `deps`, each path once."""
    entries = {
        part["path"]: Entry(name, Path(part["path"]), part["md5"])
        for name, stage in read_lock(root).items()
        for part in stage.get(role, [])
        if "md5" in part
    }
    return list(entries.values())


def hash_file(path: Path) -> str:
    """The md5 of a file, as DVC computes it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def list_files(path: Path) -> list[Path]:
    """The files of a folder, except those that DVC ignores; of a file, itself."""
    inside = sorted(file for file in path.rglob("*") if file.is_file() and IGNORED not in file.parts)
    return [path] if path.is_file() else inside


def hash_files(paths: Iterable[Path]) -> dict[Path, str]:
    """The md5 of every file, computed on all cores."""
    listed = list(paths)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(listed, pool.map(hash_file, listed), strict=True))


def combine_hashes(path: Path, known: dict[Path, str]) -> str:
    """DVC's hash of a file or folder from the md5 of its files; "" if there is nothing. known: `hash_files` of them."""
    if path.is_dir():
        listing = sorted((str(file.relative_to(path).as_posix()), known[file]) for file in list_files(path))
        text = json.dumps([{"md5": value, "relpath": name} for name, value in listing], sort_keys=True)
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"
    return known.get(path, "")


def find_changed(recorded: Iterable[Entry], root: Path = Path()) -> Iterator[Entry]:
    """The entries whose content is not what dvc.lock records."""
    recorded = list(recorded)
    known = hash_files(set(chain.from_iterable(list_files(root / entry.path) for entry in recorded)))
    return (entry for entry in recorded if combine_hashes(root / entry.path, known) != entry.md5)


def find_cache() -> Path:
    """The folder of this project's DVC cache."""
    from dvc.repo import Repo

    with Repo() as repo:
        return Path(repo.cache.local.path)


def find_object(cache: Path, name: str) -> Path:
    """Path of the cached object with the md5 `name`: a folder of its first two digits, a file of the others."""
    return cache / name[:2] / name[2:]


def read_expected(entry: Entry, cache: Path) -> dict[Path, str]:
    """The recorded md5 of every file of an entry; empty for a folder whose list the cache has lost."""
    if not entry.md5.endswith(".dir"):
        return {entry.path: entry.md5}
    try:
        listing = json.loads(find_object(cache, entry.md5).read_bytes())
        return {entry.path / part["relpath"]: part["md5"] for part in listing}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def find_damaged(entry: Entry, cache: Path) -> list[Path]:
    """The files of a changed entry that are not as recorded; the entry itself if the cache cannot tell."""
    known, wanted = hash_files(list_files(entry.path)), read_expected(entry, cache)
    wrong = sorted(path for path in wanted.keys() | known.keys() if wanted.get(path) != known.get(path))
    return wrong if wanted else [entry.path]


def check_inputs(stage: str) -> None:
    """Check that everything a stage reads is what earlier stages wrote. stage: DVC's name of it.

    Errors: InputError that names the first file that is not.
    """
    if not LOCK.exists():
        return
    read = [Path(path) for path in read_dependencies(stage)]
    outs = [out for out in read_entries(Path(), "outs") if any(_overlap(out.path, path) for path in read)]
    for out in find_changed(outs):
        for name in find_damaged(out, find_cache()):
            if any(_overlap(name, path) for path in read):  # DVC may have fetched only the part that is read
                raise InputError(
                    f"{name}: {'damaged, or changed by hand' if name.exists() else 'not there'}: not what {out.stage} "
                    "wrote; run `python -m descry verify --heal`, then `dvc repro`"
                )


def _overlap(one: Path, other: Path) -> bool:
    return one == other or one in other.parents or other in one.parents
