"""The sentences that the stage `ablate` measures on, and where the target predicts descriptors' words in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from descry.ablation import words
from descry.ablation.study import Words
from descry.activations.record import Activations
from descry.models.heads import find_head, load_with_head
from descry.models.target import Target
from descry.results import layout
from descry.schemas.split import SENTENCE_TABLE
from descry.settings.runtime import Runtime
from descry.splits import Pair
from descry.storage.files import read_json
from descry.storage.tables import read_table
from stages.shared.inputs import read_both


def read_probe_texts(active: Pair[Activations]) -> Pair[list[str]]:
    """Read the sentences of the probe of either split, in its order."""

    def read(split: str) -> list[str]:
        table = read_table(layout.SENTENCES / f"{split}.parquet", SENTENCE_TABLE)
        return [table["text"].iloc[row] for row in getattr(active, split).probe_rows]

    return read_both(read)


def find_words(target: Target, texts: Sequence[str], review: np.ndarray, most: int, runtime: Runtime) -> Words | None:
    """Find descriptors' words where the target predicts them; None if its weights have no head that predicts words.

    review: int64 [texts], codes from 0; most: words of a descriptor, at most.
    """
    folder = layout.MODELS / "target"
    head = find_head(folder)
    if head is None:
        print("the target's weights have no head that predicts words: log-probabilities are left out")
        return None
    described = [[entry["name"], *entry["members"]] for entry in read_json(layout.DESCRIPTORS)["descriptors"]]
    model = load_with_head(target, folder, runtime.dtype, head)
    occurrences = words.find_occurrences(model, head, texts, list(words.select_phrases(described)), most)
    before = words.measure_log_probabilities(model, occurrences, batch_tokens=runtime.batch_tokens)
    return Words(model, occurrences, before, review[[occurrence.text for occurrence in occurrences]])
