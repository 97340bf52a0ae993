"""Gold aspects, for the stages that measure."""

import numpy as np

from descry.evaluation.gold import label_aspects, list_aspects
from descry.results import layout
from descry.schemas.split import GOLD_TABLE
from descry.splits import Pair
from descry.storage.tables import read_table
from stages.shared.inputs import read_both


def read_gold() -> tuple[list[str], Pair[np.ndarray]]:
    """Read the names of the gold aspects (none if the corpus has no gold), and which sentences have them."""
    aspects = read_both(lambda split: read_table(layout.GOLD / f"{split}.parquet", GOLD_TABLE)["aspects"])
    names = list_aspects(aspects.calibration, aspects.validation)
    return names, aspects.map(lambda split: label_aspects(split, names))
