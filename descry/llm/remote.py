"""A local language model on the workers of a Ray cluster, each of which holds a copy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from descry.llm.client import Answer, Failure, Request
from descry.llm.options import LocalOptions

if TYPE_CHECKING:
    from descry.compute.ray_engine import RayCrew, RayEngine
    from descry.llm.likelihood import LikelihoodModel
    from descry.llm.local import LocalModel


@dataclass(frozen=True)
class LlmLoader:
    """Makes a function that calls methods of a `LocalModel` by name, on any machine that sees the model's folder; of a
    `LikelihoodModel` if likelihood."""

    folder: Path
    name: str
    revision: str
    options: LocalOptions
    likelihood: bool = False

    def load(self) -> LocalModel | LikelihoodModel:
        """Load the model in this process. Errors: InputError as `LocalModel`."""
        if self.likelihood:
            from descry.llm.likelihood import LikelihoodModel

            return LikelihoodModel(self.folder, self.name, self.revision, self.options)
        from descry.llm.local import LocalModel

        return LocalModel(self.folder, self.name, self.revision, self.options)

    def __call__(self) -> Callable[[tuple[str, tuple[Any, ...]]], Any]:
        model = self.load()

        def call(request: tuple[str, tuple[Any, ...]]) -> Any:
            name, arguments = request
            member = getattr(model, name)
            return member(*arguments) if callable(member) else member

        return call


class RemoteModel:
    """A client whose workers answer batches in parallel, each as `LocalModel` does."""

    def __init__(self, cluster: RayEngine, source: LlmLoader) -> None:
        """Errors: InputError as `LocalModel`."""
        from descry.compute.ray_engine import RayCrew

        self._crew: RayCrew[tuple[str, tuple[Any, ...]], Any] = RayCrew(cluster, source)
        self.name: str = source.name
        self.parallel = cluster.workers
        self.identity: Mapping[str, Any] = self._crew.work(("identity", ()))

    def __del__(self) -> None:  # the next model needs the room
        self._crew.close()

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """As `LocalModel.batches`."""
        batches: list[list[int]] = self._crew.work(("batches", (requests,)))
        return batches

    def answer(self, requests: Sequence[Request]) -> list[Answer | Failure]:
        """As `LocalModel.answer`."""
        answers: list[Answer | Failure] = self._crew.work(("answer", (requests,)))
        return answers
