"""What descriptions of a finished run's units are judged on, and the run's own descriptions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd

from descry.activations.record import read_activations
from descry.embedding.encoder import SentenceEncoder
from descry.judging.descriptions import Description, Descriptions, index_units
from descry.judging.fit import SimilarityFitter
from descry.judging.judge import HeldOut, gather_held_out, judge
from descry.results import columns, layout
from descry.results.columns import Folder
from descry.schemas.export import LONGEST

EXEMPLARS = 5
"""Strongest calibration sentences behind a descriptor's name in the run's own descriptions."""


def judge_run(folder: Folder, descriptions: Descriptions) -> pd.DataFrame:
    """Judge descriptions of units of a run on validation's probe. Errors: InputError as for `judge`."""
    held_out = read_held_out(folder)
    descriptions.locate(held_out.layer, held_out.index)  # before the encoder is loaded
    runtime = folder.parameters("cluster")
    encoder = SentenceEncoder(folder.root / layout.MODELS / "embedder", batch_tokens=runtime["runtime.batch_tokens"])
    return judge(descriptions, held_out, partial(SimilarityFitter, encoder))


def read_held_out(folder: Folder) -> HeldOut:
    """What a run's descriptions are judged on: validation's probe."""
    return gather_held_out(
        read_activations(folder.activations("validation")),
        folder.sentences("validation")["text"],
        folder.sentences("calibration")["text"],
        _read_first(folder),
    )


def _read_first(folder: Folder) -> columns.Columns:
    """The first descriptor of every neuron that has one, by layer and index."""
    pairs = columns.read_assigned(folder, "calibration")
    return columns.take_rows(pairs, pairs["place"] == 1)


def describe_units(folder: Folder) -> Descriptions:
    """The run's own descriptions as free text: of every described neuron the first descriptor's name and, behind it,
    its EXEMPLARS strongest sentences of calibration, as far as LONGEST characters reach."""
    first, texts = _read_first(folder), folder.sentences("calibration")["text"]
    active = read_activations(folder.activations("calibration"), probe=False)
    exemplars = active.exemplars(EXEMPLARS)
    place = index_units(active.layer, active.index)
    rows = []
    for layer, index, name in zip(*(first[key].tolist() for key in columns.PAIR), strict=True):
        strongest = [texts[row] for row in exemplars[place[layer, index]] if row >= 0]
        rows.append(Description(f"neuron {layer}:{index}", layer, index, compose(name, strongest)))
    return Descriptions(str(folder.root), tuple(rows))


def compose(name: str, sentences: Sequence[str]) -> str:
    """A description: a name, and sentences behind it as long as LONGEST characters reach."""
    text = f"{name}:"
    for sentence in sentences:
        longer = f"{text} {' '.join(sentence.split())}"
        if len(longer) > LONGEST:
            break
        text = longer
    return text.removesuffix(":")
