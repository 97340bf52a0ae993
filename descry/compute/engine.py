"""Who works on shards: what every engine does, and the one that needs nothing, this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MakeWorker = Callable[[], Callable[[Item], Result]]
"""Builds what works on an item, a loaded model for example: called once in every process that works."""


class Engine(Protocol):
    """A way to work on many items."""

    def map(self, make: MakeWorker[Item, Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Each item and what came of it, as they are done, in any order; each once, whatever breaks meanwhile."""


class LocalEngine:
    """In this process, one after the other."""

    def map(self, make: MakeWorker[Item, Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Each item and what came of it, in order."""
        work = make()
        for item in items:
            yield item, work(item)
