"""Engines, which run the work on shards: the protocol, and the engine that uses this process alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MakeWorker = Callable[[], Callable[[Item], Result]]
"""Makes the function that works on an item, with a loaded model for example; called once in every worker process."""


def ignore(done: int) -> None:
    """An `advance`, which is told how much was done since it was called last, that does nothing."""


class Engine(Protocol):
    """Runs a function on many items."""

    def map(self, make: MakeWorker[Item, Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Each item and its result, in order of completion; each exactly once, whatever fails meanwhile."""


class LocalEngine:
    """Runs items in this process, one after the other."""

    def map(self, make: MakeWorker[Item, Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Each item and its result, in order."""
        work = make()
        for item in items:
            yield item, work(item)
