"""Inputs that several stages read, of both splits at once."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from descry.activations.record import Activations, read_activations
from descry.assignment.rules import Rule
from descry.results import layout
from descry.schemas.label import LABEL_ARRAYS
from descry.schemas.split import SENTENCE_TABLE
from descry.settings.neurons import Assign
from descry.splits import SPLITS, Pair
from descry.storage.arrays import read_arrays
from descry.storage.tables import read_table

T = TypeVar("T")


def to_rule(chosen: Assign) -> Rule:
    """Convert the section `assign` to the library's rule."""
    return Rule(chosen.rule, chosen.exemplars, chosen.alpha, chosen.min_lift, chosen.min_count, chosen.tau)


def read_both(read: Callable[[str], T]) -> Pair[T]:
    """Read both splits: `read` of calibration and of validation."""
    return Pair(*(read(split) for split in SPLITS))


def read_labels(opinion: str) -> tuple[Pair[np.ndarray], Pair[np.ndarray], list[str]]:
    """Read labels, scores (NaN where a label is missing) and descriptors' names. opinion: `first` or `second`."""
    files = read_both(lambda split: read_arrays(layout.LABELS / opinion / f"{split}.safetensors", LABEL_ARRAYS))
    labels, scores = files.map(lambda file: file[0]["labels"]), files.map(lambda file: mask_missing(file[0]))
    names: list[str] = files.calibration[1]["descriptors"]
    return labels, scores, names


def mask_missing(labels: Mapping[str, np.ndarray]) -> np.ndarray:
    """The scores out of LABEL_ARRAYS, NaN where a label is missing."""
    return np.where(labels["labels"] >= 0, labels["scores"], np.float32("nan"))


def read_review_ids() -> Pair[Sequence[str]]:
    """Read the review of every sentence."""
    return read_both(lambda split: list(read_table(layout.SENTENCES / f"{split}.parquet", SENTENCE_TABLE)["review_id"]))


def read_activation_pair(folder: Path, *, probe: bool = True) -> Pair[Activations]:
    """Read the activations of both splits in a folder."""
    return read_both(lambda split: read_activations(folder / f"{split}.safetensors", probe=probe))


def read_poolings() -> list[Pair[Activations]]:
    """Read the activations of the further poolings (`extract.also`)."""
    first, other = (layout.POOLINGS / split for split in SPLITS)
    names = sorted(path.name for path in first.glob("*.safetensors"))
    return [Pair(*(read_activations(folder / name) for folder in (first, other))) for name in names]


def read_negative() -> Pair[Activations] | None:
    """Read the activations of the neurons' negative ends; None if `extract.also` does not ask for them."""
    paths = layout.find_negative_pair()
    return None if paths is None else paths.map(read_activations)


def list_controls(*, probe: bool = True) -> dict[str, Callable[[], Pair[Activations]]]:
    """Functions that read the activations of each control, by the control's name."""
    folders = sorted(folder for folder in layout.CONTROLS.iterdir() if folder.is_dir())
    return {folder.name: partial(read_activation_pair, folder, probe=probe) for folder in folders}
