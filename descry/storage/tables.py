"""Write and read tables as parquet: same content, same bytes; files are checked against a schema.

Every reader raises an InputError that names the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from descry.errors import InputError
from descry.storage.files import HEAL, readable, replacing
from descry.storage.schema import VERSION, TableSchema, check_kind

if TYPE_CHECKING:  # pandas takes long to import, and callers without DataFrames do not need it
    import pandas as pd

ROW_GROUP = 4096
"""Rows of a row group: the least that are read at once when a table is read in pieces."""


def _to_arrow(schema: TableSchema) -> pa.Schema:
    types = {"bool": pa.bool_(), "float": pa.float32()}
    types |= {f"list<element: {kind}>": pa.list_(pa.type_for_alias(kind)) for kind in ("string", "double")}
    columns = [
        (name, types[text] if text in types else pa.type_for_alias(text)) for name, text in schema.columns.items()
    ]
    return pa.schema(columns, metadata={"kind": schema.kind, "schema": str(VERSION)})


def write_table(path: Path, frame: pd.DataFrame | None, schema: TableSchema) -> None:
    """Write a table as parquet. frame: None for a table without rows."""
    arrow = _to_arrow(schema)
    table = arrow.empty_table() if frame is None else pa.Table.from_pandas(frame, arrow, preserve_index=False)
    with replacing(path) as partial:
        pq.write_table(table.replace_schema_metadata(arrow.metadata), partial, row_group_size=ROW_GROUP)


def _check_columns(path: Path, recorded: pa.Schema, schema: TableSchema) -> None:
    check_kind(path, {k.decode(): v.decode() for k, v in (recorded.metadata or {}).items()}, schema.kind)
    if not recorded.equals(_to_arrow(schema)):
        raise InputError(f"{path}: its columns are not those of {schema.kind}; {HEAL}")


def read_table(path: Path, schema: TableSchema, *, optional: bool = False) -> pd.DataFrame:
    """Read a table that `write_table` wrote; its schema is checked. optional: a missing file gives an empty table."""
    if optional and not path.exists():
        empty: pd.DataFrame = _to_arrow(schema).empty_table().to_pandas()
        return empty
    with readable(path):
        table = pq.read_table(path)
        _check_columns(path, table.schema, schema)
        frame: pd.DataFrame = table.to_pandas()
    return frame


def read_columns(path: Path, schema: TableSchema, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Read some columns of a table (None: all), each as an array, text as objects; its schema is checked."""
    with readable(path), pq.ParquetFile(path) as file:
        _check_columns(path, file.schema_arrow, schema)
        table = file.read(columns=None if names is None else list(names))
        return {name: _to_array(table[name]) for name in table.column_names}


def _to_array(column: pa.ChunkedArray) -> np.ndarray:
    """Convert a column without importing pandas, as `to_numpy` would; missing numbers become NaN."""
    number = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    if number and not column.null_count:
        return np.from_dlpack(column.combine_chunks())
    kind = bool if pa.types.is_boolean(column.type) else float if number else object
    values = (np.nan if value is None and number else value for value in column.to_pylist())
    return np.fromiter(values, dtype=kind, count=len(column))


def count_rows(path: Path) -> int:
    """The number of rows of a table."""
    with readable(path):
        return int(pq.read_metadata(path).num_rows)


def read_pieces(path: Path, schema: TableSchema, column: str, size: int = ROW_GROUP) -> Iterator[list[Any]]:
    """Read a column of a table in pieces of `size` values (the last may be shorter), with one in memory at a time."""
    with readable(path), pq.ParquetFile(path, pre_buffer=False) as file:
        _check_columns(path, file.schema_arrow, schema)
        for batch in file.iter_batches(batch_size=size, columns=[column], use_threads=False):
            yield batch.column(0).to_pylist()
