"""Reads a finished run as columns, arrays of one length by name; without pandas, which takes longer to load."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from descry.assignment.exemplars import select_exemplars
from descry.errors import InputError
from descry.results import layout
from descry.results.layout import read_lock, read_parameters
from descry.results.noise import select_stds, summarise_splits
from descry.schemas.ablate import ABLATION_TABLE
from descry.schemas.assign import ASSIGNMENT_TABLE
from descry.schemas.associate import ASSOCIATION_TABLE
from descry.schemas.depth import DEPTH_TABLE
from descry.schemas.describe import GLOSS_TABLE, WRITTEN_TABLE
from descry.schemas.extract import ACTIVATION_ARRAYS
from descry.schemas.judge import JUDGED_TABLE
from descry.schemas.label import LABEL_ARRAYS
from descry.schemas.measures import MEASURE_TABLE
from descry.schemas.relations import COFIRING_TABLE, EXCLUSIVE_TABLE, RELATION_TABLE
from descry.schemas.replicate import TRANSFER_PAIR_TABLE, TRANSFER_TABLE
from descry.schemas.resplit import RESPLIT_TABLE
from descry.schemas.split import SENTENCE_TABLE
from descry.schemas.triggers import TRIGGER_TABLE
from descry.schemas.writes import WRITES_TABLE, WRITTEN_PAIR_TABLE
from descry.splits import REPLICATES, SPLITS
from descry.storage.arrays import read_arrays, read_part
from descry.storage.files import read_json
from descry.storage.tables import read_columns

if TYPE_CHECKING:
    from descry.assignment.rules import Rule

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
    "cofiring": (layout.RELATIONS / "cofiring.parquet", COFIRING_TABLE),
    "exclusive": (layout.RELATIONS / "exclusive.parquet", EXCLUSIVE_TABLE),
    "depth": (layout.DEPTH / "descriptors.parquet", DEPTH_TABLE),
    "transfer": (layout.REPLICATION / "descriptors.parquet", TRANSFER_TABLE),
    "transfer_pairs": (layout.REPLICATION / "pairs.parquet", TRANSFER_PAIR_TABLE),
    "ablation": (layout.ABLATION / "descriptors.parquet", ABLATION_TABLE),
    "writes": (layout.WRITES / "neurons.parquet", WRITES_TABLE),
    "written_pairs": (layout.WRITES / "pairs.parquet", WRITTEN_PAIR_TABLE),
    "negative": (layout.ENDS / "assignments.parquet", ASSIGNMENT_TABLE),
    "written": (layout.WRITTEN, WRITTEN_TABLE),
    "glosses": (layout.GLOSSES, GLOSS_TABLE),
    "judged": (layout.JUDGE / "units.parquet", JUDGED_TABLE),
}
"""Tables of stages that may be switched off: path and schema."""
PAIR_TABLES: dict[str, dict[str, Path]] = {
    "positive": {split: layout.ASSIGNMENTS / f"{split}.parquet" for split in SPLITS},
    "negative": {"calibration": FURTHER["negative"][0]},
}
"""Tables of assigned pairs, by end of the neurons and split."""
STRENGTHS = {"positive": layout.ASSOCIATIONS, "negative": layout.ENDS / "associations.parquet"}
"""What validation says of the pairs assigned on calibration, by end."""
MEASURES = tuple(
    part / "measures.parquet"
    for part in (
        *(layout.EVALUATION, layout.CONSISTENCY),
        *(layout.TRIGGERS, layout.RELATIONS, layout.DEPTH, layout.REPLICATION, layout.ABLATION),
        *(layout.WRITES, layout.ENDS, layout.JUDGE),
    )
)


@dataclass(frozen=True)
class Folder:
    """The folder of a finished run."""

    root: Path

    @classmethod
    def of(cls, path: str | Path) -> Folder:
        """The run in a folder. Errors: InputError if there is no finished run."""
        root = Path(path)
        for needed in (*NEEDED, layout.LOCK):
            if not (root / needed).is_file():
                raise InputError(f"{root}: no finished run: {needed} is missing; run `dvc repro` there")
        return cls(root)

    @cached_property
    def recorded(self) -> dict[str, Any]:
        """What dvc.lock records, by stage."""
        return read_lock(self.root)

    def parameters(self, stage: str) -> dict[str, Any]:
        """The parameters that a stage was run with, as `read_parameters` gives them."""
        return read_parameters(self.recorded, stage, self.root)

    @property
    def settings(self) -> dict[str, Any]:
        """The section `assign` that the run was made with: rule, exemplars, thresholds."""
        section: dict[str, Any] = self.parameters("assign@calibration")["assign"]
        return section

    @property
    def rule(self) -> Rule:
        """The rule that the run was made with."""
        from descry.assignment.rules import Rule

        thresholds = dict(self.settings)
        return Rule(name=thresholds.pop("rule"), **thresholds)

    def activations(self, split: str, end: str = "positive") -> Path:
        """Path of a split's activations. end: of the neurons. Errors: InputError if that end was not read."""
        path = self.root / layout.ACTIVATIONS / f"{split}.safetensors"
        if end == "positive":
            return path
        negative = layout.find_negative(split, self.root)
        if negative is None:
            raise InputError(f"{self.root / layout.POOLINGS / split}: no negative end; add it to extract.also")
        return negative

    def part(self, split: str, name: str, row: int | None = None, end: str = "positive") -> np.ndarray:
        """One array of a split's activations, or one row of it. end: see `activations`."""
        return read_part(self.activations(split, end), ACTIVATION_ARRAYS, name, row)

    def labels(self, split: str) -> tuple[np.ndarray, list[str]]:
        """Labels of a split, int8 [sentences, descriptors]: 1, 0, or -1 for missing; and the descriptors' names."""
        arrays, meta = read_arrays(self._labels(split), LABEL_ARRAYS, without=("scores",))
        return arrays["labels"], meta["descriptors"]

    def label_scores(self, split: str) -> np.ndarray:
        """The labeller's scores of a split, float32 [sentences, descriptors]: larger is clearer."""
        return read_arrays(self._labels(split), LABEL_ARRAYS, without=("labels",))[0]["scores"]

    def _labels(self, split: str) -> Path:
        return self.root / layout.LABELS / "first" / f"{split}.safetensors"

    def sentences(self, split: str) -> Columns:
        """The sentences of a split."""
        return read_columns(self.root / layout.SENTENCES / f"{split}.parquet", SENTENCE_TABLE)


def take_rows(columns: Mapping[str, np.ndarray], rows: np.ndarray) -> Columns:
    """Select rows: integers, in their order, or a boolean mask."""
    return {name: values[rows] for name, values in columns.items()}


def list_records(columns: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """The rows as dictionaries of Python numbers and text; None for NaN."""
    listed = {
        name: [None if value != value else value for value in values.tolist()] for name, values in columns.items()
    }
    return [dict(zip(listed, row, strict=True)) for row in zip(*listed.values(), strict=True)]


def _list_keys(columns: Mapping[str, np.ndarray]) -> Iterator[tuple[Any, ...]]:
    return zip(*(columns[name].tolist() for name in PAIR), strict=True)


def _find_places(of: Mapping[str, np.ndarray], among: Mapping[str, np.ndarray]) -> np.ndarray:
    """The row of each pair among others, int64; -1 if it is not there."""
    known = {key: place for place, key in enumerate(_list_keys(among))}
    return np.array([known.get(key, -1) for key in _list_keys(of)], dtype=np.int64)


def read_assigned(folder: Folder, split: str, end: str = "positive") -> Columns:
    """The pairs that the run's rule assigns on a split, sorted by layer, index and place (1 = the neuron's first).

    end: of the neurons; pairs of the negative end are kept of calibration alone.
    """
    rule = folder.settings["rule"]
    path = folder.root / PAIR_TABLES[end][split]
    table = read_columns(path, ASSIGNMENT_TABLE, [*PAIR, *TESTED, f"{rule}_assigned", f"{rule}_rank"])
    assigned, place = table.pop(f"{rule}_assigned"), table.pop(f"{rule}_rank")
    pairs = take_rows({"place": place} | table, assigned)
    ordered = take_rows(pairs, np.lexsort((pairs["place"], pairs["index"], pairs["layer"])))
    return {name: ordered[name] for name in (*PAIR, "place", *TESTED)}


def code_neurons(columns: Mapping[str, Any]) -> np.ndarray:
    """A number for the neuron of each row, int64, which sorts by layer, then index."""
    return np.asarray(np.asarray(columns["layer"]).astype(np.int64) << 32 | np.asarray(columns["index"]))


def read_neurons(folder: Folder) -> Columns:
    """Columns layer and index of every neuron, in the order of the run's arrays."""
    return {name: folder.part("calibration", name) for name in ("layer", "index")}


def find_neuron(folder: Folder, layer: int, index: int) -> int:
    """The row of a neuron in the run's arrays. Errors: InputError if there is no such neuron."""
    layers, indices = read_neurons(folder).values()
    rows = np.flatnonzero((layers == layer) & (indices == index))
    if not len(rows):
        of_layer = indices[layers == layer]
        known = ", ".join(map(str, np.unique(layers).tolist()))
        hint = f"layer {layer} has 0 to {of_layer.max()}" if len(of_layer) else f"the layers are {known}"
        raise InputError(f"neuron {layer}:{index}: there is none in {folder.root}; {hint}")
    return int(rows[0])


def join_validation(folder: Folder, pairs: Columns, end: str = "positive") -> Columns:
    """Add to pairs assigned on calibration what validation says of them: the columns of `associate`, and of their
    exemplars there `validation_composition`, `_prevalence`, `_lift` and `replicates` (p at most REPLICATES). end: of
    the neurons."""
    path = folder.root / STRENGTHS[end]
    strength = read_columns(path, ASSOCIATION_TABLE)
    places = _find_places(pairs, strength)
    if (places < 0).any():
        raise InputError(f"{path}: not of these assignments; run `dvc repro`")
    pairs = pairs | {name: values[places] for name, values in strength.items() if name not in PAIR}
    labels, names = folder.labels("validation")
    column = np.array([names.index(name) for name in pairs["descriptor"]], dtype=np.int64)
    prevalence = ((labels == 1).sum(axis=0) / np.maximum((labels >= 0).sum(axis=0), 1))[column]
    composition = pairs["validation_count"] / np.maximum(pairs["validation_known"], 1)
    return pairs | {
        "validation_composition": composition,
        "validation_prevalence": prevalence,
        "validation_lift": composition / np.where(prevalence > 0, prevalence, np.inf),
        "replicates": pairs["validation_p"] <= REPLICATES,
    }


def read_pairs(folder: Folder, choose: Callable[[Columns], np.ndarray] | None = None, end: str = "positive") -> Columns:
    """The pairs of a neuron and a descriptor that the run assigns, with what validation says of them.

    choose: selects rows of `read_assigned` on calibration, as `take_rows` takes them; None: all. end: of the neurons.
    """
    pairs = read_assigned(folder, "calibration", end)
    pairs = pairs if choose is None else take_rows(pairs, choose(pairs))
    return join_validation(folder, pairs, end)


def read_exemplars(folder: Folder, layer: int, index: int, count: int, end: str = "positive") -> Columns:
    """The strongest sentences of a neuron, at most `count` of each split, best first; see `select_exemplars`.

    end: "negative" for those on which it is most negative, whose activations are shown as they are. Columns: split,
    rank (from 1), activation, sentence_id, review_id, product, text.
    Errors: InputError if there is no such neuron.
    """
    place = find_neuron(folder, layer, index)
    parts = []
    for split in SPLITS:
        names = ("values", "rows", "beyond")
        values, rows, beyond = (np.asarray(folder.part(split, name, place, end)) for name in names)
        rows = select_exemplars(values, rows, beyond, count)
        rows, values = rows[rows >= 0], values[: np.count_nonzero(rows >= 0)] * (1 if end == "positive" else -1)
        named = {"split": np.full(len(rows), split, object), "rank": np.arange(1, len(rows) + 1), "activation": values}
        parts.append(named | take_rows(folder.sentences(split), rows))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0] if name != "position"}


def read_descriptors(folder: Folder) -> list[dict[str, Any]]:
    """The vocabulary: name, members (the most frequent first), and sentences that proposed it, of every descriptor."""
    descriptors: list[dict[str, Any]] = read_json(folder.root / layout.DESCRIPTORS)["descriptors"]
    return descriptors


def read_measures(folder: Folder) -> Columns:
    """Every measure of the run, a row for each null that it is compared with: the tables of MEASURES joined."""
    paths = [folder.root / path for path in MEASURES]
    tables = [read_columns(path, MEASURE_TABLE) for path in paths if path.is_file()]
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def read_stds(folder: Folder) -> dict[str, float]:
    """The standard deviation of the run's measures over splits; empty if the stage `resplit` was switched off."""
    path = folder.root / layout.RESPLITS
    if not path.is_file():
        return {}
    return select_stds(summarise_splits(read_columns(path, RESPLIT_TABLE)))


def read_further(folder: Folder, name: str) -> Columns | None:
    """Read a table of FURTHER; None if its stage was switched off."""
    path, schema = folder.root / FURTHER[name][0], FURTHER[name][1]
    table = read_columns(path, schema) if path.is_file() else {}
    return table if any(map(len, table.values())) else None


def find_further_rows(folder: Folder, name: str, **of: Any) -> list[dict[str, Any]]:
    """All rows of a table of FURTHER that have the values `of`, in order."""
    table = read_further(folder, name)
    if table is None:
        return []
    matches = np.logical_and.reduce([table[key] == value for key, value in of.items()])
    return list_records(take_rows(table, np.flatnonzero(matches)))


def find_further_row(folder: Folder, name: str, **of: Any) -> dict[str, Any] | None:
    """The first row of a table of FURTHER that has the values `of`; None if there is none."""
    return next(iter(find_further_rows(folder, name, **of)), None)
