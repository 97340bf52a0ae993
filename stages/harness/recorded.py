"""What dvc.lock says that the stages read and wrote, and whether the files are still so.

DVC trusts a file whose size and time have not changed; what is here reads it.
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
from typing import Any

import yaml

from descry.errors import InputError
from stages.harness.parameters import read_dependencies, read_yaml

LOCK = "dvc.lock"
IGNORED = "__pycache__"
"""What .dvcignore names."""


@dataclass(frozen=True)
class Entry:
    """A file or a folder as a stage found or left it; md5: as DVC gives it, ending in `.dir` for a folder."""

    stage: str
    path: Path
    md5: str


def read_lock(root: Path) -> dict[str, Any]:
    """What dvc.lock says of every stage, by name. Errors: InputError where it cannot be read."""
    path = root / LOCK
    if not path.is_file():
        raise InputError(f"{path}: not there; run `dvc repro` first, or name the folder of a run")
    try:
        return {name: dict(stage) for name, stage in read_yaml(path)["stages"].items()}
    except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read ({reason}); `git checkout {LOCK}` brings it back") from None


def read_entries(root: Path, role: str) -> list[Entry]:
    """All `outs` or `deps` of dvc.lock that are files or folders of the project, each path once."""
    found = {
        part["path"]: Entry(name, Path(part["path"]), part["md5"])
        for name, stage in read_lock(root).items()
        for part in stage.get(role, [])
        if "md5" in part
    }
    return list(found.values())


def hash_file(path: Path) -> str:
    """What DVC calls a file of this content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def list_files(path: Path) -> list[Path]:
    """The files of a folder, but for those that DVC ignores; a file alone is itself."""
    inside = sorted(found for found in path.rglob("*") if found.is_file() and IGNORED not in found.parts)
    return [path] if path.is_file() else inside


def hash_files(paths: Iterable[Path]) -> dict[Path, str]:
    """The md5 of every file, on all cores."""
    listed = list(paths)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(listed, pool.map(hash_file, listed), strict=True))


def combine_hashes(path: Path, known: dict[Path, str]) -> str:
    """What DVC calls a file or a folder whose files' md5 are `known`; "" where there is nothing."""
    if path.is_dir():
        listing = sorted((str(file.relative_to(path).as_posix()), known[file]) for file in list_files(path))
        text = json.dumps([{"md5": value, "relpath": name} for name, value in listing], sort_keys=True)
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"
    return known.get(path, "")


def find_changed(recorded: Iterable[Entry], root: Path = Path()) -> Iterator[Entry]:
    """The entries that are not, in content, what dvc.lock says."""
    recorded = list(recorded)
    known = hash_files(set(chain.from_iterable(list_files(root / entry.path) for entry in recorded)))
    return (entry for entry in recorded if combine_hashes(root / entry.path, known) != entry.md5)


def find_cache() -> Path:
    """Where this project's objects lie, by the first two and the other digits of their md5."""
    from dvc.repo import Repo

    with Repo() as repo:
        return Path(repo.cache.local.path)


def find_object(cache: Path, name: str) -> Path:
    """Where the object of that md5 lies."""
    return cache / name[:2] / name[2:]


def read_expected(entry: Entry, cache: Path) -> dict[Path, str]:
    """The md5 of every file of an entry; of a folder none where the cache has lost its list."""
    if not entry.md5.endswith(".dir"):
        return {entry.path: entry.md5}
    try:
        listing = json.loads(find_object(cache, entry.md5).read_bytes())
        return {entry.path / part["relpath"]: part["md5"] for part in listing}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def find_damaged(entry: Entry, cache: Path) -> list[Path]:
    """Which files of a changed entry are not as recorded; the entry itself where the cache cannot tell."""
    known, wanted = hash_files(list_files(entry.path)), read_expected(entry, cache)
    wrong = sorted(path for path in wanted.keys() | known.keys() if wanted.get(path) != known.get(path))
    return wrong if wanted else [entry.path]


def check_inputs(stage: str) -> None:
    """That all that a stage reads is what the stages before it wrote. stage: as DVC calls it.

    Errors: InputError, naming the first file that is not.
    """
    if not Path(LOCK).exists():
        return
    read = [Path(path) for path in read_dependencies(stage)]
    outs = [out for out in read_entries(Path(), "outs") if any(_overlap(out.path, path) for path in read)]
    for out in find_changed(outs):
        for name in find_damaged(out, find_cache()):
            if any(_overlap(name, path) for path in read):  # of a folder DVC may have fetched what is read alone
                raise InputError(
                    f"{name}: {'damaged, or changed by hand' if name.exists() else 'not there'}: not what {out.stage} "
                    "wrote; run `python -m descry verify --heal`, then `dvc repro`"
                )


def _overlap(one: Path, other: Path) -> bool:
    return one == other or one in other.parents or other in one.parents
