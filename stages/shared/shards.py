"""The engine that works on shards, and the folder where finished ones are kept until all are done."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from descry.compute.checkpoints import compute_fingerprint, open_workspace
from descry.compute.engine import Engine, LocalEngine
from descry.errors import InputError
from descry.results import layout
from descry.settings.base import Section
from descry.settings.runtime import Sharding
from descry.storage.files import sha256

if TYPE_CHECKING:
    from descry.compute.ray_engine import RayEngine


def keep_shards(
    name: str, sections: Sequence[Section], files: Sequence[Path], **more: Any
) -> AbstractContextManager[Path]:
    """The folder where the stage `name` keeps finished shards, one for each content of settings, files and code."""
    settings = {section.section: section.model_dump() for section in sections}
    return open_workspace(
        layout.SHARDS / name, compute_fingerprint(settings | more | {str(path): sha256(path) for path in files})
    )


def choose_engine(settings: Sharding) -> Engine:
    """Open the engine that `runtime.engine` names."""
    return LocalEngine() if settings.engine == "local" else start_ray(settings)


def start_ray(settings: Sharding) -> RayEngine:
    """Connect to a Ray cluster, or start one. Errors: InputError if Ray is not installed or the cluster not reached."""
    try:
        from descry.compute.ray_engine import RayEngine
    except ImportError:
        raise InputError("params.yaml: runtime.engine is ray, which is not installed; pip install '.[ray]'") from None
    return RayEngine(**settings.ray.model_dump())
