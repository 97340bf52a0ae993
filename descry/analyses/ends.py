"""Both ends of a neuron: descriptors of the sentences on which it is most positive, and of those on which it is most
negative."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from descry.assignment.rules import Findings
from descry.evaluation.chance import Draws, repeat
from descry.splits import REPLICATES, Pair


def measure_ends(
    positive: Pair[Findings], negative: Pair[Findings], draws: Draws
) -> tuple[Mapping[str, Any], dict[str, dict[str, np.ndarray]]]:
    """The measures, under `ends`, and their values under `permuted_neurons`.

    positive, negative: shares of all neurons with a descriptor at that end that is assigned on calibration and
    replicates on validation; both: at both ends. The null pairs calibration's neurons with validation's at random, the
    same ones at both ends.
    """

    def measure(order: np.ndarray) -> Mapping[str, Any]:
        replicated = [
            (found.calibration.assigned & (found.validation.log_p[order] <= np.log(REPLICATES))).any(axis=1)
            for found in (positive, negative)
        ]
        shares = {"positive": replicated[0], "negative": replicated[1], "both": replicated[0] & replicated[1]}
        return {"ends": {name: float(share.mean()) for name, share in shares.items()}}

    neurons = len(positive.calibration.assigned)
    permuted = repeat(lambda generator: measure(generator.permutation(neurons)), draws)
    return measure(np.arange(neurons)), {"permuted_neurons": permuted}
