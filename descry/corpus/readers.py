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
from typing import Any, Literal, NamedTuple

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


Quotes = Literal["auto", "double", "escaped", "single", "none"]
QUOTES: dict[Quotes, str] = {
    "double": "texts are in double quotes, and quotes in them are doubled",
    "escaped": "texts are in double quotes, and quotes in them have a backslash",
    "single": "texts are in single quotes, and quotes in them are doubled",
    "none": "quotes are plain characters",
}
"""How a table uses quotes."""
LONGEST_FIELD = 2**24
"""Most characters of a cell of a table."""
_SIGNS: dict[Quotes, str] = {"double": "", "escaped": r'\\"', "single": "(?:^|{})'", "none": ""}
PEEKED = 20_000
"""Lines of a table by which `auto` chooses."""

Record = tuple[str, dict[str, Any]]
"""Where a record is ("reviews.jsonl, line 3"), and its fields."""


def read_reviews(
    source: str | Path,
    *,
    text_field: str = "text",
    id_field: str = "review_id",
    product_field: str = "product",
    limit: int | None = None,
    quotes: Quotes = "auto",
) -> Iterator[Review]:
    """Read reviews one by one; the file is never in memory as a whole.

    source: .jsonl, .csv, .tsv, .parquet, .txt (one review a line), all UTF-8, or hf://owner/name[@revision][/split]
    ("train" if no split is named; needs the library datasets). Fields: text, or "sentences" (a list of {"text",
    "aspects"}; jsonl, parquet and hf only) instead; id and product may be absent; "aspects" (jsonl, parquet, hf) are
    gold. limit: most reviews to read (>= 2). quotes: how a csv or tsv file uses quotes, see QUOTES; "auto" tells from
    the file and prints what it found if that is not "double". Errors: InputError, one line with the file and its line,
    row or column: at the call for the file as a whole, during iteration for the rest.
    """
    if limit is not None and limit < 2:
        raise InputError(f"a limit of {limit} reviews is too small; use at least 2, or none")
    fields = Fields(text_field, id_field, product_field)
    return islice(_parse_records(_open(str(source), fields, quotes), fields), limit)


def _open(source: str, fields: Fields, quotes: Quotes) -> Iterator[Record]:
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
        if path.suffix.lower() not in (*FORMATS, *DELIMITERS):
            raise InputError(
                f"{source}: {path.suffix or 'no extension'} is not a format that can be read; "
                f"use {', '.join((*FORMATS, *DELIMITERS))} or hf://owner/name"
            )
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError(f"{source}: is empty; give a file with reviews")
    except OSError as error:
        raise InputError(f"{source}: cannot be opened ({error.strerror}); check its name and permissions") from None
    kind = path.suffix.lower()
    return (
        _read_table(source, fields, DELIMITERS[kind], quotes) if kind in DELIMITERS else FORMATS[kind](source, fields)
    )


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
            record = json.loads(line.removeprefix("\ufeff"))  # of a file put behind another
        except json.JSONDecodeError as error:
            raise InputError(
                f"{where}: broken JSON at column {error.colno} ({error.msg}); write one JSON object a line"
            ) from None
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: JSON that cannot be read ({_take_first_line(error)}); correct it") from None
        if not isinstance(record, dict):
            raise InputError(f"{where}: is {_describe_type(record)}; write one JSON object a line")
        yield where, record


def _read_table(source: str, fields: Fields, delimiter: str, quotes: Quotes) -> Iterator[Record]:
    chosen = _choose_quotes(source, fields, delimiter) if quotes == "auto" else quotes
    notes = {
        "repeats": "the header again, as in files that were put together; such rows are left out",
        "spans": "a quoted field holds lines that look like rows of their own; if quotes are plain characters in this "
        "file, set quotes to none",
    }
    if chosen != "double" and quotes == "auto":
        print(f"{source}: {QUOTES[chosen]}, as its lines show; the setting quotes can say otherwise")
    for row in _read_rows(source, _read_lines(source), fields, delimiter, chosen):
        if row.note in notes:
            print(f"{row.where}: {notes.pop(row.note)}")
        if row.note != "repeats":
            pairs = zip(row.header, row.cells, strict=True)
            yield row.where, {name: value for name, value in pairs if name in fields}


class Row(NamedTuple):
    """Where a row of a table is, the header and the cells.

    note: "repeats" if it repeats the header; "spans" if it takes several lines, each of which would do as a row if
    quotes were plain characters; else "".
    """

    where: str
    header: list[str]
    cells: list[str]
    note: str


def _read_rows(
    source: str, lines: Iterable[tuple[int, str]], fields: Fields, delimiter: str, quotes: Quotes
) -> Iterator[Row]:
    """Read the rows of a table under its header. Errors: InputError for a row that is broken or has not as many cells
    as the header."""
    taken: list[str] = []

    def take() -> Iterator[str]:
        for _, line in lines:
            taken.append(line)
            yield line.replace('\\"', '""') if quotes == "escaped" else line

    csv.field_size_limit(LONGEST_FIELD)
    dialect: dict[str, Any] = {"quotechar": "'" if quotes == "single" else '"'}
    if quotes == "none":
        dialect = {"quoting": csv.QUOTE_NONE}
    rows = csv.reader(take(), delimiter=delimiter, strict=True, **dialect)
    header: list[str] = []
    while True:
        where = f"{source}, line {rows.line_num + 1}"
        taken.clear()
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise InputError(_describe_broken_row(where, error)) from None
        if row is None:
            return
        if not row:
            continue
        names = [name.strip('\ufeff" \t\r\n') for name in row]
        if not header:
            header = names
            if fields.text not in header:
                raise _make_no_text_error(where, fields, header)
            if twice := [name for name in fields if header.count(name) > 1]:
                raise InputError(f"{where}: the column {twice[0]!r} appears twice; rename one")
        elif sorted(names) == sorted(header):
            header = names  # the other file may have its columns in another order
            yield Row(where, header, row, "repeats")
        elif len(row) != len(header):
            raise InputError(
                f"{where}: {len(row)} fields where the header has {len(header)}; "
                "put texts with a separator in them in quotes"
            )
        else:
            alike = len(header) > 1 and all(line.count(delimiter) == len(header) - 1 for line in taken)
            yield Row(where, header, row, "spans" if alike and len(taken) > 1 else "")


def _describe_broken_row(where: str, error: csv.Error) -> str:
    if "field limit" in str(error):
        return (
            f"{where}: the row that begins here has a field of more than {LONGEST_FIELD:,} characters; shorten it, or "
            "look for a quote that is not closed"
        )
    return (
        f"{where}: the row that begins here is broken ({error}); look for a quote that is not closed, double the "
        "quotes inside a quoted field, and end lines with LF; where quotes are plain characters, set quotes to none"
    )


def _choose_quotes(source: str, fields: Fields, delimiter: str) -> Quotes:
    """Choose how a table uses quotes: the first way in which its first PEEKED lines make sense, else "double"."""
    # Commas are common in texts, tabs are not: only without them are lines evidence that quotes are plain.
    ways: tuple[Quotes, ...] = ("double", "none", "single") if delimiter == "\t" else ("double", "escaped", "single")
    return next((way for way in ways if _makes_sense(source, fields, delimiter, way)), "double")


def _makes_sense(source: str, fields: Fields, delimiter: str, quotes: Quotes) -> bool:
    """Whether the quotes are there, every row has as many cells as the header, none looks like several, and no texts
    are all in quotes of another kind."""
    sign = _SIGNS[quotes].format(re.escape(delimiter))
    signs = last = rows = wrapped = 0

    def peek() -> Iterator[tuple[int, str]]:
        nonlocal last, signs
        for number, line in islice(_read_lines(source), PEEKED):
            last = number
            signs += re.search(sign, line) is not None
            yield number, line

    try:
        for row in _read_rows(source, peek(), fields, delimiter, quotes):
            if row.note == "spans" and delimiter == "\t":
                return False
            if row.note != "repeats":
                text = row.cells[row.header.index(fields.text)].strip()
                wrapped += len(text) > 1 and text[0] == text[-1] == "'"
                rows += 1
    except InputError:
        return last == PEEKED and signs > 0  # a row may go on behind the last line
    return signs > 0 and (rows < 2 or wrapped < rows)


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
    ".parquet": _read_parquet,
    ".txt": _read_txt,
}
DELIMITERS = {".csv": ",", ".tsv": "\t"}

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
