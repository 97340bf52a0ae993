"""What several stages read, of both splits at once."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from descry import artifacts
from descry.artifacts import Activations
from descry.evaluation import Pair
from descry.gold import aspect_labels, aspect_names
from stages import _stage

T = TypeVar("T")


def both(read: Callable[[str], T]) -> Pair[T]:
    """What `read` gives for calibration and for validation."""
    return Pair(*(read(split) for split in _stage.SPLITS))


def labels(opinion: str) -> tuple[Pair[np.ndarray], Pair[np.ndarray], list[str]]:
    """Labels, scores (NaN where the label is missing) and the descriptors' names, by the `first` or the `second`
    labeller."""
    found = both(lambda split: artifacts.read_arrays(_stage.LABELS / opinion / f"{split}.safetensors", "labels"))
    given, scores = found.map(lambda read: read[0]["labels"]), found.map(lambda read: known_scores(read[0]))
    names: list[str] = found.calibration[1]["descriptors"]
    return given, scores, names


def known_scores(labels: Mapping[str, np.ndarray]) -> np.ndarray:
    """The scores of an artifact of labels, NaN where the label is missing."""
    return np.where(labels["labels"] >= 0, labels["scores"], np.float32("nan"))


def reviews() -> Pair[Sequence[str]]:
    """The review of every sentence."""
    return both(
        lambda split: list(artifacts.read_table(_stage.SENTENCES / f"{split}.parquet", "sentences")["review_id"])
    )


def gold() -> tuple[list[str], Pair[np.ndarray]]:
    """Gold aspects, and which sentences have them: none where the corpus has no gold."""
    aspects = both(lambda split: artifacts.read_table(_stage.GOLD / f"{split}.parquet", "gold")["aspects"])
    names = aspect_names(aspects.calibration, aspects.validation)
    return names, aspects.map(lambda split: aspect_labels(split, names))


def activations(folder: Path, *, probe: bool = True) -> Pair[Activations]:
    """A folder of activations."""
    return both(lambda split: artifacts.read_activations(folder / f"{split}.safetensors", probe=probe))


def poolings() -> list[Pair[Activations]]:
    """The activations of the further poolings that `extract` kept."""
    first, other = (_stage.POOLINGS / split for split in _stage.SPLITS)
    names = sorted(path.name for path in first.glob("*.safetensors"))
    return [Pair(*(artifacts.read_activations(folder / name) for folder in (first, other))) for name in names]


def controls(*, probe: bool = True) -> dict[str, Callable[[], Pair[Activations]]]:
    """What reads the activations of each control, by name; the `controls` stage decides which there are."""
    folders = sorted(folder for folder in _stage.CONTROLS.iterdir() if folder.is_dir())
    return {folder.name: partial(activations, folder, probe=probe) for folder in folders}
