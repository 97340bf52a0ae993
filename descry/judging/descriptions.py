"""Descriptions of units in free text, from the files of several tools.

Layers count from 1, units from 0. Other tools count layers from 0: a number in the name of a module or of a source
("transformer.h.3.mlp", "3-res-jb") and OpenAI's `layer_index` do; a plain number in a csv file counts from 1.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from descry.errors import InputError

LAYERS, UNITS, TEXTS = ("layer",), ("unit", "index", "neuron"), ("description", "explanation", "descriptor")
"""What a csv file may call its columns; the first that is there counts."""
JSON = (".json", ".jsonl", ".jsonl.gz")
_NUMBER = re.compile(r"(?<![\w])\d+(?![\w])")
_LATENT = re.compile(r"(.+)_(?:latent|feature)(\d+)")


class Description(NamedTuple):
    """A unit's description. where: file and line, for errors."""

    where: str
    layer: int
    unit: int
    text: str


@dataclass(frozen=True)
class Descriptions:
    """Descriptions of different units. source: what they were read from, for errors."""

    source: str
    rows: tuple[Description, ...]

    def __post_init__(self) -> None:
        seen: dict[tuple[int, int], str] = {}
        for row in self.rows:
            if not row.text.strip():
                raise InputError(f"{row.where}: the description of {row.layer}:{row.unit} is empty; leave the unit out")
            if (row.layer, row.unit) in seen:
                before = seen[row.layer, row.unit]
                raise InputError(
                    f"{row.where}: {row.layer}:{row.unit} has a description already ({before}); keep one for each unit"
                )
            seen[row.layer, row.unit] = row.where

    @cached_property
    def texts(self) -> list[str]:
        """The texts, in order."""
        return [" ".join(row.text.split()) for row in self.rows]

    def locate(self, layer: np.ndarray, index: np.ndarray) -> np.ndarray:
        """The position of every unit among a run's, int64. layer, index: int [neurons].

        Errors: InputError for a unit that the run has not."""
        places = index_units(layer, index)
        for row in self.rows:
            if (row.layer, row.unit) not in places:
                of_layer = index[layer == row.layer]
                hint = (
                    f"layer {row.layer} has 0 to {of_layer.max()}"
                    if len(of_layer)
                    else f"the layers are {', '.join(map(str, np.unique(layer).tolist()))}, counted from 1"
                )
                raise InputError(f"{row.where}: the run has no unit {row.layer}:{row.unit}; {hint}")
        return np.array([places[row.layer, row.unit] for row in self.rows], dtype=np.int64)


def index_units(layer: np.ndarray, index: np.ndarray) -> dict[tuple[int, int], int]:
    """The position of every unit among a run's, by layer and index. layer, index: int [neurons]."""
    return {key: place for place, key in enumerate(zip(layer.tolist(), index.tolist(), strict=True))}


def read_descriptions(path: Path) -> Descriptions:
    """Read descriptions; a file that has none gives none.

    path: a csv file with the columns layer, unit and description (PRISM, CoSy, `descry export`); a folder of delphi's
    `explanations`; Neuronpedia's upload, or its explanations in bulk (.jsonl, .jsonl.gz, or a folder of them); OpenAI's
    records. Errors: InputError that names the file and line.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder; give descriptions as docs/judge.md says")
    return Descriptions(str(path), tuple(_read_folder(path) if path.is_dir() else _read_file(path)))


def _read_file(path: Path) -> Iterator[Description]:
    if path.name.endswith(".csv"):
        return _read_csv(path)
    if path.name.endswith(JSON):
        return _read_json(path)
    raise InputError(f"{path}: {path.suffix or 'no extension'} is not a format of descriptions; use .csv or {_JSON_OR}")


_JSON_OR = ", ".join(JSON[:-1]) + f" or {JSON[-1]}"


def _read_folder(path: Path) -> Iterator[Description]:
    inner = path / "explanations" if (path / "explanations").is_dir() else path
    if texts := sorted(inner.glob("*.txt")):
        return (_read_delphi(text) for text in texts)
    files = sorted(file for file in path.rglob("*") if file.name.endswith(JSON))
    explained = [file for file in files if file.parent.name == "explanations"]
    if not files:
        raise InputError(f"{path}: has neither explanations/*.txt (delphi) nor {_JSON_OR} files (Neuronpedia)")
    return (row for file in explained or files for row in _read_json(file))


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
        return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not valid UTF-8 (byte {error.start + 1}); save the file as UTF-8") from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); check the file and its permissions") from None


def _read_csv(path: Path) -> Iterator[Description]:
    lines = csv.reader(_read_text(path).splitlines(keepends=True), strict=True)
    try:
        header = [name.strip() for name in next(lines, [])]
        columns = [_find_column(path, header, names) for names in (LAYERS, UNITS, TEXTS)]
        for row in lines:
            where = f"{path}, line {lines.line_num}"
            if row and len(row) != len(header):
                raise InputError(f"{where}: {len(row)} cells where the header has {len(header)}; quote the text")
            if row:
                layer, unit, text = (row[column] for column in columns)
                yield Description(where, _parse_layer(where, layer), _parse_whole(where, "unit", unit), text)
    except csv.Error as error:
        raise InputError(f"{path}, line {lines.line_num}: {error}; close and double the quotes") from None


def _find_column(path: Path, header: list[str], names: tuple[str, ...]) -> int:
    name = next((name for name in names if name in header), names[0])
    found = [place for place, other in enumerate(header) if other == name]
    if len(found) != 1:
        raise InputError(
            f"{path}, line 1: has {len(found) or 'no'} column{'s' if found else ''} {' or '.join(names)}; "
            "the header should be layer,unit,description"
        )
    return found[0]


def _parse_whole(where: str, name: str, value: Any) -> int:
    if not re.fullmatch(r"\d{1,9}", str(value).strip()):
        raise InputError(f"{where}: {name} is {value!r}, not a whole number; correct it")
    return int(value)


def _parse_layer(where: str, value: Any) -> int:
    """A plain number counts from 1; the only number in a name, from 0."""
    if re.fullmatch(r"\s*-?\d+\s*", str(value)):
        return _parse_whole(where, "layer", value)
    return _parse_module(where, value)


def _parse_module(where: str, value: Any) -> int:
    """The layer in the name of a module or source, which counts from 0."""
    numbers = _NUMBER.findall(str(value))
    if len(numbers) != 1:
        raise InputError(f"{where}: the layer {value!r} holds {len(numbers)} numbers, not one; write it as a number")
    return _parse_whole(where, "layer", numbers[0]) + 1


def _read_delphi(path: Path) -> Description:
    named = _LATENT.fullmatch(path.stem)
    if named is None:
        raise InputError(f"{path}: its name is not MODULE_latentNUMBER.txt, as delphi names explanations; rename it")
    text = _decode(str(path), _read_text(path))
    if not isinstance(text, str):
        raise InputError(f"{path}: is not a JSON string, as delphi writes explanations; correct it")
    return Description(str(path), _parse_module(str(path), named[1]), int(named[2]), text)


def _decode(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: broken JSON ({str(error).splitlines()[0]}); correct it") from None


def _read_json(path: Path) -> Iterator[Description]:
    text = _read_text(path)
    if path.name.endswith(".json"):
        content = _decode(str(path), text)
        records: Iterable[tuple[str, Any]] = (
            ((f"{path}, entry {number}", one) for number, one in enumerate(content, 1))
            if isinstance(content, list)
            else [(str(path), content)]
        )
    else:
        lines = ((f"{path}, line {number}", line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
        records = ((where, _decode(where, line)) for where, line in lines)
    for where, record in records:
        try:
            yield from _parse_record(where, record)
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise InputError(
                f"{where}: neither Neuronpedia's nor OpenAI's descriptions ({type(error).__name__}: {error}); "
                "see docs/judge.md for what is read"
            ) from None


def _parse_record(where: str, record: Any) -> Iterator[Description]:
    if "features" in record:  # Neuronpedia's upload
        layer = _parse_module(where, record["source"])
        for feature in record["features"]:
            unit = _parse_whole(where, "index", feature["index"])
            place = f"{where}, index {unit}"
            yield from (Description(place, layer, unit, str(one["text"])) for one in feature["explanations"])
    elif "examples_quantiles" in record:  # circuit-tracer
        if not str(record["transcoder_id"]).endswith("-descry"):
            raise InputError(f"{where}: circuit-tracer's files hold no descriptions; give those that descry exported")
        unit = _parse_whole(where, "index", record["index"])
        text = str(record["examples_quantiles"][0]["quantile_name"])
        yield Description(where, _parse_module(where, record["transcoder_id"]), unit, text)
    elif "description" in record:  # Neuronpedia in bulk
        unit = _parse_whole(where, "index", record["index"])
        yield Description(where, _parse_module(where, record["layer"]), unit, str(record["description"]))
    else:  # OpenAI
        neuron = record.get("neuron_id", record)
        layer = _parse_whole(where, "layer_index", neuron["layer_index"]) + 1
        unit = _parse_whole(where, "neuron_index", neuron["neuron_index"])
        explained = record.get("scored_explanations", record.get("explanations"))
        for one in [record] if explained is None else explained:
            yield Description(where, layer, unit, str(one["explanation"]))
