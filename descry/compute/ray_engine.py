"""Run the work on shards on a Ray cluster. Needs the optional dependency: pip install .[ray]"""

from __future__ import annotations

import logging
import math
import os
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from queue import Empty, Queue
from threading import Thread
from types import TracebackType
from typing import Any, Generic

import ray
from ray.exceptions import RayActorError, RayTaskError

from descry.compute.engine import Item, MakeWorker, Result
from descry.errors import InputError

RETRIES = 5
"""Deaths per worker, with no item done in between, that are tolerated."""
PATIENCE = 60.0
"""Seconds without a free worker after which a message says what the run is waiting for."""


class _Worker:
    """An actor that loads its model once, then works on one item after the other."""

    def make(self, make: MakeWorker[Any, Any], threads: int) -> None:
        os.environ["RAYON_NUM_THREADS"] = str(threads)  # of the tokenizer; Ray itself sees to torch's
        self._work = make()

    def work(self, item: Any) -> Any:
        return self._work(item)


class RayEngine:
    """Runs items on the workers of a Ray cluster.

    address: of a running cluster, or empty to start one on this machine that ends with this process. workers: at most
    so many. cpus, gpus: per worker, above 0 and at least 0; a worker runs as many threads as it has cores. Errors:
    InputError if the cluster cannot be reached.
    """

    def __init__(self, address: str, workers: int, cpus: float, gpus: float) -> None:
        self.workers, self.needs = workers, {"CPU": cpus, "GPU": gpus}
        self.actor: Any = ray.remote(num_cpus=cpus, num_gpus=gpus)(_Worker)
        if ray.is_initialized():
            return
        # On a cluster, what a worker imports of this project comes from here, so that all run the same code.
        options: dict[str, Any] = (
            {"runtime_env": {"py_modules": [str(Path(__file__).parents[1])]}}
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

    def map(self, make: MakeWorker[Item, Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """`RayCrew.map` with a crew of its own."""
        with RayCrew(self, make) as crew:
            yield from crew.map(items)


class RayCrew(Generic[Item, Result]):
    """Workers with the same MakeWorker; whichever is free takes the next item. A worker that dies, alone or with its
    machine, is replaced, and its item goes to another worker."""

    def __init__(self, cluster: RayEngine, make: MakeWorker[Item, Result]) -> None:
        self._cluster, self._make = cluster, ray.put(make)
        self._threads = ThreadPoolExecutor(cluster.workers)
        self._workers: list[Any] = []
        self._free: Queue[Any] = Queue()
        self._deaths, self._closed = 0, False
        self._failure: Exception | None = None
        for _ in range(cluster.workers):
            self._hire()

    def __enter__(self) -> RayCrew[Item, Result]:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Stop the workers."""
        self._closed = True
        self._free.put(InputError("the work was interrupted"))  # for threads that still wait for a worker
        for worker in self._workers:
            ray.kill(worker)
        self._threads.shutdown(cancel_futures=True)

    def map(self, items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Each item and its result, in order of completion; items are taken only as workers become free.

        Errors: InputError, see `work`.
        """
        pending: dict[Future[Result], Item] = {}

        def wait_for_some() -> Iterator[tuple[Item, Result]]:
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                yield pending.pop(future), future.result()

        for item in items:
            if len(pending) == self._cluster.workers:
                yield from wait_for_some()
            pending[self._threads.submit(self.work, item)] = item
        while pending:
            yield from wait_for_some()

    def work(self, item: Item) -> Result:
        """The result of an item; may be called from as many threads as there are workers.

        Errors: InputError as raised by the work, or if workers die again and again.
        """
        while True:
            worker = self._wait_for_worker()
            try:
                result: Result = ray.get(worker.work.remote(item))
            except RayActorError as error:
                self._replace_dead(error)
            except RayTaskError as error:
                self._free.put(worker)
                raise _find_cause(error) from None
            else:
                self._deaths = 0
                self._free.put(worker)
                return result

    def _hire(self) -> None:
        worker = self._cluster.actor.remote()
        self._workers.append(worker)

        def load() -> None:
            try:
                ray.get(worker.make.remote(self._make, math.ceil(self._cluster.needs["CPU"])))
                self._free.put(worker)
            except RayActorError as error:
                self._replace_dead(error)
            except RayTaskError as error:
                self._free.put(_find_cause(error))

        Thread(target=load, daemon=True).start()

    def _replace_dead(self, error: RayActorError) -> None:
        if self._closed:
            return
        self._deaths += 1
        if self._deaths > RETRIES * self._cluster.workers:
            self._failure = InputError(
                f"workers of the Ray cluster die again and again: {str(error).splitlines()[0]}; see docs/scaling.md"
            )
            self._free.put(self._failure)
        else:
            self._hire()

    def _wait_for_worker(self) -> Any:
        while True:
            try:
                worker = self._free.get(timeout=PATIENCE)
            except Empty:
                free = ray.available_resources()  # type: ignore[no-untyped-call]
                print(
                    f"descry: waiting for the Ray cluster: a worker needs {self._cluster.needs}, free are {free}",
                    file=sys.stderr,
                )
                continue
            worker = self._failure or worker
            if isinstance(worker, Exception):
                self._free.put(worker)
                raise worker
            return worker


def _find_cause(error: RayTaskError) -> Exception:
    """The error raised on the worker: an InputError as it was, any other with the worker's traceback."""
    return InputError(str(error.cause)) if isinstance(error.cause, InputError) else error
