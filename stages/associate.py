"""associate: how strongly every assigned pair goes together on validation's sentences."""

import pandas as pd

from descry import artifacts
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
    strength = associations(
        place.get_indexer(pd.MultiIndex.from_frame(pairs[["layer", "index"]])),
        pd.Index(names).get_indexer(pd.Index(pairs["descriptor"])),
        active,
        labels,
        _inputs.reviews().validation,
        **settings.model_dump(),
    )
    artifacts.write_table(_stage.ASSOCIATIONS, pd.concat([pairs, strength], axis=1), "associations")
    median = f", median correlation {strength['pearson'].median():.3f} on validation" if len(pairs) else ""
    print(f"{len(pairs):,} pairs{median}")


if __name__ == "__main__":
    _stage.run(main)
