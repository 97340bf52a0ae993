"""The corpus: readers, sentences, the split; each error; each law that the split has to keep."""

import csv
import io
import json
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.corpus.readers import LONGEST_FIELD, Passage, Review, read_reviews
from descry.corpus.sampling import choose_split
from descry.corpus.segmentation import cut_sentences, has_letter, normalise, segment
from descry.corpus.sentences import build_sentence_table, build_undivided_table
from descry.errors import InputError
from descry.splits import SPLITS
from tests.conftest import ROOT

REVIEWS = ROOT / "data" / "reviews.jsonl"
SHARED = ROOT.parent / "shared" / "data"

SPLIT = {"key": "descry", "validation": 0.5}


def whole(name: str, text: str, aspects: tuple[str, ...] | None = None) -> Review:
    return Review(name, "", (Passage(text, aspects),), segmented=False)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not at hand")
    return path


def hub(monkeypatch: pytest.MonkeyPatch, load) -> None:
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load, __version__="4.0.0"))


# --------------------------------------------------------------------------------------------- readers

ROWS = [("a", "kettle", "It boils. It pours."), ("b", "", 'Said "no", twice.')]
EXPECTED = [Review(name, product, (Passage(text),), segmented=False) for name, product, text in ROWS]


def as_jsonl() -> str:
    return "\n".join(json.dumps({"review_id": i, "product": p, "text": t, "stars": 3}) for i, p, t in ROWS)


def as_table(delimiter: str) -> str:
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter).writerows([("review_id", "product", "text"), *ROWS])
    return file.getvalue()


CONTENTS = {"r.jsonl": as_jsonl(), "r.csv": as_table(","), "r.tsv": as_table("\t"), "R.JSONL": as_jsonl()}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_text_formats_read_alike(tmp_path, name, bom, line_end):
    content = bom + CONTENTS[name].replace("\r\n", "\n").replace("\n", line_end)
    assert list(read_reviews(write(tmp_path / name, content))) == EXPECTED


def test_parquet_reads_the_plain_shape_over_several_batches(tmp_path):
    frame = pd.DataFrame({"review_id": range(3000), "text": [f"Text {i}." for i in range(3000)], "stars": 1})
    frame.to_parquet(tmp_path / "r.parquet")
    reviews = list(read_reviews(tmp_path / "r.parquet"))
    assert [review.review_id for review in reviews] == [str(i) for i in range(3000)]
    assert reviews[2999].passages == (Passage("Text 2999."),)


def test_parquet_reads_the_shape_with_sentences(tmp_path):
    sentences = [{"text": "It boils.", "aspects": ["speed"]}, {"text": "Blue.", "aspects": None}]
    table = pa.table({"review_id": ["a", "b"], "sentences": [sentences, sentences[:1]]})
    pq.write_table(table, tmp_path / "r.parquet")
    first, second = read_reviews(tmp_path / "r.parquet")
    assert first == Review("a", "", (Passage("It boils.", ("speed",)), Passage("Blue.")), segmented=True)
    assert second.passages == (Passage("It boils.", ("speed",)),)


def test_txt_is_one_review_a_line_named_by_its_text(tmp_path):
    reviews = list(read_reviews(write(tmp_path / "r.txt", "Good.\r\n\n  \nBad. Very bad.\nGood.")))
    assert [review.passages[0].text for review in reviews] == ["Good.", "Bad. Very bad.", "Good."]
    assert reviews[0].review_id == reviews[2].review_id != reviews[1].review_id
    assert len(reviews[0].review_id) == 16


def test_jsonl_with_sentences_keeps_gold_and_its_absence(tmp_path):
    record = {
        "sentences": [
            {"text": "A b.", "aspects": []},
            {"text": "C d.", "aspects": ["x", "y"]},
            {"text": "E."},
        ]
    }
    (review,) = read_reviews(write(tmp_path / "r.jsonl", json.dumps(record)))
    assert review.segmented
    assert [p.aspects for p in review.passages] == [(), ("x", "y"), None]


def test_fields_may_have_other_names(tmp_path):
    path = write(tmp_path / "r.csv", "asin,body,id\nkettle,It boils.,7\n")
    (review,) = read_reviews(path, text_field="body", id_field="id", product_field="asin")
    assert review == Review("7", "kettle", (Passage("It boils."),), segmented=False)


def test_csv_fields_may_hold_separators_and_line_ends(tmp_path):
    (review,) = read_reviews(write(tmp_path / "r.csv", 'text,n\r\n"One, two.\r\nThree ""four"".",1\r\n\r\n'))
    assert review.passages[0].text == 'One, two.\r\nThree "four".'


PLAIN_QUOTES = [
    ("r1", "5", "Fine lamp."),
    ("r2", "1", '"Worst lamp I own'),
    ("r3", "5", "Bright and cheap."),
    ("r4", "4", 'The shade is 12"'),
    ("r5", "3", '"It" hums.'),
]


def plain_table(delimiter: str) -> str:
    return "".join(delimiter.join(row) + "\n" for row in [("review_id", "stars", "text"), *PLAIN_QUOTES])


@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("rows", [5, 4, 2])
def test_plain_quotes_of_a_tsv_are_told_from_its_lines(tmp_path, capsys, bom, line_end, rows):
    lines = (bom + plain_table("\t")).splitlines()[: rows + 1]
    path = write(tmp_path / "r.tsv", "".join(line + line_end for line in lines))
    read = [(review.review_id, review.passages[0].text) for review in read_reviews(path)]
    assert read == [(name, text) for name, _, text in PLAIN_QUOTES[:rows]]
    assert f"{path}: quotes are plain characters" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "texts", "told"),
    [
        ("r.csv", "id,text\n1,'Nice, cheap'\n2,'It''s ok'\n", ["Nice, cheap", "It's ok"], "in single quotes"),
        ("r.csv", "id,text\n1,'Nice'\n2,'Bad'\n", ["Nice", "Bad"], "in single quotes"),
        ("r.csv", "'id','text'\n'1','Nice, cheap'\n'2','Bad'\n", ["Nice, cheap", "Bad"], "in single quotes"),
        ("r.tsv", "id\ttext\n1\t'a\tb'\n2\tc\n", ["a\tb", "c"], "in single quotes"),
        ("r.csv", 'id,text\n1,"Said \\"no\\", twice"\n2,b\n', ['Said "no", twice', "b"], "have a backslash"),
        ("r.csv", "id,text\n1,'Nice' lamp\n2,Bad\n", ["'Nice' lamp", "Bad"], ""),
        ("r.tsv", 'text\tid\n"one\ntwo"\t1\nthree\t2\n', ["one\ntwo", "three"], ""),
        ("r.tsv", '"id"\t"text"\n"1"\t"a ""b"""\n"2"\t"c"\n', ['a "b"', "c"], ""),
        ("r.csv", "text\nIt's 'fine'\n'Good'\n", ["It's 'fine'", "'Good'"], ""),
    ],
)
def test_other_quotes_are_told_from_the_file(tmp_path, capsys, name, content, texts, told):
    path = write(tmp_path / name, content)
    assert [review.passages[0].text for review in read_reviews(path)] == texts
    output = capsys.readouterr().out
    assert told in output
    assert bool(told) == bool(output)


def test_a_quoted_field_that_looks_like_rows_is_named_once_and_the_setting_reads_it(tmp_path, capsys):
    path = write(tmp_path / "r.csv", plain_table(",").replace('"It"', "It"))
    assert len(list(read_reviews(path))) == 3
    assert capsys.readouterr().out.startswith(f"{path}, line 3: a quoted field holds lines that look like rows")
    assert [review.review_id for review in read_reviews(path, quotes="none")] == ["r1", "r2", "r3", "r4", "r5"]
    assert capsys.readouterr().out == ""


def test_the_header_of_a_second_file_is_no_review(tmp_path, capsys):
    lines = ["id,text", "1,A.", "id,text", "2,B.", "\ufefftext,id", "C.,3", '\ufeff"id", text ', "4,D."]
    path = write(tmp_path / "r.csv", "\r\n".join(lines))
    reviews = read_reviews(path, id_field="id")
    assert [(review.review_id, review.passages[0].text) for review in reviews] == [
        ("1", "A."),
        ("2", "B."),
        ("3", "C."),
        ("4", "D."),
    ]
    assert capsys.readouterr().out.count("the header again, as in files that were put together") == 1
    twice = write(tmp_path / "r.jsonl", '{"text": "A."}\n\ufeff{"text": "B."}\n')
    assert [review.passages[0].text for review in read_reviews(twice)] == ["A.", "B."]


def test_a_long_field_is_read_and_one_too_long_is_not_called_a_quote(tmp_path):
    path = write(tmp_path / "r.csv", f'text,n\n"{"word " * 40_000}",1\nB.,2\n')
    assert [len(review.passages[0].text) for review in read_reviews(path)] == [200_000, 2]
    longer = write(tmp_path / "longer.csv", f"text,n\n{'x' * (LONGEST_FIELD + 1)},1\n")
    with pytest.raises(InputError, match=r"line 2: .* has a field of more than 16,777,216 characters; shorten it"):
        list(read_reviews(longer))


def test_limit_stops_reading(tmp_path):
    path = write(tmp_path / "r.jsonl", '{"text": "A."}\n{"text": "B."}\nnot json\n')
    assert len(list(read_reviews(path, limit=2))) == 2


def test_reading_is_lazy(tmp_path):
    reviews = read_reviews(write(tmp_path / "r.jsonl", '{"text": "A."}\nnot json\n'))
    assert next(reviews).passages[0].text == "A."
    with pytest.raises(InputError, match="line 2"):
        next(reviews)


@pytest.mark.parametrize(
    ("source", "name", "revision", "split"),
    [
        ("hf://a/b", "a/b", None, "train"),
        ("hf://a/b@v1.0", "a/b", "v1.0", "train"),
        ("hf://a/b/test", "a/b", None, "test"),
        ("hf://a/b@c0ffee/test", "a/b", "c0ffee", "test"),
    ],
)
def test_hub_address(monkeypatch, source, name, revision, split):
    calls = []

    def load(*args, **kwargs):
        calls.append((args, kwargs))
        return [{"review_id": 1, "text": "A."}, {"review_id": 2, "text": "B.", "aspects": ["x"]}]

    hub(monkeypatch, load)
    assert [review.passages[0] for review in read_reviews(source)] == [Passage("A."), Passage("B.", ("x",))]
    assert calls == [((name,), {"revision": revision, "split": split, "streaming": True})]


plain_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(st.lists(plain_text, min_size=1, max_size=5, unique=True))
def test_jsonl_round_trip(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("jsonl") / "r.jsonl"
    lines = (json.dumps({"review_id": i, "text": text}, ensure_ascii=False) for i, text in enumerate(texts))
    write(path, "\n".join(lines))
    assert [review.passages[0].text for review in read_reviews(path)] == texts


@given(st.lists(plain_text, min_size=1, max_size=5), st.sampled_from([("r.csv", ","), ("r.tsv", "\t")]))
def test_csv_round_trip(tmp_path_factory, texts, kind):
    name, delimiter = kind
    path = tmp_path_factory.mktemp("csv") / name
    file = io.StringIO(newline="")
    rows = [("review_id", "text"), *enumerate(texts)]
    csv.writer(file, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    write(path, file.getvalue())
    assert [review.passages[0].text for review in read_reviews(path)] == texts


json_text = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "sentences", "aspects"]), inner)
    ),
).map(json.dumps)
scraps = st.sampled_from(
    [b"text", b"review_id", b'"', b",", b"\t", b"\n", b"\r", b"\0", b"\xff", b"\xef\xbb\xbf", b"{"]
)


@given(
    st.sampled_from(["r.jsonl", "r.csv", "r.tsv", "r.txt", "r.parquet"]),
    st.binary() | st.lists(scraps).map(b"".join) | st.lists(json_text).map("\n".join).map(str.encode),
)
def test_whatever_a_file_holds_is_reviews_or_one_line(tmp_path_factory, name, content):
    path = write(tmp_path_factory.mktemp("any") / name, content)
    said = ""
    try:
        table = build_sentence_table(read_reviews(path), **SPLIT)
        assert sum(map(len, table.sentences.values())) == table.counts["sentences"]
    except InputError as error:
        said = str(error)
    assert "\n" not in said


# ---------------------------------------------------------------------------------------------- errors

GOOD = '{"review_id": "a", "text": "Good."}\n'

BAD_FILES = {
    "empty": ("r.jsonl", "", "is empty; give a file"),
    "unknown extension": (
        "r.xlsx",
        "x",
        ".xlsx is not a format that can be read; use .jsonl, .parquet, .txt, .csv, .tsv or hf",
    ),
    "no extension": ("reviews", "x", "no extension is not a format"),
    "gz": ("r.jsonl.gz", "x", ".gz is not a format"),
    "broken json": ("r.jsonl", GOOD + '{"text": "B"', "line 2: broken JSON at column 13"),
    "json in several lines": ("r.jsonl", '{\n"text": "B."\n}', "line 1: broken JSON"),
    "json too deep": ("r.jsonl", "[" * 200_000, "line 1: JSON that cannot be read"),
    "json with a huge number": ("r.jsonl", "9" * 5000, "line 1: JSON that cannot be read"),
    "not an object": ("r.jsonl", GOOD + '["B."]', "line 2: is a list; write one JSON object a line"),
    "field not there": (
        "r.jsonl",
        '{"id": 1, "body": "B."}',
        "line 1: no field 'text'; name the field that holds the text (present: 'id', 'body')",
    ),
    "text null": ("r.jsonl", GOOD + '{"text": null}', "line 2: 'text' is null; make it a string"),
    "text a number": ("r.jsonl", '{"text": 5}', "line 1: 'text' is a number"),
    "text a boolean": ("r.jsonl", '{"text": true}', "line 1: 'text' is a boolean"),
    "text nested": ("r.jsonl", '{"text": {"en": "B."}}', "line 1: 'text' is an object"),
    "sentences not a list": (
        "r.jsonl",
        '{"sentences": "B."}',
        "line 1: 'sentences' is a string; make it a list",
    ),
    "sentence a string": (
        "r.jsonl",
        '{"sentences": ["B."]}',
        "line 1, sentence 1: is a string; make it an object",
    ),
    "sentence without text": (
        "r.jsonl",
        '{"sentences": [{"text": "A."}, {"t": 1}]}',
        "line 1, sentence 2: is an object without 'text'",
    ),
    "sentence text null": (
        "r.jsonl",
        '{"sentences": [{"text": null}]}',
        "line 1, sentence 1: 'text' is null",
    ),
    "aspects a string": (
        "r.jsonl",
        '{"text": "B.", "aspects": "x"}',
        "line 1: 'aspects' must be a list of strings",
    ),
    "aspects of numbers": (
        "r.jsonl",
        '{"sentences": [{"text": "B.", "aspects": [1]}]}',
        "line 1, sentence 1: 'asp",
    ),
    "aspects not unicode": ("r.jsonl", '{"text": "B.", "aspects": ["\\ud800"]}', "line 1: 'aspects' must be"),
    "id a fraction": (
        "r.jsonl",
        '{"review_id": 1.5, "text": "B."}',
        "line 1: 'review_id' is a number; make it a string or a whole number",
    ),
    "id not unicode": ("r.jsonl", '{"review_id": "\\ud800", "text": "B."}', "line 1: 'review_id' holds half"),
    "product a list": ("r.jsonl", '{"product": [], "text": "B."}', "line 1: 'product' is a list"),
    "repeated id": ("r.jsonl", GOOD + "\n" + GOOD, "line 3: the review_id 'a' was used before, in line 1;"),
    "repeated id, number and string": (
        "r.jsonl",
        '{"review_id": 1, "text": "A"}\n{"review_id": "1", "text": "B"}',
        "line 2: the review_id '1' was used before, in line 1",
    ),
    "not utf-8": (
        "r.jsonl",
        GOOD.encode() + b'{"text": "caf\xe9"}',
        "line 2: not valid UTF-8 (byte 14 of the line)",
    ),
    "utf-16": ("r.csv", "text\nA.\n".encode("utf-16"), "line 1: not valid UTF-8"),
    "not utf-8 txt": ("r.txt", b"ok\n\xff\n", "line 2: not valid UTF-8"),
    "csv without the column": (
        "r.csv",
        "id,body\n1,B.\n",
        "line 1: no field 'text'; name the field that holds the text (present: 'id', 'body')",
    ),
    "csv column twice": ("r.csv", "text,text\nA.,B.\n", "line 1: the column 'text' appears twice"),
    "csv unclosed quote": (
        "r.csv",
        'text,n\nA.,1\n"B.,2\nC.,3\n',
        "line 3: the row that begins here is broken",
    ),
    "csv stray quote": ("r.csv", 'text,n\n"B" c.,2\n', "line 2: the row that begins here is broken"),
    "csv never-ending field": (
        "r.csv",
        'text\n"' + "word\n" * 40_000,
        "line 2: the row that begins here is broken",
    ),
    "csv row too long": ("r.csv", "text,n\nA.,1\nB, c.,2\n", "line 3: 3 fields where the header has 2"),
    "tsv row too short": ("r.tsv", "text\tn\nA.\n", "line 2: 1 fields where the header has 2"),
    "parquet that is none": ("r.parquet", "PAR1 but not really", "not a readable parquet file"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file_is_one_line_that_says_where_and_what(tmp_path, case):
    name, content, expected = BAD_FILES[case]
    path = write(tmp_path / name, content)
    with pytest.raises(InputError) as caught:
        list(read_reviews(path))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert expected in message
    assert "\n" not in message


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"none\.jsonl: no such file"):
        read_reviews(tmp_path / "none.jsonl")


def test_folder(tmp_path):
    with pytest.raises(InputError, match="is a folder; name one file"):
        read_reviews(tmp_path)


@pytest.mark.parametrize("limit", [1, 0, -3])
def test_limit_too_small(tmp_path, limit):
    with pytest.raises(InputError, match="too small; use at least 2"):
        read_reviews(write(tmp_path / "r.txt", "A.\n"), limit=limit)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"body": ["A."]}, "no field 'text'; name the field that holds the text (present: 'body')"),
        ({"text": ["A.", None]}, "row 2: 'text' is null"),
        ({"text": [1, 2]}, "row 1: 'text' is a number"),
        ({"text": ["A.", "B."], "review_id": [1, 1]}, "row 2: the review_id '1' was used before, in row 1"),
        ({"text": pa.array([b"A", b"\xff"]).view(pa.string())}, "not a readable parquet file"),
    ],
)
def test_bad_parquet(tmp_path, columns, expected):
    pq.write_table(pa.table(columns), tmp_path / "r.parquet")
    with pytest.raises(InputError) as caught:
        list(read_reviews(tmp_path / "r.parquet"))
    assert expected in str(caught.value)
    assert str(tmp_path / "r.parquet") in str(caught.value)


def test_truncated_parquet(tmp_path):
    path = tmp_path / "r.parquet"
    pd.DataFrame({"text": ["A."] * 1000}).to_parquet(path)
    write(path, path.read_bytes()[:-40])
    with pytest.raises(InputError, match="not a readable parquet file"):
        list(read_reviews(path))


def test_hub_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="pip install datasets"):
        read_reviews("hf://a/b")


@pytest.mark.parametrize("source", ["hf://", "hf://b", "hf://a/b/c/d", "hf://a/b@", "hf://a b/c"])
def test_hub_address_malformed(source):
    with pytest.raises(InputError, match=r"write hf://owner/name\[@revision\]\[/split\]"):
        read_reviews(source)


def test_hub_failure_is_one_line(monkeypatch):
    def load(*args, **kwargs):
        raise ConnectionError("no route\nto host")

    hub(monkeypatch, load)
    with pytest.raises(InputError, match=r"hf://a/b: cannot be read \(ConnectionError: no route\); check") as caught:
        list(read_reviews("hf://a/b"))
    assert "\n" not in str(caught.value)


def test_hub_without_the_field(monkeypatch):
    hub(monkeypatch, lambda *args, **kwargs: [{"content": "A."}])
    with pytest.raises(InputError, match=r"hf://a/b, row 1: no field 'text'.*present: 'content'"):
        list(read_reviews("hf://a/b"))


@pytest.mark.parametrize(
    ("reviews", "options", "expected"),
    [
        ([], {}, "r.txt: holds no review; at least two"),
        ([whole("a", "Good.")], {}, "r.txt: holds one review; at least two"),
        (
            [whole("a", ""), whole("b", " 5/5 ! ")],
            {},
            "r.txt: not one of its 2 reviews has a sentence with a letter",
        ),
        (
            [whole("a", "One."), whole("b", "Two.")],
            {"validation": 1e-9},
            "r.txt: no sentence falls into the validation",
        ),
        (
            [whole("a", "One."), whole("b", "Two.")],
            {"validation": 1 - 1e-9},
            "no sentence falls into the calibration",
        ),
        (
            [whole("a", "One.")],
            {"validation": 0.0},
            "the share for validation is 0.0; it must lie between 0 and 1",
        ),
        ([whole("a", "One.")], {"validation": float("nan")}, "the share for validation is nan"),
        ([whole("a", "One.")], {"key": "ü" * 33}, "the key of the split takes 66 bytes; use at most 64"),
    ],
)
def test_bad_corpus(reviews, options, expected):
    with pytest.raises(InputError) as caught:
        build_sentence_table(reviews, source="r.txt", **(SPLIT | options))
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------------- sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It 's great , but I ca n't fit it .", "It's great, but I can't fit it."),
        ("We 'll see ; they 've gone , I 'd say I 'm done", "We'll see; they've gone, I'd say I'm done"),
        ("DO N'T", "DON'T"),
        ("it did n’t , and it ’s off", "it didn’t, and it’s off"),
        ("gon na , got ta , wan na ; got na", "gonna, gotta, wanna; got na"),
        ("soft ( x ) and [ ... ] !", "soft (x) and [...]!"),
        ("wait . . . what ? ! no ....", "wait... what?! no...."),
        ('the " heat " is " off " .', 'the "heat" is "off".'),
        ('a 12 " x 14 " board', 'a 12 " x 14 " board'),
        ("costs $ 5 , 60 % off , # 1", "costs $5, 60% off, #1"),
        ("love it : ) and ; ) too", "love it :) and ;) too"),
        ("in a ratio of 5 : 3", "in a ratio of 5 : 3"),
        ("a .22lr gun, his 'd' key, the '70s", "a .22lr gun, his 'd' key, the '70s"),
        ("Good<br />Bad", "Good\nBad"),
        ('see < a data - hook="x - y " href="/The - Hare / dp/14" >The Hare</a > now', "see The Hare now"),
        ("&lt;p&gt;bold &amp; <B >free</B>&nbsp ; yes", "bold & free yes"),
        ("2 < 3 and 5 > 4, <3, a <guess> b", "2 < 3 and 5 > 4, <3, a <guess> b"),
        ("AT&T; R&D", "AT&T; R&D"),
        (" zero\u200bwidth \u00a0 soft\u00adhyphen \x00 bell\x07\ttab ", "zerowidth softhyphen bell tab"),
        ("cafe\u0301 \ud83d", "café"),
        ("one\r\n\r\n two\u2028three", "one\ntwo\nthree"),
        (" \n\t ", ""),
    ],
)  # fmt: skip
def test_normalise(text, expected):
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It broke.\\nMy son cried.", "It broke.\nMy son cried."),
        ("It broke\\n\\nmy son cried", "It broke\nmy son cried"),
        ("a\\r\\nb", "a\nb"),
        ("a\\\\nb", "a\nb"),
        ("a\\\\\\\\r\\\\\\\\nb", "a\nb"),
        ("&#92;n a", "a"),
        ("Don&amp;#39;t", "Don't"),
        ("Don&amp;amp;amp;#39;t", "Don't"),
        ("Don&#38;#x26;#39;t", "Don't"),
        ("&amp ;#39 ;", "'"),
        ("R&amp;amp;D", "R&D"),
        ("One.&amp;lt;br /&amp;gt;Two.", "One.\nTwo."),
        ('He said \\"no\\", it\\\\\'s', 'He said "no", it\'s'),
        ("caf\\u00e9 \\ud83d\\ude00", "café \U0001f600"),
        ("it\\u0026#39;s", "it's"),
        ("a \\t b", "a b"),
        ("http:\\/\\/x", "http://x"),
        ("C:\\new\\table and \\\\server\\new", "C:\\new\\table and \\\\server\\new"),
        ("his\\their, and\\or, \\o/, 100 \\ 5, end\\", "his\\their, and\\or, \\o/, 100 \\ 5, end\\"),
        ("AT&T; a & b;", "AT&T; a & b;"),
    ],
)
def test_escapes_are_resolved_however_often_they_were_escaped(text, expected):
    assert normalise(text) == expected
    assert normalise(expected) == expected


@given(
    st.lists(st.sampled_from(["&", "amp;", "#38;", "lt;", "\\", "n", "r", "u0026", "t", '"', " ", "C:"])).map("".join)
)
def test_unescaping_ends_in_a_text_that_it_leaves_alone(text):
    assert normalise(normalise(text)) == normalise(text) or text.count("&") > 4


@pytest.mark.parametrize("piece", ["&amp;", "amp;", "\\", "\\n", "C:\\", "&#38;", "&lt;"])
def test_unescaping_takes_time_linear_in_the_text(piece):
    start = time.perf_counter()
    normalise("&" + piece * 100_000 + "n")
    assert time.perf_counter() - start < 5


def test_normalise_leaves_well_written_sentences_alone():
    for review in read_reviews(REVIEWS):
        for passage in review.passages:
            assert normalise(passage.text) == passage.text


written = st.text(st.sampled_from("abIn'’nts sdm.,!?;:()[]\"$5%#é \n\t")) | plain_text


@given(written.filter(lambda text: "&" not in text and "<" not in text))
def test_normalise_takes_out_blanks_only(text):
    visible = normalise("".join(text.split()))
    assert "".join(normalise(text).split()) == "".join(visible.split())


@given(st.text())
def test_normalised_text_is_clean(text):
    result = normalise(text)
    assert all(line and line == " ".join(line.split()) for line in result.split("\n") if result)
    result.encode("utf-8")


@given(written)
def test_segment_loses_blanks_only(text):
    pieces = segment(normalise(text))
    assert "".join("".join(pieces).split()) == "".join(normalise(text).split())
    assert all(piece == piece.strip() and piece and "\n" not in piece for piece in pieces)


def test_segment():
    text = "I asked Dr. Lee, and Mrs. Jones too. It cost $3.50. Great!! It works. no complaints\nfine"
    assert segment(text) == [
        "I asked Dr. Lee, and Mrs. Jones too.",
        "It cost $3.50.",
        "Great!!",
        "It works.",
        "no complaints",
        "fine",
    ]


def test_segment_recovers_the_gold_sentences():
    hits = found = true = 0
    for review in read_reviews(REVIEWS):
        texts = [passage.text for passage in review.passages]
        predicted, actual = ends(segment(" ".join(texts))), ends(texts)
        hits, found, true = hits + len(predicted & actual), found + len(predicted), true + len(actual)
    assert hits / found > 0.99
    assert hits / true > 0.96


def ends(texts: list[str]) -> set[int]:
    return set(np.cumsum([len("".join(text.split())) for text in texts])[:-1].tolist())


def test_gold_of_a_whole_text():
    one, two = "It boils fast!!! :)", "It boils. It pours."
    assert [p.aspects for p in cut_sentences(whole("a", one, ("speed",)))] == [("speed",)] * len(segment(one))
    assert [p.aspects for p in cut_sentences(whole("a", two, ("speed",)))] == [None, None]
    assert [p.aspects for p in cut_sentences(whole("a", two, ()))] == [(), ()]
    assert [p.aspects for p in cut_sentences(whole("a", two))] == [None, None]


def test_given_sentences_are_not_cut_again():
    review = Review("a", "", (Passage("One . Two .", ("x",)), Passage("a<br>b")), segmented=True)
    assert cut_sentences(review) == [Passage("One. Two.", ("x",)), Passage("a b")]


# --------------------------------------------------------------------------------------------- the split

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def corpus(count: int) -> list[Review]:
    return [whole(f"r{i}", f"Sentence {'x' * i} one. And {'y' * i} two.") for i in range(count)]


def sides_of(table) -> dict[str, str]:
    return {name: where for where in SPLITS for name in table.sentences[where]["review_id"]}


def test_side_is_pinned():
    assert [choose_split(f"r{i:04}", key="descry", validation=0.5)[0] for i in range(1, 13)] == list("vccccvvvvvvc")


@given(names, st.text(max_size=16), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_never_brings_a_review_back(name, key, one, other):
    small, large = sorted([one, other])
    if choose_split(name, key=key, validation=small) == "validation":
        assert choose_split(name, key=key, validation=large) == "validation"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_share_is_near_the_asked(share):
    drawn = Counter(choose_split(f"review {i}", key="k", validation=share) for i in range(20_000))
    assert abs(drawn["validation"] / 20_000 - share) < 4 * (share * (1 - share) / 20_000) ** 0.5


def test_another_key_draws_another_split():
    agree = sum(
        choose_split(f"{i}", key="a", validation=0.5) == choose_split(f"{i}", key="b", validation=0.5)
        for i in range(4000)
    )
    assert abs(agree / 4000 - 0.5) < 0.04


def test_adding_reviews_moves_none():
    before, after = (sides_of(build_sentence_table(corpus(n), **SPLIT)) for n in (40, 90))
    assert before.items() <= after.items()


@given(st.permutations(corpus(20)))
def test_permuting_reviews_moves_none(permuted):
    assert sides_of(build_sentence_table(permuted, **SPLIT)) == sides_of(build_sentence_table(corpus(20), **SPLIT))


texts = st.lists(st.sampled_from(["Good.", "Bad.", "5/5.", "Fits well!", "Why?"]), max_size=4).map(" ".join)


@given(st.lists(texts, min_size=30, max_size=60))
def test_table_laws(written):
    reviews = [whole(f"r{i}", text) for i, text in enumerate(["Zero one.", "Nine ten.", *written])]
    reviews += [whole(f"s{i}", f"Own {'w' * i}.") for i in range(12)]
    table = build_sentence_table(reviews, **SPLIT)
    left, right = (table.sentences[name] for name in SPLITS)
    both = pd.concat([left, right])
    assert not set(left["review_id"]) & set(right["review_id"])
    assert both["text"].is_unique
    assert both["sentence_id"].is_unique
    assert both["text"].map(has_letter).all()
    everything = [p.text for review in reviews for p in cut_sentences(review)]
    assert set(both["text"]) == {text for text in everything if has_letter(text)}
    counts = table.counts
    assert counts["reviews"] == len(reviews)
    assert counts["sentences"] == len(both) == sum(counts[name]["sentences"] for name in SPLITS)
    assert counts["sentences"] + counts["duplicates"] + counts["without_letters"] == len(everything)
    assert counts["empty_reviews"] + sum(counts[name]["reviews"] for name in SPLITS) == len(reviews)


def test_first_of_repeated_sentences_stays_and_collects_their_gold():
    reviews = [
        Review("a", "kettle", (Passage("Good .", ("x",)), Passage("1 / 5")), segmented=True),
        Review("b", "", (Passage("Good.", ("y", "x")), Passage("Bad.", None)), segmented=True),
        Review("c", "", (Passage("Bad.", ()), Passage("Mine."), Passage("Mine.")), segmented=True),
    ]
    reviews += corpus(10)
    table = build_sentence_table(reviews, **SPLIT)
    rows = pd.concat(table.sentences.values()).set_index("text")
    gold = pd.concat(table.gold.values()).set_index("sentence_id")["aspects"]
    assert rows.loc["Good.", ["sentence_id", "product"]].tolist() == ["a:0", "kettle"]
    assert gold["a:0"] == ["x", "y"]
    assert gold["b:1"] == []
    assert gold["c:1"] is None
    assert (table.counts["duplicates"], table.counts["without_letters"]) == (3, 1)


def test_a_corpus_that_is_not_divided_is_that_of_both_sides_less_what_is_known():
    reviews = [
        Review("a", "kettle", (Passage("Good .", ("x",)), Passage("1 / 5"), Passage("Known.", ("z",))), segmented=True),
        Review("b", "", (Passage("Good.", ("y",)), Passage("Known.", None)), segmented=True),
        *corpus(10),
    ]
    table, (rows, gold, counts) = (
        build_sentence_table(reviews, **SPLIT),
        build_undivided_table(reviews, known={"Known."}),
    )
    whole_table = pd.concat(table.sentences.values())
    expected = whole_table[whole_table["text"] != "Known."]
    assert set(rows["sentence_id"]) == set(expected["sentence_id"])
    assert rows.dtypes.equals(whole_table.dtypes)
    assert gold.set_index("sentence_id").loc["a:0", "aspects"] == ["x", "y"]
    assert gold["sentence_id"].tolist() == rows["sentence_id"].tolist()
    assert counts["sentences"] == len(rows) == table.counts["sentences"] - 1
    assert counts["duplicates"] == table.counts["duplicates"] + 1
    with pytest.raises(InputError, match=r"mine: none of its 12 reviews has a sentence .* not in the first corpus too"):
        build_undivided_table(reviews, known=set(whole_table["text"]), source="mine")


def test_columns_and_types():
    table = build_sentence_table(corpus(10), **SPLIT)
    for name in SPLITS:
        frame, gold = table.sentences[name], table.gold[name]
        assert list(frame) == ["sentence_id", "review_id", "position", "product", "text"]
        assert frame["position"].dtype == np.int32
        assert frame["sentence_id"].tolist() == [
            f"{review}:{position}" for review, position in zip(frame["review_id"], frame["position"], strict=True)
        ]
        assert list(gold) == ["sentence_id", "aspects"]
        assert gold["sentence_id"].tolist() == frame["sentence_id"].tolist()
        assert gold["aspects"].map(lambda value: value is None).all()


def test_positions_count_what_is_dropped():
    table = build_sentence_table([whole("a", "Good. 5/5! Fine."), *corpus(10)], **SPLIT)
    rows = pd.concat(table.sentences.values())
    assert rows.loc[rows["review_id"] == "a", "position"].tolist() == [0, 2]


def test_repeated_texts_without_an_id_are_repeats_not_errors(tmp_path):
    content = "Great kettle.\n" * 3 + "".join(f"Number {'i' * n}.\n" for n in range(1, 12))
    table = build_sentence_table(read_reviews(write(tmp_path / "r.txt", content)), **SPLIT)
    assert table.counts["duplicates"] == 2
    assert table.counts["sentences"] == 12


# ------------------------------------------------------------------------------------------ real corpora


def test_gold_of_the_project_s_own_reviews():
    table = build_sentence_table(read_reviews(REVIEWS), **SPLIT)
    assert table.counts == {
        "reviews": 800, "empty_reviews": 0, "sentences": 4189, "duplicates": 2, "without_letters": 0,
        "calibration": {"reviews": 413, "sentences": 2162}, "validation": {"reviews": 387, "sentences": 2027},
    }  # fmt: skip
    with REVIEWS.open(encoding="utf-8") as file:
        records = {record["review_id"]: record for record in map(json.loads, file)}
    for name in SPLITS:
        pairs = zip(table.sentences[name].itertuples(), table.gold[name].itertuples(), strict=True)
        for row, gold in pairs:
            original = records[row.review_id]["sentences"][row.position]
            assert (row.text, gold.aspects) == (original["text"], original["aspects"])
            assert row.product == records[row.review_id]["product"]


def test_amazon_reviews_read_well():
    table = build_sentence_table(read_reviews(shared("amazon_reviews.jsonl"), limit=3000), **SPLIT)
    text = pd.concat(table.sentences.values())["text"]
    assert table.counts["reviews"] == 3000
    assert 2.5 < len(text) / 3000 < 5
    for blank_or_markup in (r" n't\b", r" [,.!?](?:\s|$)", r"\( ", r" \)", r"</?a\b", r"&nbsp"):
        assert text.str.contains(blank_or_markup).mean() < 0.001, blank_or_markup
    assert text.str.len().max() < 3000
    assert all(gold["aspects"].isna().all() for gold in table.gold.values())


def test_opinosis_has_gold_for_each_sentence():
    table = build_sentence_table(read_reviews(shared("opinosis.jsonl")), **SPLIT)
    aspects = pd.concat(table.gold.values())["aspects"]
    assert aspects.map(bool).all()
    assert len({name for names in aspects for name in names}) == 36
    assert aspects.map(len).max() > 1
