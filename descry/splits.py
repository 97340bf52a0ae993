"""The two splits of the corpus, pairs of things of which there is one per split, and the levels used throughout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

SplitName = Literal["calibration", "validation"]
SPLITS: tuple[SplitName, SplitName] = ("calibration", "validation")
REPLICATES = 0.05
"""A pair assigned on one split replicates on the other, or in another corpus, if its p there is at most this."""
STANDARD_ERRORS_95 = 1.96
"""Half the width of a 95 % interval, in standard errors, under the normal approximation."""

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Pair(Generic[T]):
    """The same thing for both splits; iterating yields calibration's, then validation's."""

    calibration: T
    validation: T

    def __iter__(self) -> Iterator[T]:
        yield self.calibration
        yield self.validation

    def map(self, make: Callable[[T], U]) -> Pair[U]:
        """Apply `make` to each of the two."""
        return Pair(make(self.calibration), make(self.validation))
