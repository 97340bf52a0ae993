"""Agreement between calibration and validation, with its chance levels: the tables of the `consistency` stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from descry.activations.record import Activations
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import Rule, assign
from descry.evaluation import nulls
from descry.evaluation.chance import Draws, repeat, tabulate_measures
from descry.evaluation.measures import measure_consistency
from descry.evaluation.metrics import replication
from descry.splits import SPLITS, Pair


def tabulate_consistency(
    active: Pair[Activations],
    controls: Mapping[str, Callable[[], Pair[Activations]]],
    labels: Pair[np.ndarray],
    reviews: Pair[Sequence[str]],
    rule: Rule,
    draws: Draws,
) -> dict[str, pd.DataFrame]:
    """Tabulate `measures`, each with every null that it has, and `p_values`, the histograms of both splits.

    Parameters as for `nulls.measure_beside_chance`; the activations need no probe.
    """
    found, measured, chance = nulls.measure_beside_chance(
        active,
        controls,
        labels,
        reviews,
        lambda _: lambda drawn, *_: measure_consistency(drawn),
        rule=rule,
        draws=draws,
    )
    sets = active.map(lambda split: split.exemplars(rule.exemplars))
    chance["permuted_neurons"] = repeat(
        lambda generator: measure_consistency(nulls.permute_neurons(found, generator)), draws
    )
    unassigned = replication(~found.calibration.assigned, found.validation.log_p)
    chance["unassigned_pairs"] = {"replication": np.array([unassigned])}
    generators = np.random.default_rng(draws.seed).spawn(draws.repeats)
    moved = (nulls.draw_move(reviews, generator)(labels).calibration for generator in generators)
    shuffled = (assign(gather_evidence(sets.calibration, given), rule) for given in moved)
    chance["shuffled_labels"]["pairs"], alpha = nulls.measure_attained_error(found.calibration, shuffled, rule)
    histograms = [
        nulls.tabulate_p_values(rows, given, ids, draws).assign(split=split)
        for split, rows, given, ids in zip(SPLITS, sets, labels, reviews, strict=True)
    ]
    return {
        "measures": tabulate_measures({**measured, "calibrated_alpha": alpha}, chance),
        "p_values": pd.concat(histograms),
    }
