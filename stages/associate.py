"""associate: what validation's sentences say of every assigned pair: is it found again, and how strong is it?"""

import numpy as np
import pandas as pd

from descry import artifacts
from descry.assignment import gather, log_p
from descry.association import associations
from descry.settings import Assign, Associate
from stages import _inputs, _stage


def main() -> None:
    chosen, settings = _stage.settings(Assign), _stage.settings(Associate)
    active = _inputs.activations(_stage.ACTIVATIONS)
    labels, _, names = _inputs.labels("first")
    assigned = artifacts.read_table(_stage.ASSIGNMENTS / "calibration.parquet", "assignments")
    pairs = assigned.loc[assigned[f"{chosen.rule}_assigned"], ["layer", "index", "descriptor"]].reset_index(drop=True)
    place = pd.MultiIndex.from_arrays([active.calibration.layer, active.calibration.index])
    neurons = place.get_indexer(pd.MultiIndex.from_frame(pairs[["layer", "index"]]))
    columns = pd.Index(names).get_indexer(pd.Index(pairs["descriptor"]))
    evidence = gather(active.validation.exemplars(chosen.exemplars), labels.validation)
    pairs["validation_count"] = evidence.counts[neurons, columns]
    pairs["validation_known"] = evidence.known[neurons, columns]
    pairs["validation_p"] = np.exp(log_p(evidence)[neurons, columns])
    strength = associations(neurons, columns, active, labels, _inputs.reviews().validation, **settings.model_dump())
    artifacts.write_table(_stage.ASSOCIATIONS, pd.concat([pairs, strength], axis=1), "associations")
    median = f", median correlation {strength['pearson'].median():.3f} on validation" if len(pairs) else ""
    print(f"{len(pairs):,} pairs{median}")


if __name__ == "__main__":
    _stage.run(main)
