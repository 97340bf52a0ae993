"""Compares artifacts of two runs by content: integers and text must be equal, floats within a tolerance."""

from __future__ import annotations

import filecmp
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open

from descry.errors import InputError
from descry.storage.arrays import read_tensor
from descry.storage.files import read_json, readable

SHOWN = 3
"""Differences of a file that are named; the others are counted."""

_NUMBER = re.compile(r"([-+]?\d+\.\d+(?:[eE][-+]?\d+)?)")

Verdict = Literal["same", "agrees", "differs", "incomparable", "missing"]
AGREEING: tuple[Verdict, ...] = ("same", "agrees")


@dataclass(frozen=True)
class Tolerance:
    """How far floats may differ: by `absolute` plus `relative` times the second one.

    The default `relative` is about one step of float16, 2**-10.
    """

    relative: float = 1e-3
    absolute: float = 1e-5


@dataclass(frozen=True)
class Comparison:
    """The result for one artifact. detail: one line, or ""."""

    verdict: Verdict
    detail: str = ""


def compare_files(first: Path, second: Path, tolerance: Tolerance) -> Comparison:
    """Compare two files by content."""
    for path in (first, second):
        if not path.is_file():
            return Comparison("missing", f"{path} is not there")
    if filecmp.cmp(first, second, shallow=False):
        return Comparison("same")
    try:
        differences = list(find_differences(read_contents(first), read_contents(second), tolerance))
    except InputError as error:
        return Comparison("incomparable", str(error))
    if not differences:
        return Comparison("agrees")
    more = f"; and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
    return Comparison("differs", "; ".join(differences[:SHOWN]) + more)


def read_contents(path: Path) -> Any:
    """Read any artifact as nested mappings and lists of arrays, numbers and text.

    Tables and safetensors by column or array, JSON as it is, PNG as pixels from 0 to 1, other text cut into words and
    numbers. Errors: InputError if the file is damaged.
    """
    if path.suffix == ".json":
        return read_json(path)
    with readable(path):
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            return {name: _to_values(table[name]) for name in table.column_names}
        if path.suffix == ".safetensors":
            with safe_open(path, framework="np") as file:
                header = json.loads((file.metadata() or {}).get("descry", "{}"))
                sparse = header.get("sparse", {})
                names = [*sparse, *(name for name in file.keys() if name.partition(".")[0] not in sparse)]  # noqa: SIM118
                return {"meta": header.get("meta")} | {name: read_tensor(file, header, name) for name in names}
        if path.suffix == ".png":
            from matplotlib.image import imread

            return imread(path)
        words = _NUMBER.split(path.read_text(encoding="utf-8"))
        return [float(word) if _NUMBER.fullmatch(word) else word for word in words]


def _to_values(column: pa.ChunkedArray) -> Any:
    numeric = pa.types.is_primitive(column.type) and not column.null_count
    return column.to_numpy() if numeric else column.to_pylist()


def find_differences(first: Any, second: Any, tolerance: Tolerance, name: str = "") -> Iterator[str]:
    """A phrase for each part in which two contents, as `read_contents` gives them, differ."""
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        yield from _find_array_differences(first, second, tolerance, name or "pixels")
    elif isinstance(first, Mapping) and isinstance(second, Mapping):
        for key in sorted(first.keys() | second.keys()):
            inner = f"{name}.{key}" if name else key
            if key in first and key in second:
                yield from find_differences(first[key], second[key], tolerance, inner)
            else:
                yield f"{inner} is in one alone"
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        for place, (one, other) in enumerate(zip(first, second, strict=True)):
            yield from find_differences(one, other, tolerance, f"{name}[{place}]")
    elif isinstance(first, float) and isinstance(second, float):
        if not _are_close(np.array(first), np.array(second), tolerance):
            yield f"{name} is {first:.6g}, {second:.6g}"
    elif first != second:
        yield f"{name} is {_shorten(first)}, {_shorten(second)}"


def _find_array_differences(first: np.ndarray, second: np.ndarray, tolerance: Tolerance, name: str) -> Iterator[str]:
    if (first.shape, first.dtype) != (second.shape, second.dtype):
        yield f"{name} is {first.dtype} {list(first.shape)}, {second.dtype} {list(second.shape)}"
        return
    floats = first.dtype.kind == "f"
    apart = ~_are_close(first, second, tolerance) if floats else first != second
    if count := int(np.count_nonzero(apart)):
        distances = np.abs(first[apart].astype(float) - second[apart].astype(float)) if floats else np.empty(0)
        finite = distances[np.isfinite(distances)]
        most = f", by {finite.max():.2g} at most" if len(finite) else ""
        yield f"{name}: {count:,} of {first.size:,} differ{most}"


def _are_close(first: np.ndarray, second: np.ndarray, tolerance: Tolerance) -> np.ndarray:
    one, other = (array.astype(np.float32) if array.dtype == np.float16 else array for array in (first, second))
    return np.asarray(np.isclose(one, other, rtol=tolerance.relative, atol=tolerance.absolute, equal_nan=True))


def _shorten(content: Any) -> str:
    if isinstance(content, list):
        return f"a list of {len(content)}"
    text = repr(content)
    return text if len(text) <= 40 else f"{text[:37]}..."
