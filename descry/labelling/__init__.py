"""Which descriptors apply to which sentence: one module a way, one protocol, one result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd

from descry.clustering import Descriptor


@dataclass(frozen=True)
class Labels:
    """labels int8 [sentences, descriptors]: 1 applies, 0 does not, -1 missing; scores float32 of the same shape,
    higher where a descriptor applies more surely, finite everywhere (0 where missing)."""

    labels: np.ndarray
    scores: np.ndarray


class Labeller(Protocol):
    """A way to label: it learns from calibration alone and scores every table given."""

    def labels(
        self,
        calibration: pd.DataFrame,
        others: Sequence[pd.DataFrame],
        candidates: pd.DataFrame,
        descriptors: Sequence[Descriptor],
    ) -> list[Labels]:
        """Labels of calibration, then of each of `others`, in the order of their rows and `descriptors`."""
