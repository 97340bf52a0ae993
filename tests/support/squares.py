"""Work for workers that takes no model, in a module that takes no time to load."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from descry.errors import InputError


@dataclass(frozen=True)
class Squares:
    """Squares a number; a worker that meets `bad` dies of it, the first `times` times; all wait until so many workers
    as `crowd` are there."""

    marks: Path
    bad: int = -1
    times: int = 0
    seconds: float = 0.0
    crowd: int = 1

    def __call__(self) -> Callable[[int], int]:
        return self.square

    def square(self, number: int) -> int:
        time.sleep(self.seconds)
        (self.marks / f"{number}-{os.getpid()}").touch()
        while len({path.name.rpartition("-")[2] for path in self.marks.iterdir()}) < self.crowd:
            time.sleep(0.05)
        if number == self.bad and len(list(self.marks.glob(f"{number}-*"))) <= self.times:
            os.kill(os.getpid(), signal.SIGKILL)
        if number < 0:
            raise InputError(f"{number} is negative")
        return number * number
