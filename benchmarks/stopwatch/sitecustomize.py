"""Times each stage whose Python finds this folder on its path: the whole process, its imports, its model passes; and
takes its peak memory.

When a stage ends, a line of JSON joins the file that STOPWATCH names. Of nested imports, and of nested modules of a
model, the outermost counts. The product knows nothing of this.
"""

import atexit
import json
import os
import resource
import sys
from collections.abc import Callable
from functools import partial, wraps
from importlib.machinery import ModuleSpec, PathFinder
from threading import get_ident
from time import perf_counter
from types import ModuleType
from typing import Any

STARTED, MAIN = perf_counter(), get_ident()


class Stopwatch:
    """Seconds within the outermost of some functions' calls in the main thread."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._running = False

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        @wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            if self._running or get_ident() != MAIN:
                return function(*arguments, **options)
            self._running, start = True, perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self._running = False
                self.seconds += perf_counter() - start

        return call


IMPORTS, PASSES = Stopwatch(), Stopwatch()


class Finder(PathFinder):
    """Finds what PathFinder finds; its imports are timed, and then the calls of torch's modules."""

    @classmethod
    def find_spec(cls, fullname: str, *where: Any) -> ModuleSpec | None:
        spec = super().find_spec(fullname, *where)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def run(module: ModuleType) -> None:
                execute(module)
                if fullname == "torch.nn.modules.module":
                    module.Module.__call__ = PASSES.timed(module.Module.__call__)

            spec.loader.exec_module = IMPORTS.timed(run)  # type: ignore[method-assign]
        return spec


def report(stage: str, path: str) -> None:
    seconds = {"seconds": perf_counter() - STARTED, "model_pass": PASSES.seconds, "imports": IMPORTS.seconds}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps({"stage": stage, **seconds, "peak_gb": peak}) + "\n")


if "DVC_STAGE" in os.environ:
    sys.meta_path[sys.meta_path.index(PathFinder)] = Finder
    atexit.register(partial(report, os.environ["DVC_STAGE"], os.environ["STOPWATCH"]))
