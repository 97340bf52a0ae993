"""Who works on shards, and where finished ones are kept until all are."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from descry.artifacts import sha256
from descry.engine import Engine, Local
from descry.errors import InputError
from descry.settings import Section, Sharding
from descry.shards import fingerprint, workspace
from stages import _stage

if TYPE_CHECKING:
    from descry.cluster import Cluster


def kept(name: str, sections: Sequence[Section], files: Sequence[Path], **more: Any) -> AbstractContextManager[Path]:
    """Where the stage `name` keeps finished shards: a folder of its own for every other content of these settings
    and files, and for every other code."""
    given = {section.section: section.model_dump() for section in sections}
    return workspace(_stage.SHARDS / name, fingerprint(given | more | {str(path): sha256(path) for path in files}))


def engine(settings: Sharding) -> Engine:
    """Who works on shards."""
    return Local() if settings.engine == "local" else cluster(settings)


def cluster(settings: Sharding) -> Cluster:
    """The Ray cluster. Errors: InputError where Ray is not installed or the cluster not reached."""
    try:
        from descry.cluster import Cluster
    except ImportError:
        raise InputError("params.yaml: runtime.engine is ray, which is not installed; pip install '.[ray]'") from None
    return Cluster(**settings.ray.model_dump())
