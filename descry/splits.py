"""The two splits, and whatever there is one of for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

SplitName = Literal["calibration", "validation"]
SPLITS: tuple[SplitName, SplitName] = ("calibration", "validation")
REPLICATES = 0.05
"""What is found on one split is found again on the other, or in another corpus, where its p there is at most this."""

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Pair(Generic[T]):
    """The same thing on both splits; iterating gives calibration's, then validation's."""

    calibration: T
    validation: T

    def __iter__(self) -> Iterator[T]:
        yield self.calibration
        yield self.validation

    def map(self, make: Callable[[T], U]) -> Pair[U]:
        """What `make` gives of either."""
        return Pair(make(self.calibration), make(self.validation))
