"""Long computations in shards: what is done is kept on disk until all is, so that a run that was broken off goes on."""

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
"""What a model's numbers depend on besides our own code."""

_SHARE = 0.05


def compute_fingerprint(ingredients: Mapping[str, Any]) -> str:
    """A key, 32 hexadecimal digits, of all that goes into a computation: what is given (JSON can hold it), the code of
    this library, and the versions of others."""
    root = Path(__file__).parents[1]
    code = {str(path.relative_to(root)): sha256(path) for path in root.rglob("*.py")}
    whole = {"given": ingredients, "code": code, "libraries": {name: version(name) for name in LIBRARIES}}
    return hashlib.blake2b(json.dumps(whole, sort_keys=True).encode(), digest_size=16).hexdigest()


@contextmanager
def open_workspace(folder: Path, key: str) -> Iterator[Path]:
    """A folder under `folder` for the shards of the computation that `key` stands for. It outlives whatever breaks
    the computation off, and is removed when the block ends well; those of other keys are removed at once."""
    own = folder / key
    for other in folder.glob("*"):
        if other != own:
            shutil.rmtree(other, ignore_errors=True)
    with writing(own):
        own.mkdir(parents=True, exist_ok=True)
    yield own
    shutil.rmtree(folder, ignore_errors=True)


class Saver:
    """Saves after every shard, as far as that takes no more than a twentieth of the time."""

    def __init__(self, save: Callable[[], object]) -> None:
        self._save = save
        self._cost, self._since = 0.0, time.perf_counter()

    def shard_done(self) -> None:
        now = time.perf_counter()
        if self._cost <= _SHARE * (now - self._since):
            self._save()
            self._since = time.perf_counter()
            self._cost = self._since - now
