"""The neurons that calibration describes."""

import pandas as pd

from descry.results import layout
from descry.schemas.assign import ASSIGNMENT_TABLE
from descry.storage.tables import read_table


def read_first(rule: str) -> pd.DataFrame:
    """The first descriptor of every described neuron, lowest p first: columns layer, index, descriptor, p."""
    table = read_table(layout.ASSIGNMENTS / "calibration.parquet", ASSIGNMENT_TABLE)
    first = table[table[f"{rule}_assigned"] & (table[f"{rule}_rank"] == 1)]
    return first.sort_values(["p", "layer", "index"], kind="stable")[["layer", "index", "descriptor", "p"]]
