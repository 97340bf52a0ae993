"""Shards on the workers of a Ray cluster. Needs the optional dependency: pip install .[ray]"""

from __future__ import annotations

import logging
import math
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import ray
from ray.exceptions import RayActorError, RayTaskError

import descry
from descry.engine import Item, Make, Result
from descry.errors import InputError

RETRIES = 5
"""Deaths of each worker, without any shard done in between, that are borne."""
PATIENCE = 60.0
"""Seconds without news after which a line says what is waited for."""


class _Worker:
    """An actor: it loads its model once, then works on one item after the other."""

    def make(self, make: Make[Any, Any]) -> None:
        self._work = make()

    def work(self, item: Any) -> Any:
        return self._work(item)


class Cluster:
    """Workers of a Ray cluster. One that dies, alone or with its machine, is replaced, and what it was at is worked
    on again.

    address: of a running cluster, or empty for one on this machine that ends with this process. workers: how many,
    at most. cpus, gpus: of each, above 0 and at least 0; a worker runs as many threads as it has cores. Errors:
    InputError where the cluster cannot be reached.
    """

    def __init__(self, address: str, workers: int, cpus: float, gpus: float) -> None:
        self._workers, self._needs = workers, {"num_cpus": cpus, "num_gpus": gpus}
        self._worker: Any = ray.remote(num_cpus=cpus, num_gpus=gpus)(_Worker)
        if ray.is_initialized():
            return
        # On a cluster, what a worker imports of this project comes from here, so that all run the same code.
        options: dict[str, Any] = (
            {"runtime_env": {"py_modules": [descry]}}
            if address
            else {"num_cpus": math.ceil(workers * cpus), "include_dashboard": False}
        )
        try:
            ray.init(address=address or "local", logging_level=logging.ERROR, log_to_driver=False, **options)
        except (OSError, RuntimeError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"params.yaml: runtime.ray.address is {address!r}: no cluster there ({reason}); see docs/scaling.md"
            ) from None

    def map(self, make: Make[Item, Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Each item and what came of it, as they are done.

        Errors: InputError as raised by the work, or where workers die again and again.
        """
        queue, again, idle = iter(items), deque[Item](), list[Any]()
        tasks: dict[Any, tuple[Any, Item | None]] = {}  # by what is waited for: a worker, and its item once it has one
        made, deaths = ray.put(make), 0

        def start() -> None:
            worker = self._worker.remote()
            tasks[worker.make.remote(made)] = worker, None

        def employ(worker: Any) -> None:
            item = again.popleft() if again else next(queue, None)
            if item is None:
                idle.append(worker)
            else:
                tasks[worker.work.remote(item)] = worker, item

        for _ in range(self._workers):
            start()
        try:
            while again or not idle or any(item is not None for _, item in tasks.values()):
                worker, item = tasks.pop(ready := self._ready(list(tasks)))
                try:
                    result = ray.get(ready)
                except RayActorError as error:
                    deaths += 1
                    if deaths > RETRIES * self._workers:
                        raise InputError(f"workers of the Ray cluster die again and again: {error}") from None
                    start()
                    if item is not None:
                        again.append(item)
                        if idle:
                            employ(idle.pop())
                    continue
                except RayTaskError as error:
                    if isinstance(error.cause, InputError):
                        raise InputError(str(error.cause)) from None
                    raise
                employ(worker)
                if item is not None:
                    deaths = 0
                    yield item, result
        finally:
            for worker in [*idle, *(worker for worker, _ in tasks.values())]:
                ray.kill(worker)

    def _ready(self, waiting: list[Any]) -> Any:
        while True:
            ready, _ = ray.wait(waiting, num_returns=1, timeout=PATIENCE)
            if ready:
                return ready[0]
            print(
                f"descry: waiting for the Ray cluster: a worker needs {self._needs}, free there is "
                f"{ray.available_resources()}",  # type: ignore[no-untyped-call]
                file=sys.stderr,
            )
