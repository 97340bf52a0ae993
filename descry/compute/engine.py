"""Engines, which run the work on shards: the protocol, and the engine that uses this process alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MakeWorker = Callable[[], Callable[[Item], Result]]
"""Makes the function that works on an item, with a loaded model for example; called once in every worker process."""


def ignore(done: int) -> None:
    """An `advance`, which is told how much was done since it was called last, that does nothing."""


@dataclass(frozen=True)
class TwoSteps(Generic[Item, Result]):
    """Work on an item in two steps: while the second is taken with one item, another thread may take the first with the
    next one."""

    prepare: Callable[[Item], Any]
    finish: Callable[[Any], Result]

    def __call__(self, item: Item) -> Result:
        return self.finish(self.prepare(item))


class Engine(Protocol):
    """Runs a function on many items."""

    def map(self, make: MakeWorker[Item, Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Each item and its result, in order of completion; each exactly once, whatever fails meanwhile."""


class LocalEngine:
    """Runs items in this process, one after the other; of work in two steps, the first is a step ahead."""

    def map(self, make: MakeWorker[Item, Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Each item and its result, in order."""
        work = make()
        if isinstance(work, TwoSteps):
            yield from _work_ahead(work, items)
        else:
            for item in items:
                yield item, work(item)


def _work_ahead(work: TwoSteps[Item, Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
    with ThreadPoolExecutor(1) as thread:
        waiting: list[tuple[Item, Future[Any]]] = []
        for item in items:
            waiting.append((item, thread.submit(work.prepare, item)))
            if len(waiting) > 1:
                now, prepared = waiting.pop(0)
                yield now, work.finish(prepared.result())
        for now, prepared in waiting:
            yield now, work.finish(prepared.result())
