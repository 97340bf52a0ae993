"""How often units fire: a unit fires on a sentence where its pooled value is above 0."""

from __future__ import annotations

import numpy as np

from descry.activations.record import Activations


def count_firing(activations: Activations) -> dict[str, int | float]:
    """How many `units` there are, how many of them never fire (`dead`) or fire on every sentence of the probe
    (`always`), and on which share of the probe's sentences a unit fires, on average (`rate`)."""
    fires = activations.probe > 0
    return {
        "units": len(activations.maximum),
        "dead": int((activations.maximum <= 0).sum()),
        "always": int(fires.all(axis=0).sum()),
        "rate": float(np.mean(fires)),
    }
