"""Descriptors by layer: how many neurons have one, and which are typical of the layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

BANDS = 8
"""Bands of layers that are shown, at most."""
TYPICAL = 3
"""Descriptors named of each, at most."""


class Band(NamedTuple):
    """A layer, or some that follow one another.

    label: 1, or 1–2; neurons: in it; share: of them that have a descriptor; directions: the same of random directions,
    None where these were not measured; typical: descriptors that are over-represented in it, the clearest first.
    """

    label: str
    neurons: int
    share: float
    directions: float | None
    typical: Sequence[str]


def list_bands(layers: pd.DataFrame, carriers: pd.DataFrame) -> list[Band]:
    """The layers in at most BANDS bands. layers: of `tabulate_layers`; carriers: of `tabulate_carriers`.

    A descriptor is typical of the band where it is furthest above what all descriptors together would give it, in
    standard deviations of a Poisson count.
    """
    width = -(-len(layers) // BANDS)
    rows = [np.arange(start, min(start + width, len(layers))) for start in range(0, len(layers), width)]
    by_layer = carriers[[f"layer_{layer}" for layer in layers["layer"]]].to_numpy(dtype=np.float64)
    counts = np.stack([by_layer[:, chosen].sum(axis=1) for chosen in rows], axis=1)
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / max(counts.sum(), 1)
    excess = (counts - expected) / np.sqrt(np.maximum(expected, 1e-9))
    typical_of = np.where(excess.max(axis=1) > 0, excess.argmax(axis=1), -1)
    bands = []
    for number, chosen in enumerate(rows):
        part = layers.iloc[chosen]
        first, last = int(part["layer"].iloc[0]), int(part["layer"].iloc[-1])
        neurons = int(part["neurons"].sum())
        directions = float((part["random_directions"] * part["neurons"]).sum(skipna=False)) / neurons
        typical = np.flatnonzero(typical_of == number)
        order = typical[np.argsort(-excess[typical, number], kind="stable")][:TYPICAL]
        bands.append(
            Band(
                label=str(first) if first == last else f"{first}–{last}",
                neurons=neurons,
                share=float(part["described"].sum()) / neurons,
                directions=None if np.isnan(directions) else directions,
                typical=carriers["descriptor"].iloc[order].astype(str).tolist(),
            )
        )
    return bands
