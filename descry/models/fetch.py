"""Model weights as files: from an installed package, a local folder or the Hub, safetensors only."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from descry.errors import InputError
from descry.storage.files import sha256

PATTERNS = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*/*.json", "*/*.safetensors")
"""What is taken of a model folder: configuration, tokenizer, weights; never a pickle."""

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_COMMIT = re.compile(r"[0-9a-f]{40}")
MODULES = (
    "Transformer",
    "Pooling",
    "Normalize",
    "Dense",
    "LayerNorm",
    "Dropout",
    "WeightedLayerPooling",
    "StaticEmbedding",
)
"""Parts of a sentence encoder that read nothing but configuration and safetensors."""
_MODULE = re.compile(rf"sentence_transformers(\.\w+)*\.({'|'.join(MODULES)})")
_STORED = re.compile(r"[0-9a-f]{30,64}")


@dataclass(frozen=True)
class Origin:
    """Where a model comes from: `package:NAME`, a local folder, or a Hub id with the commit in `revision`.

    sha256: what model.safetensors must hash to, "" for no check.
    """

    source: str
    revision: str = ""
    sha256: str = ""


def _package_folder(name: str) -> Path:
    try:
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
    except ValueError:  # __main__ has none
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"model package:{name}: no package of that name is installed; pip install it first")
    root = Path(next(iter(spec.submodule_search_locations)))
    folders = sorted(path.parent for path in root.rglob("config.json") if list(path.parent.glob("*.safetensors")))
    if not folders:
        raise InputError(f"model package:{name}: holds no folder with config.json and safetensors weights")
    return folders[0]


def _hub_folder(source: Origin) -> Path:
    if not _COMMIT.fullmatch(source.revision):
        raise InputError(
            f"model {source.source}: neither a local folder nor a Hub id with its revision; for a Hub id set "
            "`revision` to the 40 hexadecimal digits of the commit, so that the same weights come every time"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(source.source, revision=source.revision, allow_patterns=list(PATTERNS)))
    except (OSError, ValueError, HfHubHTTPError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"model {source.source}: cannot be fetched from the Hub ({reason}); without a network, copy the "
            "model's folder to this machine and give its path, or `dvc pull` the weights from a remote"
        ) from error


def locate(source: Origin) -> Path:
    """The folder that holds the model's files. Errors: InputError where there is none, or no safetensors."""
    if source.source.startswith("package:"):
        folder = _package_folder(source.source.removeprefix("package:"))
    elif Path(source.source).is_dir():
        folder = Path(source.source)
    elif _HUB_ID.fullmatch(source.source):
        folder = _hub_folder(source)
    else:
        raise InputError(
            f"model {source.source}: no such folder; give package:NAME, a local folder, or a Hub id (owner/name)"
        )
    if not (folder / "config.json").is_file():
        raise InputError(f"model {source.source}: the folder has no config.json")
    if not list(folder.glob("*.safetensors")):
        raise InputError(
            f"model {source.source}: the folder has no *.safetensors weights; other formats can run code "
            "when they are read and are refused: convert them (transformers: save_pretrained) first"
        )
    return folder


def _check(path: Path, source: Origin) -> None:
    try:
        with safe_open(path, framework="np"):
            pass
    except SafetensorError as error:
        raise InputError(f"model {source.source}: {path.name} is damaged ({error}); fetch it again") from error


def _check_links(files: Iterable[Path], folder: Path, source: Origin) -> None:
    """Links lead to files of the folder, or of a store that names files by their hash (the Hub's cache, DVC's)."""
    for path in files:
        real = path.resolve()
        if not real.is_relative_to(folder.resolve()) and not _STORED.fullmatch(real.name):
            raise InputError(
                f"model {source.source}: {path.relative_to(folder)} is a link that leads out of the folder, to {real}; "
                "put the file itself in its place if it belongs to the model"
            )


def _json(path: Path, source: Origin) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"model {source.source}: {path.name} is not JSON; fetch the model again") from error


def _check_index(path: Path, source: Origin) -> None:
    """The shards that an index names are safetensors files of the folder."""
    try:
        shards = set(_json(path, source)["weight_map"].values())
    except (KeyError, AttributeError, TypeError) as error:
        raise InputError(f"model {source.source}: {path.name} is no index of weights; fetch the model again") from error
    there = {file.name for file in path.parent.glob("*.safetensors")}
    if strange := sorted(map(repr, shards - there)):
        raise InputError(
            f"model {source.source}: {path.name} names {strange[0]}, which is no safetensors file of the folder; "
            "fetch the model again, from a source that you trust"
        )


def _check_config(path: Path, source: Origin) -> None:
    """No configuration asks for a kernel of the Hub, which is machine code."""
    waiting = [_json(path, source)]
    while waiting:
        part = waiting.pop()
        for key, value in part.items() if isinstance(part, dict) else ():
            if key.endswith("_implementation") and "/" in str(value):
                raise InputError(
                    f"model {source.source}: {path.name} asks for code of the Hub ({key}: {value!r}), which is never "
                    "run; take that key out"
                )
        waiting += part.values() if isinstance(part, dict) else part if isinstance(part, list) else []


def _check_modules(path: Path, source: Origin) -> None:
    """A sentence encoder is put together of known parts; any other name would be imported."""
    try:
        types = [str(module["type"]) for module in _json(path, source)]
    except (KeyError, TypeError) as error:
        raise InputError(f"model {source.source}: {path.name} is no list of modules; fetch the model again") from error
    if strange := [name for name in types if not _MODULE.fullmatch(name)]:
        raise InputError(
            f"model {source.source}: {path.name} asks for {strange[0]!r}, which is none of the parts that are run "
            f"({', '.join(MODULES)}); choose another model"
        )


CHECKS: dict[str, Callable[[Path, Origin], None]] = {
    "*.safetensors": _check,
    "*.safetensors.index.json": _check_index,
    "config.json": _check_config,
    "modules.json": _check_modules,
}
"""What a model's files must pass before any of them is copied."""


def fetch(source: Origin, destination: Path) -> dict[str, str]:
    """Copy a model's files to a new folder; returns the sha256 of each by relative name.

    Errors: InputError where the source is not there, holds no safetensors, is damaged, reaches for files of other
    folders, or is not the model that `sha256` names. `destination` appears whole or not at all.
    """
    partial = destination.with_name(destination.name + ".part")
    try:
        sums = _copied(source, partial)
        shutil.rmtree(destination, ignore_errors=True)
        partial.rename(destination)
        return sums
    except OSError as error:
        raise InputError(
            f"model {source.source}: cannot be copied ({error}); check path, permissions and disk, then run "
            "the same command again"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copied(source: Origin, destination: Path) -> dict[str, str]:
    """Copy a model's files that have passed all checks; returns the sha256 of each copy by relative name."""
    folder = locate(source)
    files = sorted({path for pattern in PATTERNS for path in folder.glob(pattern) if path.is_file()})
    _check_links(files, folder, source)
    for path in files:
        for pattern, check in CHECKS.items():
            if path.match(pattern):
                check(path, source)
    shutil.rmtree(destination, ignore_errors=True)  # by a run that was killed
    for path in files:
        target = destination / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    sums = {str(path.relative_to(folder)): sha256(destination / path.relative_to(folder)) for path in files}
    if source.sha256 and sums.get("model.safetensors") != source.sha256:
        raise InputError(
            f"model {source.source}: model.safetensors has sha256 {sums.get('model.safetensors')}, "
            f"not {source.sha256}; it is another model or damaged"
        )
    return sums
