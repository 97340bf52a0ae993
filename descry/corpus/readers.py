"""Reads reviews one by one from every supported format."""

import codecs
import csv
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from descry.errors import InputError


@dataclass(frozen=True, slots=True)
class Passage:
    """A text and its gold aspects: None if it is not annotated, () if it is known to have none."""

    text: str
    aspects: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """One review of a corpus.

    review_id: the corpus's own, or a hash of the text. product: "" if unknown. passages: the review's sentences if
    `segmented`, else exactly one text, still to be segmented.
    """

    review_id: str
    product: str
    passages: tuple[Passage, ...]
    segmented: bool


class Fields(NamedTuple):
    """The corpus's names of its fields."""

    text: str
    id: str
    product: str


Record = tuple[str, dict[str, Any]]
"""Where a record is ("reviews.jsonl, line 3"), and its fields."""


def read_reviews(
    source: str | Path,
    *,
    text_field: str = "text",
    id_field: str = "review_id",
    product_field: str = "product",
    limit: int | None = None,
) -> Iterator[Review]:
    """Read reviews one by one; the file is never in memory as a whole.

    source: .jsonl, .csv, .tsv, .parquet, .txt (one review a line), all UTF-8, or hf://owner/name[@revision][/split]
    ("train" if no split is named; needs the library datasets). Fields: text, or "sentences" (a list of {"text",
    "aspects"}; jsonl, parquet and hf only) instead; id and product may be absent; "aspects" (jsonl, parquet, hf) are
    gold. limit: most reviews to read (>= 2). Errors: InputError, one line with the file and its line, row or column:
    at the call for the file as a whole, during iteration for the rest.
    """
    if limit is not None and limit < 2:
        raise InputError(f"a limit of {limit} reviews is too small; use at least 2, or none")
    fields = Fields(text_field, id_field, product_field)
    return islice(_parse_records(_open(str(source), fields), fields), limit)


def _open(source: str, fields: Fields) -> Iterator[Record]:
    if source.startswith("hf://"):
        return _read_hub(source)
    path = Path(source)
    try:
        if not path.exists():
            raise InputError(f"{source}: no such file; check the path")
        if path.is_dir():
            raise InputError(f"{source}: is a folder; name one file in it")
        if not path.is_file():
            raise InputError(f"{source}: is a pipe or a device; give a file")
        if path.suffix.lower() not in FORMATS:
            raise InputError(
                f"{source}: {path.suffix or 'no extension'} is not a format that can be read; "
                f"use {', '.join(FORMATS)} or hf://owner/name"
            )
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{source}: is empty; give a file with reviews")
    except OSError as error:
        raise InputError(f"{source}: cannot be opened ({error.strerror}); check its name and permissions") from None
    return FORMATS[path.suffix.lower()](source, fields)


def _parse_records(records: Iterable[Record], fields: Fields) -> Iterator[Review]:
    seen: dict[str, str] = {}
    for where, record in records:
        passages, segmented = _read_passages(where, record, fields)
        name = _read_name(where, fields.id, record.get(fields.id))
        if name in seen:
            raise InputError(
                f"{where}: the {fields.id} {name!r} was used before, in {seen[name].rpartition(', ')[2]}; "
                "give each review an id of its own"
            )
        if name:
            seen[name] = where
        product = " ".join(_read_name(where, fields.product, record.get(fields.product)).split())
        yield Review(name or _hash_texts(passages), product, passages, segmented)


# ---------------------------------------------------------------------------------------------- formats


def _read_lines(source: str) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line with its end), without a byte order mark."""
    with open(source, "rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                line = (raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw).decode("utf-8")
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{source}, line {number}: not valid UTF-8 (byte {error.start + 1} of the line); "
                    "save the file as UTF-8"
                ) from None
            yield number, line


def _read_jsonl(source: str, fields: Fields) -> Iterator[Record]:
    for number, line in _read_lines(source):
        if not line.strip():
            continue
        where = f"{source}, line {number}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(
                f"{where}: broken JSON at column {error.colno} ({error.msg}); write one JSON object a line"
            ) from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: JSON that cannot be read ({_take_first_line(error)}); correct it") from None
        if not isinstance(record, dict):
            raise InputError(f"{where}: is {_describe_type(record)}; write one JSON object a line")
        yield where, record


def _read_csv(source: str, fields: Fields, delimiter: str) -> Iterator[Record]:
    rows = csv.reader((line for _, line in _read_lines(source)), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        where = f"{source}, line {rows.line_num + 1}"
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise InputError(
                f"{where}: the row that begins here is broken ({error}); "
                "look for a quote that is not closed, double the quotes inside a quoted field, and end lines with LF"
            ) from None
        if row is None:
            return
        if not row:
            continue
        if not header:
            header = [name.strip() for name in row]
            if fields.text not in header:
                raise _make_no_text_error(where, fields, header)
            if repeated := [name for name in fields if header.count(name) > 1]:
                raise InputError(f"{where}: the column {repeated[0]!r} appears twice; rename one")
            continue
        if len(row) != len(header):
            raise InputError(
                f"{where}: {len(row)} fields where the header has {len(header)}; "
                "put texts with a separator in them in quotes"
            )
        yield where, {name: value for name, value in zip(header, row, strict=True) if name in fields}


def _read_parquet(source: str, fields: Fields) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source) as file:
            present = file.schema_arrow.names
            if fields.text not in present and "sentences" not in present:
                raise _make_no_text_error(source, fields, present)
            wanted = [name for name in present if name in {*fields, "sentences", "aspects"}]
            number = 0
            for batch in file.iter_batches(batch_size=1024, columns=wanted):
                for record in batch.to_pylist():
                    number += 1
                    yield f"{source}, row {number}", record
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{source}: not a readable parquet file ({_take_first_line(error)}); write it again") from None


def _read_txt(source: str, fields: Fields) -> Iterator[Record]:
    for number, line in _read_lines(source):
        if line.strip():
            yield f"{source}, line {number}", {fields.text: line.rstrip("\r\n")}


def _read_hub(source: str) -> Iterator[Record]:
    match = re.fullmatch(r"hf://(\w[\w.-]*/\w[\w.-]*)(?:@([\w.-]+))?(?:/([\w.-]+))?", source)
    if match is None or ".." in source:
        raise InputError(f"{source}: not a data set's address; write hf://owner/name[@revision][/split]")
    try:
        library = import_module("datasets")
    except ImportError:
        raise InputError(
            f"{source}: needs the library datasets; pip install datasets, or give a downloaded file"
        ) from None
    if int(library.__version__.partition(".")[0]) < 4:
        raise InputError(
            f"{source}: the library datasets {library.__version__} can run code of a data set; "
            "pip install 'datasets>=4', or give a downloaded file"
        )
    name, revision, split = match.groups()
    if Path(name).exists():
        raise InputError(f"{source}: the folder {name} of this machine would be read; rename it, or name a file in it")
    load = partial(library.load_dataset, name, split=split or "train", revision=revision, streaming=True)
    return _iterate_hub(source, load)


def _iterate_hub(source: str, load: Callable[[], Iterable[dict[str, Any]]]) -> Iterator[Record]:
    try:
        for number, record in enumerate(load(), 1):
            yield f"{source}, row {number}", record
    except Exception as error:  # whatever a third party's loader, the network or the disk may raise
        raise InputError(
            f"{source}: cannot be read ({type(error).__name__}: {_take_first_line(error)}); "
            "check the name, the revision, the split and the network, or give a downloaded file"
        ) from error


FORMATS: dict[str, Callable[[str, Fields], Iterator[Record]]] = {
    ".jsonl": _read_jsonl,
    ".csv": partial(_read_csv, delimiter=","),
    ".tsv": partial(_read_csv, delimiter="\t"),
    ".parquet": _read_parquet,
    ".txt": _read_txt,
}

# ----------------------------------------------------------------------------------------------- fields


def _read_passages(where: str, record: dict[str, Any], fields: Fields) -> tuple[tuple[Passage, ...], bool]:
    entries = record.get("sentences")
    if isinstance(entries, list):
        return tuple(_read_sentence(where, number, entry) for number, entry in enumerate(entries, 1)), True
    if fields.text in record:
        return (Passage(_read_text(where, fields.text, record[fields.text]), _read_aspects(where, record)),), False
    if "sentences" in record:
        raise InputError(f"{where}: 'sentences' is {_describe_type(entries)}; make it a list of objects with a 'text'")
    raise _make_no_text_error(where, fields, record)


def _read_sentence(where: str, number: int, entry: object) -> Passage:
    where = f"{where}, sentence {number}"
    if not isinstance(entry, dict) or "text" not in entry:
        kind = "an object without 'text'" if isinstance(entry, dict) else _describe_type(entry)
        raise InputError(f"{where}: is {kind}; make it an object with a 'text'")
    return Passage(_read_text(where, "text", entry["text"]), _read_aspects(where, entry))


def _read_text(where: str, field: str, value: object) -> str:
    if not isinstance(value, str):
        raise InputError(f"{where}: {field!r} is {_describe_type(value)}; make it a string, or leave the review out")
    return value


def _read_aspects(where: str, record: dict[str, Any]) -> tuple[str, ...] | None:
    names = record.get("aspects")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) and _is_unicode(name) for name in names):
        raise InputError(f"{where}: 'aspects' must be a list of strings; correct it, or leave it out")
    return tuple(names)


def _read_name(where: str, field: str, value: object) -> str:
    """An id or a product as a string, "" for none."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise InputError(f"{where}: {field!r} is {_describe_type(value)}; make it a string or a whole number")
    if not _is_unicode(value):
        raise InputError(f"{where}: {field!r} holds half a surrogate pair; write it as valid Unicode")
    return value.strip()


def _hash_texts(passages: Iterable[Passage]) -> str:
    text = "\n".join(passage.text for passage in passages)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _make_no_text_error(where: str, fields: Fields, present: Iterable[str]) -> InputError:
    names = ", ".join(map(repr, present))
    shown = names if len(names) <= 300 else f"{names[:300]} ..."
    return InputError(
        f"{where}: no field {fields.text!r}; name the field that holds the text (present: {shown or 'none'})"
    )


def _describe_type(value: object) -> str:
    kinds = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", str: "a string"}
    return {**kinds, list: "a list", dict: "an object"}.get(type(value), f"a {type(value).__name__}")


def _take_first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no details"])[0]
