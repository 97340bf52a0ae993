"""consistency: does validation say of each neuron what calibration said, and how much of that is chance."""

from functools import partial

import numpy as np
import pandas as pd

from descry import artifacts, nulls
from descry.evaluation import consistency_measures, replication
from descry.settings import Assign, Consistency
from stages import _inputs, _stage


def main() -> None:
    chosen, settings = _stage.settings(Assign), _stage.settings(Consistency)
    rule = chosen.model_dump(exclude={"exemplars"})
    labels, reviews = _inputs.labels("first")[0], _inputs.reviews()
    active = _inputs.activations(_stage.ACTIVATIONS, probe=False)
    found, measured, chance = nulls.beside_chance(
        active,
        _inputs.controls(probe=False),
        labels,
        reviews,
        lambda _: lambda drawn, _: consistency_measures(drawn),
        rule=rule,
        exemplars=chosen.exemplars,
        repeats=settings.repeats,
        seed=settings.seed,
    )
    sets = active.map(lambda split: split.exemplars(chosen.exemplars))
    repeated = partial(nulls.repeated, repeats=settings.repeats, seed=settings.seed)
    chance["permuted_neurons"] = repeated(
        lambda generator: consistency_measures(nulls.permuted_neurons(found, generator))
    )
    chance["unassigned_pairs"] = {
        "replication": np.array([replication(~found.calibration.assigned, found.validation.log_p)])
    }
    generators = np.random.default_rng(settings.seed).spawn(settings.repeats)
    shuffled = (nulls.shuffled_labels(sets, labels, reviews, rule, generator).calibration for generator in generators)
    chance["shuffled_labels"]["pairs"], alpha = nulls.attained(found.calibration, shuffled, rule)
    measures = {**measured, "calibrated_alpha": alpha}
    histograms = [
        nulls.p_values(
            getattr(sets, split),
            getattr(labels, split),
            getattr(reviews, split),
            repeats=settings.repeats,
            seed=settings.seed,
        ).assign(split=split)
        for split in _stage.SPLITS
    ]
    artifacts.write_table(_stage.CONSISTENCY / "measures.parquet", nulls.beside(measures, chance), "measures")
    artifacts.write_table(_stage.CONSISTENCY / "p_values.parquet", pd.concat(histograms), "p_values")


if __name__ == "__main__":
    _stage.run(main)
