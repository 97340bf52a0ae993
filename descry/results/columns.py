"""What a finished run says, as columns: arrays of one length by name, read without pandas in a fraction of a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from descry.errors import InputError
from descry.results import layout
from descry.results.layout import read_lock, read_parameters
from descry.schemas.ablate import ABLATION_TABLE
from descry.schemas.assign import ASSIGNMENT_TABLE
from descry.schemas.associate import ASSOCIATION_TABLE
from descry.schemas.depth import DEPTH_TABLE
from descry.schemas.extract import ACTIVATION_ARRAYS
from descry.schemas.label import LABEL_ARRAYS
from descry.schemas.measures import MEASURE_TABLE
from descry.schemas.relations import RELATION_TABLE
from descry.schemas.replicate import TRANSFER_PAIR_TABLE, TRANSFER_TABLE
from descry.schemas.split import SENTENCE_TABLE
from descry.schemas.triggers import TRIGGER_TABLE
from descry.splits import REPLICATES, SPLITS
from descry.storage.arrays import read_arrays, read_part
from descry.storage.files import read_json
from descry.storage.tables import read_columns

if TYPE_CHECKING:
    from descry.assignment import Rule

Columns = dict[str, np.ndarray]
PAIR = ("layer", "index", "descriptor")
TESTED = ("count", "known", "composition", "prevalence", "lift", "p", "q")
NEEDED = (
    *(layout.ASSIGNMENTS / f"{split}.parquet" for split in SPLITS),
    *(layout.ACTIVATIONS / f"{split}.safetensors" for split in SPLITS),
    *(layout.SENTENCES / f"{split}.parquet" for split in SPLITS),
    *(layout.LABELS / "first" / f"{split}.safetensors" for split in SPLITS),
    layout.ASSOCIATIONS,
    layout.DESCRIPTORS,
)
FURTHER = {
    "triggers": (layout.TRIGGERS / "neurons.parquet", TRIGGER_TABLE),
    "relations": (layout.RELATIONS / "calibration.parquet", RELATION_TABLE),
    "relations_there": (layout.RELATIONS / "validation.parquet", RELATION_TABLE),
    "depth": (layout.DEPTH / "descriptors.parquet", DEPTH_TABLE),
    "transfer": (layout.REPLICATION / "descriptors.parquet", TRANSFER_TABLE),
    "transfer_pairs": (layout.REPLICATION / "pairs.parquet", TRANSFER_PAIR_TABLE),
    "ablation": (layout.ABLATION / "descriptors.parquet", ABLATION_TABLE),
}
"""Tables of stages that may be left out: path and schema."""
MEASURES = tuple(
    part / "measures.parquet"
    for part in (
        *(layout.EVALUATION, layout.CONSISTENCY),
        *(layout.TRIGGERS, layout.RELATIONS, layout.DEPTH, layout.REPLICATION, layout.ABLATION),
    )
)


@dataclass(frozen=True)
class Folder:
    """The folder of a finished run."""

    root: Path

    @classmethod
    def of(cls, path: str | Path) -> Folder:
        """Errors: InputError where no finished run lies."""
        root = Path(path)
        for needed in (*NEEDED, layout.LOCK):
            if not (root / needed).is_file():
                raise InputError(f"{root}: no finished run: {needed} is missing; run `dvc repro` there")
        return cls(root)

    @cached_property
    def recorded(self) -> dict[str, Any]:
        """What dvc.lock says of every stage."""
        return read_lock(self.root)

    def parameters(self, stage: str) -> dict[str, Any]:
        """`layout.parameters` of a stage."""
        return read_parameters(self.recorded, stage, self.root)

    @property
    def settings(self) -> dict[str, Any]:
        """The section `assign` with which the run was made: rule, exemplars, thresholds."""
        section: dict[str, Any] = self.parameters("assign@calibration")["assign"]
        return section

    @property
    def rule(self) -> Rule:
        """The rule with which the run was made."""
        from descry.assignment import Rule

        thresholds = dict(self.settings)
        return Rule(name=thresholds.pop("rule"), **thresholds)

    def activations(self, split: str) -> Path:
        """The file of a split's activations."""
        return self.root / layout.ACTIVATIONS / f"{split}.safetensors"

    def part(self, split: str, name: str, row: int | None = None) -> np.ndarray:
        """One array of a split's activations, or one row of it."""
        return read_part(self.activations(split), ACTIVATION_ARRAYS, name, row)

    def labels(self, split: str) -> tuple[np.ndarray, list[str]]:
        """Labels int8 [sentences, descriptors], and the descriptors' names."""
        arrays, meta = read_arrays(self._labels(split), LABEL_ARRAYS, without=("scores",))
        return arrays["labels"], meta["descriptors"]

    def label_scores(self, split: str) -> np.ndarray:
        """How clearly each sentence bears each descriptor, as the labeller says: float32 [sentences, descriptors]."""
        return read_arrays(self._labels(split), LABEL_ARRAYS, without=("labels",))[0]["scores"]

    def _labels(self, split: str) -> Path:
        return self.root / layout.LABELS / "first" / f"{split}.safetensors"

    def sentences(self, split: str) -> Columns:
        """The sentences of a split."""
        return read_columns(self.root / layout.SENTENCES / f"{split}.parquet", SENTENCE_TABLE)


def take_rows(columns: Mapping[str, np.ndarray], rows: np.ndarray) -> Columns:
    """Some rows: int in that order, or bool."""
    return {name: values[rows] for name, values in columns.items()}


def list_records(columns: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """The rows, as plain numbers and text; None for NaN."""
    listed = {
        name: [None if value != value else value for value in values.tolist()] for name, values in columns.items()
    }
    return [dict(zip(listed, row, strict=True)) for row in zip(*listed.values(), strict=True)]


def _keys(columns: Mapping[str, np.ndarray]) -> Iterator[tuple[Any, ...]]:
    return zip(*(columns[name].tolist() for name in PAIR), strict=True)


def _places(of: Mapping[str, np.ndarray], among: Mapping[str, np.ndarray]) -> np.ndarray:
    """Where each pair stands among others, int64; -1 where it does not."""
    known = {key: place for place, key in enumerate(_keys(among))}
    return np.array([known.get(key, -1) for key in _keys(of)], dtype=np.int64)


def read_assigned(folder: Folder, split: str) -> Columns:
    """The pairs that the run's rule assigns on a split, by layer, index and place (1 = the neuron's first)."""
    rule = folder.settings["rule"]
    path = folder.root / layout.ASSIGNMENTS / f"{split}.parquet"
    found = read_columns(path, ASSIGNMENT_TABLE, [*PAIR, *TESTED, f"{rule}_assigned", f"{rule}_rank"])
    chosen, place = found.pop(f"{rule}_assigned"), found.pop(f"{rule}_rank")
    found = take_rows({"place": place} | found, chosen)
    ordered = take_rows(found, np.lexsort((found["place"], found["index"], found["layer"])))
    return {name: ordered[name] for name in (*PAIR, "place", *TESTED)}


def code_neurons(columns: Mapping[str, Any]) -> np.ndarray:
    """One number for each row's neuron, int64, in order of layer, then index."""
    return np.asarray(np.asarray(columns["layer"]).astype(np.int64) << 32 | np.asarray(columns["index"]))


def read_neurons(folder: Folder) -> Columns:
    """layer and index of every neuron, in the order of the run's arrays."""
    return {name: folder.part("calibration", name) for name in ("layer", "index")}


def find_neuron(folder: Folder, layer: int, index: int) -> int:
    """Where one neuron stands in the arrays of the run. Errors: InputError where there is no such neuron."""
    layers, own = read_neurons(folder).values()
    found = np.flatnonzero((layers == layer) & (own == index))
    if not len(found):
        there = own[layers == layer]
        known = ", ".join(map(str, np.unique(layers).tolist()))
        hint = f"layer {layer} has 0 to {there.max()}" if len(there) else f"the layers are {known}"
        raise InputError(f"neuron {layer}:{index}: there is none in {folder.root}; {hint}")
    return int(found[0])


def join_validation(folder: Folder, found: Columns) -> Columns:
    """Assigned pairs of calibration, and beside them what validation says: `associations`, and of their exemplars there
    `validation_composition`, `_prevalence`, `_lift`, and `replicates`: whether its p is at most REPLICATES."""
    path = folder.root / layout.ASSOCIATIONS
    strength = read_columns(path, ASSOCIATION_TABLE)
    places = _places(found, strength)
    if (places < 0).any():
        raise InputError(f"{path}: not of these assignments; run `dvc repro`")
    found = found | {name: values[places] for name, values in strength.items() if name not in PAIR}
    labels, names = folder.labels("validation")
    column = np.array([names.index(name) for name in found["descriptor"]], dtype=np.int64)
    prevalence = ((labels == 1).sum(axis=0) / np.maximum((labels >= 0).sum(axis=0), 1))[column]
    composition = found["validation_count"] / np.maximum(found["validation_known"], 1)
    return found | {
        "validation_composition": composition,
        "validation_prevalence": prevalence,
        "validation_lift": composition / np.where(prevalence > 0, prevalence, np.inf),
        "replicates": found["validation_p"] <= REPLICATES,
    }


def read_pairs(folder: Folder, chosen: Callable[[Columns], np.ndarray] | None = None) -> Columns:
    """The pairs of a neuron and a descriptor that the run assigns, with what validation says.

    chosen: the rows of `assigned` on calibration that are asked for (int in that order, or bool); None: all.
    """
    found = read_assigned(folder, "calibration")
    found = found if chosen is None else take_rows(found, chosen(found))
    return join_validation(folder, found)


def read_exemplars(folder: Folder, layer: int, index: int, count: int) -> Columns:
    """The strongest sentences of a neuron, at most `count` of each split, best first.

    Columns: split, rank (from 1), activation, sentence_id, review_id, product, text. None for a neuron that never
    moves. Errors: InputError where there is no such neuron.
    """
    place = find_neuron(folder, layer, index)
    parts = []
    for split in SPLITS:
        moves = folder.part(split, "std", place) > 0
        rows, values = (folder.part(split, name, place)[: count * moves] for name in ("rows", "values"))
        named = {"split": np.full(len(rows), split, object), "rank": np.arange(1, len(rows) + 1), "activation": values}
        parts.append(named | take_rows(folder.sentences(split), rows))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name != "position"}


def read_descriptors(folder: Folder) -> list[dict[str, Any]]:
    """The vocabulary: name, members (the weightiest first), sentences behind it."""
    found: list[dict[str, Any]] = read_json(folder.root / layout.DESCRIPTORS)["descriptors"]
    return found


def read_measures(folder: Folder) -> Columns:
    """Every measure of the run, once for each null that stands beside it: the tables `measures` one after the other."""
    paths = [folder.root / path for path in MEASURES]
    tables = [read_columns(path, MEASURE_TABLE) for path in paths if path.is_file()]
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def read_further(folder: Folder, name: str) -> Columns | None:
    """One of FURTHER; None where its stage was left out."""
    path, schema = folder.root / FURTHER[name][0], FURTHER[name][1]
    found = read_columns(path, schema) if path.is_file() else {}
    return found if any(map(len, found.values())) else None


def find_further_row(folder: Folder, name: str, **of: Any) -> dict[str, Any] | None:
    """The first row of one of FURTHER with those values; None where there is none."""
    found = read_further(folder, name)
    if found is None:
        return None
    here = np.logical_and.reduce([found[key] == value for key, value in of.items()])
    return next(iter(list_records(take_rows(found, np.flatnonzero(here)[:1]))), None)
