"""What the stage `triggers` reads: strongest sentences token by token, and the described neurons."""

import numpy as np
import pandas as pd

from descry.activations.token_words import TokenReadings, WordForms, find_word_forms
from descry.results import layout
from descry.schemas.assign import ASSIGNMENT_TABLE
from descry.schemas.associate import ASSOCIATION_TABLE
from descry.schemas.split import SENTENCE_TABLE
from descry.schemas.tokens import TOKEN_ARRAYS
from descry.storage.arrays import read_arrays
from descry.storage.tables import read_table


def read_tokens(split: str) -> tuple[TokenReadings, WordForms, list[str]]:
    """The strongest sentences of a split token by token, the word forms of those tokens, and all texts."""
    arrays, _ = read_arrays(layout.TOKENS / f"{split}.safetensors", TOKEN_ARRAYS)
    readings = TokenReadings(on_tokens=arrays.pop("values"), **arrays)
    texts = read_table(layout.SENTENCES / f"{split}.parquet", SENTENCE_TABLE)["text"].tolist()
    return readings, find_word_forms([texts[row] for row in readings.rows], readings.lengths, readings.stop), texts


def read_described(rule: str, layer: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the described neurons, by the p of their first descriptor, lowest first; and that one's correlation.

    layer, index: of all neurons.
    """
    assigned = read_table(layout.ASSIGNMENTS / "calibration.parquet", ASSIGNMENT_TABLE)
    first = assigned[assigned[f"{rule}_rank"] == 1].sort_values("p", kind="stable")
    first = first.merge(read_table(layout.ASSOCIATIONS, ASSOCIATION_TABLE), on=["layer", "index", "descriptor"])
    place = pd.MultiIndex.from_arrays([layer, index])
    return place.get_indexer(pd.MultiIndex.from_frame(first[["layer", "index"]])), first["pearson"].to_numpy()
