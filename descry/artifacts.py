"""The only module that knows file formats: one reader and one writer per artifact.

Writers are atomic (a temporary name, then a rename) and give the same bytes for the same content. Readers
check what they read and raise InputError, one line that names the file.
"""

from __future__ import annotations

import glob
import hashlib
import json
import math
import os
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from descry.errors import InputError

if TYPE_CHECKING:  # what asks for no DataFrame need not wait for pandas
    import pandas as pd

SCHEMA = 1
"""Version of every artifact; a reader refuses another one."""

ROW_GROUP = 4096
"""Rows of a table that are read at once, at least, where it is read in pieces."""

_HEAL = "run `dvc repro` again, or `dvc pull` it"

TABLES: dict[str, dict[str, str]] = {
    "sentences": {
        "sentence_id": "string",
        "review_id": "string",
        "position": "int32",
        "product": "string",
        "text": "string",
    },
    "gold": {"sentence_id": "string", "aspects": "list<element: string>"},
    "candidates": {
        "row": "int32",
        "candidate": "string",
        "score": "float",
        "rank": "int16",
        "generator": "string",
    },
    "answers": {"row": "int32", "generator": "string", "answer": "string"},
    "agreement": {
        "descriptor": "string",
        "f1": "double",
        "chance": "double",
        "positives": "int32",
        "sentences": "int32",
    },
    "assignments": {
        "layer": "int16",
        "index": "int32",
        "descriptor": "string",
        "count": "int32",
        "known": "int32",
        "composition": "double",
        "prevalence": "double",
        "lift": "double",
        "p": "double",
        "q": "double",
        "enrichment_assigned": "bool",
        "enrichment_rank": "int16",
        "composition_assigned": "bool",
        "composition_rank": "int16",
    },
    "measures": {
        "measure": "string",
        "null": "string",
        "value": "double",
        "chance": "double",
        "low": "double",
        "high": "double",
        "repeats": "int32",
        "adjusted": "double",
    },
    "associations": {
        "layer": "int16",
        "index": "int32",
        "descriptor": "string",
        "validation_count": "int32",
        "validation_known": "int32",
        "validation_p": "double",
        **{f"{m}{b}": "double" for m in ("pearson", "cosine", "auprc", "f1", "iou") for b in ("", "_low", "_high")},
    },
    "triggers": {
        "layer": "int16",
        "index": "int32",
        "class": "string",
        "validation_class": "string",
        "words": "list<element: string>",
        "shares": "list<element: double>",
        "peak": "double",
        "pattern": "string",
        "pattern_share": "double",
        "validation_count": "int32",
        "validation_sentences": "int32",
        "validation_p": "double",
        "pearson": "double",
    },
    "relations": {
        "descriptor": "string",
        "other": "string",
        "sentences": "int32",
        **dict.fromkeys(
            ("bearing", "pmi", "phi", "low", "high", "alike", "seen", "expected", "ratio", "z", "p", "q"), "double"
        ),
        "neurons": "int32",
        "neurons_expected": "double",
    },
    "depth": {
        "descriptor": "string",
        "neurons": "int32",
        **dict.fromkeys(("depth", "expected", "low", "high", "p", "q", "validation_depth"), "double"),
    },
    "ablation": {
        "descriptor": "string",
        "assigned": "int32",
        "neurons": "int32",
        "auroc": "double",
        "words": "int32",
        **{
            f"{prefix}{name}": "double"
            for prefix in ("", "separation_", "word_")
            for name in (
                *("own", "others", "random_own"),
                *(f"{one}{bound}" for one in ("specificity", "random", "above") for bound in ("", "_low", "_high")),
            )
        },
    },
    "transfer": {
        "descriptor": "string",
        "prevalence": "double",
        "there_prevalence": "double",
        "pairs": "int32",
        "replication": "double",
        "unassigned": "double",
    },
    "transfer_pairs": {
        "layer": "int16",
        "index": "int32",
        "descriptor": "string",
        "count": "int32",
        "known": "int32",
        "p": "double",
    },
    "p_values": {"split": "string", "labels": "string", "p": "double", "share": "double"},
    "sweeps": {
        "sweep": "string",
        "x": "string",
        "rule": "string",
        "neurons": "string",
        "measure": "string",
        "value": "double",
    },
    "aspects": {
        "aspect": "string",
        "descriptor": "string",
        "average_precision": "double",
        "chance": "double",
        "f1": "double",
        "prevalence": "double",
        "sentences": "int32",
    },
    "confusion": {"aspect": "string", "descriptor": "string", "sentences": "int32"},
}
"""Columns and Arrow types of every table."""

ARRAYS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "labels": {
        "labels": ("int8", ("sentences", "descriptors")),
        "scores": ("float32", ("sentences", "descriptors")),
    },
    "activations": {
        "layer": ("int16", ("neurons",)),
        "index": ("int32", ("neurons",)),
        "values": ("float32", ("neurons", "kept")),
        "rows": ("int32", ("neurons", "kept")),
        "mean": ("float32", ("neurons",)),
        "std": ("float32", ("neurons",)),
        "maximum": ("float32", ("neurons",)),
        "probe_rows": ("int32", ("sampled",)),
        "probe": ("float16", ("sampled", "neurons")),
    },
    "kept": {
        "layer": ("int16", ("neurons",)),
        "index": ("int32", ("neurons",)),
        "count": ("int64", ("poolings",)),
        "best": ("int64", ("poolings", "neurons", "kept")),
        "sums": ("int64", ("poolings", "two", "neurons")),
        "squares": ("int64", ("poolings", "three", "neurons")),
        "max": ("float32", ("poolings", "neurons")),
        "size": ("float32", ("poolings", "neurons")),
        "probe_rows": ("int32", ("poolings", "sampled")),
        "probe": ("float16", ("poolings", "sampled", "neurons")),
        "seen": ("bool", ("poolings", "sampled")),
    },
    "tokens": {
        "rows": ("int32", ("sentences",)),
        "lengths": ("int32", ("sentences",)),
        "start": ("int32", ("tokens",)),
        "stop": ("int32", ("tokens",)),
        "exemplars": ("int32", ("neurons", "shown")),
        "values": ("float16", ("values",)),
    },
    "examples": {
        "rows": ("int32", ("sentences",)),
        "lengths": ("int32", ("sentences",)),
        "start": ("int32", ("tokens",)),
        "stop": ("int32", ("tokens",)),
        "pooled": ("float32", ("sentences", "neurons")),
        "values": ("float32", ("tokens", "neurons")),
    },
    "neighbours": {
        "neuron": ("int32", ("neurons", "nearest")),
        "shared": ("int16", ("neurons", "nearest")),
        "elsewhere": ("int16", ("neurons", "nearest")),
    },
    "vectors": {"vectors": ("float32", ("texts", "width"))},
}
"""Arrays of every safetensors artifact: dtype and named dimensions, which must agree within a file."""


@dataclass(frozen=True)
class Activations:
    """What is kept of a target's activations on one split; neurons are in order of layer, then index.

    values float32 [neurons, K] and rows int32 [neurons, K]: the K sentences with the largest activation, best
    first; mean, std, maximum float32 [neurons] over the `count` sentences; probe float16 [sampled, neurons]
    and probe_rows int32 [sampled], ascending; layer int16 [neurons] from 1, index int32 [neurons] from 0.
    """

    count: int
    layer: np.ndarray
    index: np.ndarray
    values: np.ndarray
    rows: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    maximum: np.ndarray
    probe_rows: np.ndarray
    probe: np.ndarray
    pooling: str

    def exemplars(self, k: int) -> np.ndarray:
        """Exemplar sets: int32 [neurons, k], best first; all -1 for a neuron that never moves, which has none."""
        return np.where(self.std[:, None] > 0, self.rows[:, :k], np.int32(-1))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that becomes `path` when the block, which writes it, ends well, and vanishes
    otherwise. Errors: InputError where it cannot be written, for a full disk for example."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):  # by a run that was killed
            left.unlink(missing_ok=True)
        try:
            yield partial
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what goes wrong while `path` is written into one line."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"{path}: cannot be written ({reason}); free space on the disk or mend its permissions, then run the same "
            "command again"
        ) from error


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while reading `path` into one line."""
    if not path.is_file():
        raise InputError(f"{path}: not there; {_HEAL}")
    try:
        yield
    except InputError:
        raise
    except (SafetensorError, pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: damaged or of another kind ({reason}); {_HEAL}") from error


def _check_schema(path: Path, metadata: Mapping[Any, Any] | None, kind: str) -> None:
    found = {str(key): str(value) for key, value in (metadata or {}).items()}
    if (found.get("kind"), found.get("schema")) != (kind, str(SCHEMA)):
        raise InputError(
            f"{path}: holds {found.get('kind')} of schema {found.get('schema')}, not {kind} of schema {SCHEMA}; {_HEAL}"
        )


def _arrow_schema(kind: str) -> pa.Schema:
    types = {"bool": pa.bool_(), "float": pa.float32()}
    types |= {f"list<element: {kind}>": pa.list_(pa.type_for_alias(kind)) for kind in ("string", "double")}
    columns = [(name, types[text] if text in types else pa.type_for_alias(text)) for name, text in TABLES[kind].items()]
    return pa.schema(columns, metadata={"kind": kind, "schema": str(SCHEMA)})


def write_table(path: Path, frame: pd.DataFrame | None, kind: str) -> None:
    """Write a table as parquet. frame: None for no row; kind: a key of TABLES."""
    schema = _arrow_schema(kind)
    table = schema.empty_table() if frame is None else pa.Table.from_pandas(frame, schema, preserve_index=False)
    with replacing(path) as partial:
        pq.write_table(table.replace_schema_metadata(_arrow_schema(kind).metadata), partial, row_group_size=ROW_GROUP)


def _check_columns(path: Path, schema: pa.Schema, kind: str) -> None:
    _check_schema(path, {k.decode(): v.decode() for k, v in (schema.metadata or {}).items()}, kind)
    if not schema.equals(_arrow_schema(kind)):
        raise InputError(f"{path}: its columns are not those of {kind}; {_HEAL}")


def read_table(path: Path, kind: str, *, optional: bool = False) -> pd.DataFrame:
    """Read a table that `write_table` wrote; its schema is checked. optional: one that is not there is empty."""
    if optional and not path.exists():
        empty: pd.DataFrame = _arrow_schema(kind).empty_table().to_pandas()
        return empty
    with readable(path):
        table = pq.read_table(path)
        _check_columns(path, table.schema, kind)
        frame: pd.DataFrame = table.to_pandas()
    return frame


def read_columns(path: Path, kind: str, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Some columns of a table (None: all), each as an array, text as objects; its schema is checked."""
    with readable(path), pq.ParquetFile(path) as file:
        _check_columns(path, file.schema_arrow, kind)
        table = file.read(columns=None if names is None else list(names))
        return {name: _array(table[name]) for name in table.column_names}


def _array(column: pa.ChunkedArray) -> np.ndarray:
    """By ways that, unlike `to_numpy`, do not wait for pandas; missing numbers are NaN."""
    number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if number and not column.null_count:
        return np.from_dlpack(column.combine_chunks())
    kind = bool if pa.types.is_boolean(column.type) else float if number else object
    values = (np.nan if value is None and number else value for value in column.to_pylist())
    return np.fromiter(values, dtype=kind, count=len(column))


def table_rows(path: Path) -> int:
    """How many rows a table has."""
    with readable(path):
        return int(pq.read_metadata(path).num_rows)


def read_pieces(path: Path, kind: str, column: str, size: int = ROW_GROUP) -> Iterator[list[Any]]:
    """One column of a table in pieces of `size` values, the last one shorter; only a piece is held at a time."""
    with readable(path), pq.ParquetFile(path, pre_buffer=False) as file:
        _check_columns(path, file.schema_arrow, kind)
        for batch in file.iter_batches(batch_size=size, columns=[column], use_threads=False):
            yield batch.column(0).to_pylist()


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], kind: str, meta: Mapping[str, Any]) -> None:
    """Write arrays as safetensors. kind: a key of ARRAYS; meta: what JSON can hold."""
    tensors = {name: np.ascontiguousarray(arrays[name]) for name in ARRAYS[kind]}
    _check_arrays(path, tensors, kind)
    # One key only: safetensors writes several in an order that changes from process to process.
    header = {"kind": kind, "schema": str(SCHEMA), "meta": meta}
    header["crc32"] = {name: zlib.crc32(array.data) for name, array in tensors.items()} | {"": _meta_crc32(meta)}
    with replacing(path) as partial:
        save_file(tensors, partial, metadata={"descry": json.dumps(header, sort_keys=True)})


def _meta_crc32(meta: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(meta, sort_keys=True).encode())


def _check_content(path: Path, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    expected = header["crc32"]
    found = {name: zlib.crc32(array.data) for name, array in arrays.items()} | {"": _meta_crc32(header["meta"])}
    wrong = [name or "meta" for name, value in found.items() if value != expected[name]]
    if wrong:
        raise InputError(f"{path}: damaged ({', '.join(wrong)} not as written); {_HEAL}")


def _check_arrays(path: Path, arrays: Mapping[str, np.ndarray], kind: str) -> None:
    sizes: dict[str, int] = {}
    for name, array in arrays.items():
        dtype, dimensions = ARRAYS[kind][name]
        if array.dtype != dtype or array.ndim != len(dimensions):
            raise InputError(f"{path}: {name} is {array.dtype} with {array.ndim} dimensions, not {dtype} {dimensions}")
        for dimension, size in zip(dimensions, array.shape, strict=True):
            if sizes.setdefault(dimension, size) != size:
                raise InputError(f"{path}: {name} has {size} {dimension}, other arrays have {sizes[dimension]}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{path}: {name} holds values that are not finite; {_HEAL}")


def read_arrays(path: Path, kind: str, without: Collection[str] = ()) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays (but for those named in `without`) and meta that `write_arrays` wrote; checksums, dtypes, shapes and
    finiteness are checked."""
    with readable(path):
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {}).get("descry", "{}"))
            _check_schema(path, header, kind)
            arrays = {name: file.get_tensor(name) for name in ARRAYS[kind] if name not in without}
        _check_content(path, arrays, header)
        _check_arrays(path, arrays, kind)
        meta: dict[str, Any] = header["meta"]
    return arrays, meta


def read_part(path: Path, kind: str, name: str, row: int | None = None) -> np.ndarray:
    """One array that `write_arrays` wrote, or one row of it, without reading the others: no checksum is taken, which
    would read them all. Errors: InputError where the file is of another kind or schema, or cut off."""
    with readable(path), safe_open(path, framework="np") as file:
        _check_schema(path, json.loads((file.metadata() or {}).get("descry", "{}")), kind)
        return np.asarray(file.get_tensor(name) if row is None else file.get_slice(name)[row : row + 1][0])


def sha256(path: Path) -> str:
    """What a file's content hashes to: 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys, one blank of indent and a last newline."""
    with replacing(path) as partial:
        partial.write_text(
            json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n",
            encoding="utf-8",
        )


def read_json(path: Path) -> Any:
    """Read JSON."""
    with readable(path):
        return json.loads(path.read_text(encoding="utf-8"))


def write_metrics(path: Path, measures: Mapping[str, Any]) -> None:
    """Write what `dvc metrics` shows: nested finite numbers, rounded to 6 decimals.

    Errors: ValueError for anything that is not a finite number.
    """

    def rounded(value: Any, name: str) -> Any:
        if isinstance(value, Mapping):
            return {key: rounded(inner, f"{name}.{key}") for key, inner in value.items()}
        if isinstance(value, (bool, str)) or not math.isfinite(value):
            raise ValueError(f"metric {name[1:]} is {value}, not a finite number")
        return value if isinstance(value, int) else round(float(value), 6)

    write_json(path, rounded(measures, ""))


def write_activations(path: Path, activations: Activations) -> None:
    """Write what was kept of a target's activations on one split."""
    meta = {"count": activations.count, "pooling": activations.pooling}
    write_arrays(path, vars(activations), "activations", meta)


def read_activations(path: Path, *, probe: bool = True) -> Activations:
    """Read what `write_activations` wrote; without its probe, which is most of it, the sample is empty."""
    arrays, meta = read_arrays(path, "activations", without=() if probe else ("probe", "probe_rows"))
    if not probe:
        arrays |= {"probe": np.zeros((0, len(arrays["layer"])), np.float16), "probe_rows": np.zeros(0, np.int32)}
    return Activations(count=meta["count"], pooling=meta["pooling"], **arrays)
