"""Model weights as files, from an installed package, a local folder or the Hub: safetensors, or GGUF, converted."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from descry.errors import InputError
from descry.storage.files import sha256

_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
PATTERNS = (*_FILES, *(f"*/{pattern}" for pattern in _FILES))
"""The files that are copied from a model folder and its subfolders: configuration, tokenizer, weights; never a pickle.
"""
_MERGE = "which is not applied; merge it into the weights first (peft: merge_and_unload, then save_pretrained)"
_ADAPTERS = ("adapter_config.json", "adapter_model*", "*/adapter_config.json", "*/adapter_model*")

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
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
"""Parts of a sentence encoder that are allowed: they read nothing but configuration and safetensors."""
_MODULE = re.compile(rf"sentence_transformers(\.\w+)*\.({'|'.join(MODULES)})")
_STORED = re.compile(r"[0-9a-f]{30,64}")


@dataclass(frozen=True)
class Origin:
    """Where a model comes from: `package:NAME`, a local folder, a `.gguf` file, or a Hub id with its commit in
    `revision`.

    sha256: the expected hash of all its files (see `hash_files`), "" for no check.
    """

    source: str
    revision: str = ""
    sha256: str = ""


def find_root(name: str) -> Path:
    """The folder of an installed package, which is not imported."""
    try:
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
    except ValueError:  # __main__ has no spec
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"model package:{name}: no package of that name is installed; pip install it first")
    return Path(next(iter(spec.submodule_search_locations)))


def _find_package(name: str) -> Path:
    root = find_root(name)
    folders = sorted(
        path.parent
        for name in ("modules.json", "config.json")
        for path in root.rglob(name)
        if list(find_transformer(path.parent).glob("*.safetensors"))
    )
    if not folders:
        raise InputError(f"model package:{name}: has no folder with config.json and safetensors weights, and no .gguf")
    return folders[0]


def find_gguf(origin: Origin) -> Path | None:
    """Find the GGUF file of a model that is one: the source itself, or the one in a package or folder without
    safetensors. None for any other model. Errors: InputError if there are several to choose from."""
    source = Path(origin.source)
    if source.suffix == ".gguf" and source.is_file():
        return source
    if origin.source.startswith("package:"):
        folder = find_root(origin.source.removeprefix("package:"))
    elif source.is_dir():
        folder = source
    else:
        return None
    files = sorted(folder.rglob("*.gguf"))
    if not files or any(folder.rglob("*.safetensors")):
        return None
    if len(files) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path in files)
        raise InputError(f"model {origin.source}: has several models ({names}); give the path of one of them")
    return files[0]


def download(origin: Origin, patterns: Sequence[str] = PATTERNS) -> Path:
    """Download the files of a Hub repository that match patterns; returns their folder. Errors: InputError if the
    revision is no commit, or it cannot be fetched."""
    if not _COMMIT.fullmatch(origin.revision):
        raise InputError(
            f"model {origin.source}: neither a local folder nor a Hub id with its revision; for a Hub id set "
            "`revision` to the 40 hexadecimal digits of the commit, so that every run gets the same weights"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(origin.source, revision=origin.revision, allow_patterns=list(patterns)))
    except (OSError, ValueError, HfHubHTTPError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"model {origin.source}: cannot be fetched from the Hub ({reason}); without a network, copy the "
            "model folder to this machine and give its path, or run `dvc pull` to get the weights from a remote"
        ) from error


def _read_first_module(folder: Path) -> tuple[str, str]:
    """The kind and the subfolder of a sentence encoder's first module; without modules.json it is a transformer."""
    try:
        first = json.loads((folder / "modules.json").read_text(encoding="utf-8"))[0]
        return str(first["type"]).rpartition(".")[2], str(first["path"])
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        return "Transformer", ""


def find_transformer(folder: Path) -> Path:
    """The folder of a model's transformer: the model's own, or the subfolder of it that modules.json names first."""
    inner = folder / _read_first_module(folder)[1]
    return inner if inner.parent == folder and inner.is_dir() else folder


def check_transformer(folder: Path) -> None:
    """Errors: InputError if a model folder holds a sentence encoder that is no transformer."""
    kind = _read_first_module(folder)[0]
    if kind != "Transformer":
        raise InputError(f"it is a {kind}, which has no layers of neurons; choose a transformer")


def _check_adapters(folder: Path, origin: Origin) -> None:
    """No adapter may lie in the folder, since the weights beside it, or those of its base, are not what was tuned."""
    found = sorted(path for pattern in _ADAPTERS for path in folder.glob(pattern))
    if found:
        config = found[0].with_name("adapter_config.json")
        base = _read_json(config, origin).get("base_model_name_or_path") if config.is_file() else None
        raise InputError(
            f"model {origin.source}: {found[0].relative_to(folder)} belongs to an adapter"
            f"{f' of {base}' if base else ''}, {_MERGE}"
        )


def locate(origin: Origin) -> Path:
    """Find the folder that holds a model's files. Errors: InputError if there is none, or it has no safetensors."""
    if origin.source.startswith("package:"):
        folder = _find_package(origin.source.removeprefix("package:"))
    elif Path(origin.source).is_dir():
        folder = Path(origin.source)
    elif HUB_ID.fullmatch(origin.source):
        folder = download(origin)
    else:
        raise InputError(
            f"model {origin.source}: no such folder or file; give package:NAME, a local folder, a .gguf file, or a Hub "
            "id (owner/name)"
        )
    _check_adapters(folder, origin)
    if (folder / "modules.json").is_file():
        _check_modules(folder / "modules.json", origin)
    inner = find_transformer(folder)
    if _read_first_module(folder)[0] == "Transformer" and not (inner / "config.json").is_file():
        where = f"its subfolder {inner.name}, which modules.json names," if inner != folder else "the folder"
        raise InputError(f"model {origin.source}: {where} has no config.json")
    if not list(inner.glob("*.safetensors")):
        raise InputError(
            f"model {origin.source}: the folder has no *.safetensors weights; other formats can run code "
            "when they are loaded, so they are refused: convert them first (transformers: save_pretrained)"
        )
    return folder


def _check_weights(path: Path, origin: Origin) -> None:
    try:
        with safe_open(path, framework="np") as file:
            tuned = [name for name in file.keys() if ".lora_" in name]  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise InputError(f"model {origin.source}: {path.name} is damaged ({error}); fetch it again") from error

    if tuned:
        raise InputError(f"model {origin.source}: {path.name} holds an adapter ({tuned[0]} ...), {_MERGE}")


def check_links(files: Iterable[Path], folder: Path, origin: Origin) -> None:
    """Links must lead to files of the folder, or to a store that names files by their hash (the Hub's cache, DVC's)."""
    for path in files:
        real = path.resolve()
        if not real.is_relative_to(folder.resolve()) and not _STORED.fullmatch(real.name):
            raise InputError(
                f"model {origin.source}: {path.relative_to(folder)} is a link that leads out of the folder, to {real}; "
                "replace it by the file itself if that belongs to the model"
            )


def _read_json(path: Path, origin: Origin) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"model {origin.source}: {path.name} is not JSON; fetch the model again") from error


def _check_index(path: Path, origin: Origin) -> None:
    """All shards that an index names must be safetensors files of the folder."""
    try:
        shards = set(_read_json(path, origin)["weight_map"].values())
    except (KeyError, AttributeError, TypeError) as error:
        raise InputError(f"model {origin.source}: {path.name} is not an index of weights; fetch it again") from error
    present = {file.name for file in path.parent.glob("*.safetensors")}
    if unknown := sorted(map(repr, shards - present)):
        raise InputError(
            f"model {origin.source}: {path.name} names {unknown[0]}, which is not a safetensors file of the folder; "
            "fetch the model again, from a source you trust"
        )


def _check_config(path: Path, origin: Origin) -> None:
    """No configuration may ask for a kernel from the Hub, which is machine code."""
    pending = [_read_json(path, origin)]
    while pending:
        part = pending.pop()
        for key, value in part.items() if isinstance(part, dict) else ():
            if key.endswith("_implementation") and "/" in str(value):
                raise InputError(
                    f"model {origin.source}: {path.name} asks for code from the Hub ({key}: {value!r}), which is never "
                    "run; remove that key"
                )
        pending += part.values() if isinstance(part, dict) else part if isinstance(part, list) else []


def _check_modules(path: Path, origin: Origin) -> None:
    """A sentence encoder must consist of MODULES alone, since any other name would be imported and run."""
    try:
        types = [str(module["type"]) for module in _read_json(path, origin)]
    except (KeyError, TypeError) as error:
        raise InputError(f"model {origin.source}: {path.name} is not a list of modules; fetch it again") from error
    if unknown := [name for name in types if not _MODULE.fullmatch(name)]:
        raise InputError(
            f"model {origin.source}: {path.name} asks for {unknown[0]!r}, which is not one of the allowed modules "
            f"({', '.join(MODULES)}); choose another model"
        )


CHECKS: dict[str, Callable[[Path, Origin], None]] = {
    "*.safetensors": _check_weights,
    "*.safetensors.index.json": _check_index,
    "config.json": _check_config,
    "modules.json": _check_modules,
}
"""Checks, by file pattern, that all files must pass before any is copied."""


def fetch(origin: Origin, destination: Path) -> dict[str, str]:
    """Copy a model's files to a new folder, or convert a GGUF file; returns the sha256 of each source file by relative
    name.

    Errors: InputError if the model is missing, has neither safetensors nor GGUF, is damaged, links to files of other
    folders, or does not match `origin.sha256`. `destination` appears whole or not at all.
    """
    return fill_folder(origin, destination, _fill)


def _fill(origin: Origin, destination: Path) -> dict[str, str]:
    file = find_gguf(origin)
    return _convert_checked(file, origin, destination) if file else _copy_checked(origin, destination)


def fill_folder(origin: Origin, destination: Path, fill: Callable[[Origin, Path], dict[str, str]]) -> dict[str, str]:
    """Put a model's files into `destination`, which appears whole or not at all. fill: puts them into a new folder."""
    unfinished = destination.with_name(destination.name + ".part")
    try:
        shutil.rmtree(unfinished, ignore_errors=True)  # left by a run that was killed
        sums = fill(origin, unfinished)
        shutil.rmtree(destination, ignore_errors=True)
        unfinished.rename(destination)
        return sums
    except OSError as error:
        raise InputError(
            f"model {origin.source}: cannot be copied ({error}); check path, permissions and disk space, then run "
            "the same command again"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _copy_checked(origin: Origin, destination: Path) -> dict[str, str]:
    """Check all files of a model, then copy them; returns the sha256 of each copy by relative name."""
    folder = locate(origin)
    files = sorted({path for pattern in PATTERNS for path in folder.glob(pattern) if path.is_file()})
    check_links(files, folder, origin)
    for path in files:
        for pattern, check in CHECKS.items():
            if path.match(pattern):
                check(path, origin)
    return copy_files({path.relative_to(folder).as_posix(): path for path in files}, origin, destination)


def copy_files(files: Mapping[str, Path], origin: Origin, destination: Path) -> dict[str, str]:
    """Copy files, by their names in the destination; returns the sha256 of each copy."""
    for name, path in files.items():
        target = destination / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    sums = {name: sha256(destination / name) for name in files}
    _check_sums(sums, origin)
    return sums


def _convert_checked(file: Path, origin: Origin, destination: Path) -> dict[str, str]:
    """Check a GGUF file, then convert it; returns its sha256 by name."""
    from descry.models.gguf import convert

    check_links([file], file.parent, origin)
    sums = {file.name: sha256(file)}
    _check_sums(sums, origin)
    try:
        convert(file, destination)
    except InputError as error:
        raise InputError(f"model {origin.source}: {error}") from error
    return sums


def _check_sums(sums: Mapping[str, str], origin: Origin) -> None:
    if origin.sha256 and hash_files(sums) != origin.sha256:
        raise InputError(
            f"model {origin.source}: its files ({', '.join(sorted(sums))}) have sha256 {hash_files(sums)}, not "
            f"{origin.sha256}; it is another model or damaged: fetch it again or correct `sha256`"
        )


def hash_files(sums: Mapping[str, str]) -> str:
    """One sha256 for all files of a model, from the sha256 of each by relative name: the hash of the lines that
    `sha256sum` prints of them, in the order of their names."""
    lines = (f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()
