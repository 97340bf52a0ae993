"""Resumable computations: finished shards are kept on disk until all are done, so that an interrupted run resumes."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from descry.storage.files import sha256, writing

LIBRARIES = ("numpy", "torch", "tokenizers", "transformers", "sentence-transformers")
"""The libraries on which a model's numbers depend."""

_SHARE = 0.05  # of the time, for saving


def compute_fingerprint(ingredients: Mapping[str, Any]) -> str:
    """A key, 32 hexadecimal digits, of all that goes into a computation: the ingredients (anything that JSON can hold),
    the code of this library, and the versions of LIBRARIES."""
    root = Path(__file__).parents[1]
    code = {str(path.relative_to(root)): sha256(path) for path in root.rglob("*.py")}
    everything = {"given": ingredients, "code": code, "libraries": {name: version(name) for name in LIBRARIES}}
    return hashlib.blake2b(json.dumps(everything, sort_keys=True).encode(), digest_size=16).hexdigest()


@contextmanager
def open_workspace(folder: Path, key: str) -> Iterator[Path]:
    """A folder under `folder` for the shards of the computation with this key. It survives an interruption, and is
    removed when the block succeeds; folders of other keys are removed at once."""
    workspace = folder / key
    for other in folder.glob("*"):
        if other != workspace:
            shutil.rmtree(other, ignore_errors=True)
    with writing(workspace):
        workspace.mkdir(parents=True, exist_ok=True)
    yield workspace
    shutil.rmtree(folder, ignore_errors=True)


class Saver:
    """Calls `save` after every shard, unless saving would take more than a twentieth of the time."""

    def __init__(self, save: Callable[[], object]) -> None:
        self._save = save
        self._cost, self._since = 0.0, time.perf_counter()

    def shard_done(self) -> None:
        """Save, if the time since the last save allows it."""
        now = time.perf_counter()
        if self._cost <= _SHARE * (now - self._since):
            self._save()
            self._since = time.perf_counter()
            self._cost = self._since - now
