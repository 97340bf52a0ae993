"""Sparse dictionaries as versioned files, from an installed package, a local folder or the Hub."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from descry.errors import InputError
from descry.models.dictionary_files import list_dictionaries
from descry.models.fetch import (
    HUB_ID,
    PATTERNS,
    Origin,
    check_links,
    copy_files,
    download,
    fill_folder,
    find_root,
)


def fetch_dictionaries(origin: Origin, destination: Path) -> dict[str, str]:
    """Copy sparse dictionaries to a new folder, each into a subfolder of its name; it stays empty if `origin` has no
    source. Returns the sha256 of each file by relative name.

    Errors: InputError if there is none, or one is damaged or not supported, or as `fetch`.
    """
    return fill_folder(origin, destination, _copy_dictionaries)


def _copy_dictionaries(origin: Origin, destination: Path) -> dict[str, str]:
    destination.mkdir(parents=True)
    if not origin.source:
        return {}
    folder = _locate(origin)
    try:
        stored = list(list_dictionaries(folder))
        for one in stored:
            one.load()  # all are checked before any is copied
    except InputError as error:
        raise InputError(f"models.dictionaries {origin.source}: {error}") from error
    files = {f"{one.name}/{path.name}": path for one in stored for path in one.files}
    check_links(files.values(), folder, origin)
    return copy_files(files, origin, destination)


def _locate(origin: Origin) -> Path:
    """Find the folder of dictionaries. A Hub source names a folder of a repository."""
    if origin.source.startswith("package:"):
        return find_root(origin.source.removeprefix("package:"))
    if Path(origin.source).is_dir():
        return Path(origin.source)
    owner, _, rest = origin.source.partition("/")
    name, _, inner = rest.partition("/")
    if not HUB_ID.fullmatch(f"{owner}/{name}") or ".." in inner.split("/"):
        raise InputError(
            f"models.dictionaries {origin.source}: no such folder; give package:NAME, a local folder, or a "
            "folder of a Hub repository (owner/name/folder)"
        )
    files = [f"{inner}/{pattern}" if inner else pattern for pattern in (*PATTERNS, "*.npz")]
    return download(replace(origin, source=f"{owner}/{name}"), files) / inner
