"""Write and read arrays as safetensors with checksums: same content, same bytes; files are checked against a schema.

Every reader raises an InputError that names the file.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from descry.errors import InputError
from descry.storage.files import HEAL, readable, replacing
from descry.storage.schema import VERSION, ArraySchema, check_kind


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], schema: ArraySchema, meta: Mapping[str, Any]) -> None:
    """Write arrays as safetensors. meta: anything JSON can hold. Errors: InputError if they do not fit the schema."""
    tensors = {name: np.ascontiguousarray(arrays[name]) for name in schema.arrays}
    _check_arrays(path, tensors, schema)
    # A single key, because safetensors writes several in an order that changes from process to process.
    header: dict[str, Any] = {"kind": schema.kind, "schema": str(VERSION), "meta": meta}
    header["crc32"] = {name: zlib.crc32(array.data) for name, array in tensors.items()} | {"": _meta_crc32(meta)}
    for name in schema.sparse:
        if packed := _pack_sparse(name, tensors[name]):
            header.setdefault("sparse", {})[name] = tensors.pop(name).shape[1]
            tensors |= packed
    with replacing(path) as partial:
        save_file(tensors, partial, metadata={"descry": json.dumps(header, sort_keys=True)})


def _pack_sparse(name: str, matrix: np.ndarray) -> dict[str, np.ndarray]:
    """The values of a matrix that are not 0, row by row, and the column of each; and where each row ends among them.
    Empty where this is no smaller than the matrix."""
    stored = matrix.view(f"i{matrix.itemsize}") != 0  # -0.0 is stored too
    ends = stored.sum(axis=1).cumsum()
    if stored.sum() * (matrix.itemsize + 4) + ends.nbytes >= matrix.nbytes:
        return {}
    columns = np.concatenate([np.flatnonzero(row).astype(np.int32) for row in stored])
    return {f"{name}.values": matrix[stored], f"{name}.columns": columns, f"{name}.ends": ends}


def read_tensor(file: Any, header: Mapping[str, Any], name: str) -> np.ndarray:
    """Read an array of an open file, whichever way it is stored. header: of `write_arrays`."""
    if name not in header.get("sparse", {}):
        return np.asarray(file.get_tensor(name))
    values, columns, ends = (file.get_tensor(f"{name}.{part}") for part in ("values", "columns", "ends"))
    width, sizes = header["sparse"][name], np.diff(ends, prepend=0)
    inside = (columns >= 0) & (columns < width)
    if not (inside.all() and (sizes >= 0).all() and sizes.sum() == len(columns) == len(values)):
        raise ValueError(f"{name} has values outside of its {len(ends)} rows and {width} columns")
    matrix = np.zeros((len(ends), width), values.dtype)
    rows = np.repeat(np.arange(len(ends), dtype=np.int32), sizes)
    matrix[rows, columns] = values
    return matrix


def _meta_crc32(meta: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(meta, sort_keys=True).encode())


def _check_content(path: Path, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    expected = header["crc32"]
    actual = {name: zlib.crc32(array.data) for name, array in arrays.items()} | {"": _meta_crc32(header["meta"])}
    wrong = [name or "meta" for name, value in actual.items() if value != expected[name]]
    if wrong:
        raise InputError(f"{path}: damaged ({', '.join(wrong)} not as written); {HEAL}")


def _check_arrays(path: Path, arrays: Mapping[str, np.ndarray], schema: ArraySchema) -> None:
    sizes: dict[str, int] = {}
    for name, array in arrays.items():
        dtype, dimensions = schema.arrays[name]
        if array.dtype != dtype or array.ndim != len(dimensions):
            raise InputError(f"{path}: {name} is {array.dtype} with {array.ndim} dimensions, not {dtype} {dimensions}")
        for dimension, size in zip(dimensions, array.shape, strict=True):
            if sizes.setdefault(dimension, size) != size:
                raise InputError(f"{path}: {name} has {size} {dimension}, other arrays have {sizes[dimension]}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{path}: {name} holds values that are not finite; {HEAL}")


def read_arrays(
    path: Path, schema: ArraySchema, without: Collection[str] = ()
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read the arrays (except those named in `without`) and meta that `write_arrays` wrote; checksums, dtypes, shapes
    and finiteness are checked."""
    with readable(path):
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {}).get("descry", "{}"))
            check_kind(path, header, schema.kind)
            arrays = {name: read_tensor(file, header, name) for name in schema.arrays if name not in without}
        _check_content(path, arrays, header)
        _check_arrays(path, arrays, schema)
        meta: dict[str, Any] = header["meta"]
    return arrays, meta


def read_part(path: Path, schema: ArraySchema, name: str, row: int | None = None) -> np.ndarray:
    """Read one array that `write_arrays` wrote, or one row of it (of none that may be sparse), and no other: the
    checksums, which cover all arrays, are not checked. Errors: InputError if the file has another kind or schema
    version, or is truncated."""
    with readable(path), safe_open(path, framework="np") as file:
        header = json.loads((file.metadata() or {}).get("descry", "{}"))
        check_kind(path, header, schema.kind)
        return read_tensor(file, header, name) if row is None else np.asarray(file.get_slice(name)[row : row + 1][0])
