"""A local language model on the workers of a Ray cluster, each of which holds a copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from descry.compute.ray_engine import RayCrew, RayEngine
from descry.llm.client import Answer, Failure, Request


@dataclass(frozen=True)
class LlmLoader:
    """Gives what answers calls by name, on any machine that sees the model's folder. options: of `LocalModel`."""

    folder: Path
    options: Mapping[str, Any]

    def __call__(self) -> Callable[[tuple[str, tuple[Any, ...]]], Any]:
        from descry.llm.local import LocalModel

        model = LocalModel(self.folder, **self.options)

        def call(asked: tuple[str, tuple[Any, ...]]) -> Any:
            name, arguments = asked
            found = getattr(model, name)
            return found(*arguments) if callable(found) else found

        return call


class RemoteModel:
    """A client whose batches are answered side by side, and as `LocalModel` answers them."""

    def __init__(self, cluster: RayEngine, source: LlmLoader) -> None:
        """Errors: InputError as `LocalModel`."""
        self._crew: RayCrew[tuple[str, tuple[Any, ...]], Any] = RayCrew(cluster, source)
        self.name: str = source.options["name"]
        self.parallel = cluster.workers
        self.identity: Mapping[str, Any] = self._crew.work(("identity", ()))

    def __del__(self) -> None:  # the next model needs the room
        self._crew.close()

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """As `LocalModel.batches`."""
        found: list[list[int]] = self._crew.work(("batches", (requests,)))
        return found

    def answer(self, requests: Sequence[Request]) -> list[Answer | Failure]:
        """As `LocalModel.answer`."""
        found: list[Answer | Failure] = self._crew.work(("answer", (requests,)))
        return found
