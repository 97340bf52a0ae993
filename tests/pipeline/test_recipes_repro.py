"""The README's recipes as a reader tries them: one's own data, model and language model."""

from __future__ import annotations

import csv
import json
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

import descry
from descry.schemas.generate import ANSWER_TABLE
from descry.schemas.split import GOLD_TABLE, SENTENCE_TABLE
from descry.storage.tables import read_table
from tests.conftest import ROOT, bert, bert_of_reviews
from tests.support.fake_server import FakeServer, Reply, Seen, said
from tests.support.projects import LEFT_OUT, SMALL, TWO_LAYERS, Shell, clone, with_model

README = (ROOT / "README.md").read_text()


def recipe(title: str) -> list[list[str]]:
    """The commands under a heading, comments and continued lines put right."""
    part = README[README.index(f"\n## {title}\n") :].split("\n## ")[1]
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", part, re.DOTALL)).replace("\\\n", " ")
    return [words for line in blocks.splitlines() if (words := shlex.split(line, comments=True))]


def texts(start: int, stop: int) -> list[str]:
    """Some reviews of the project's own."""
    lines = (ROOT / "data/reviews.jsonl").read_text().splitlines()[start:stop]
    return [" ".join(sentence["text"] for sentence in json.loads(line)["sentences"]) for line in lines]


def write(path: Path, reviews: list[str]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["stars", "body"], *([5, text] for text in reviews)])


@pytest.fixture(scope="module")
def reviews() -> list[str]:
    return texts(0, 150)


@pytest.fixture(scope="module")
def model(reviews: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows the reviews' words."""
    words = sorted({word for text in reviews for word in re.findall(r"\w+|[^\w\s]", text.lower())})
    return bert(tmp_path_factory.mktemp("mine") / "bert", words)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Shell]:
    """A run of a tiny model: which commands work is looked at, not what they find."""
    folder, tiny = tmp_path_factory.mktemp("recipes"), bert_of_reviews(tmp_path_factory.mktemp("tiny") / "bert")
    less = {"controls.kinds": "[]", "extract.also": "[]"} | LEFT_OUT | {"transfer.enabled": "true"}
    some = {"cluster.min_sentences": "3", "assign.rule": "composition"}  # which finds something whatever the model
    run = clone(folder, tmp_path_factory.mktemp("site"), SMALL | TWO_LAYERS | less | some | with_model(tiny))
    run("dvc", "repro", "-q")
    return folder, run


def test_your_own_data(project: tuple[Path, Shell], reviews: list[str]) -> None:
    folder, run = project
    write(folder / "my.csv", reviews)
    command, second = recipe("Your own data")
    run(*command)
    found = descry.load(folder).sentences
    assert len(found) > 300
    assert found["text"].map(lambda text: any(text in review for review in reviews)).mean() > 0.95
    assert read_table(folder / "data/gold/validation.parquet", GOLD_TABLE)["aspects"].isna().all()
    assert (folder / "report/index.html").stat().st_size > 100_000
    write(folder / "other.csv", texts(300, 400))
    run("git", "checkout", "-q", "params.yaml")
    run(*second)
    assert len(read_table(folder / "data/transfer/sentences.parquet", SENTENCE_TABLE)) > 50
    assert descry.load(folder).transfer["replication"].notna().any()
    run("git", "checkout", "-q", "params.yaml")


def test_your_own_model(project: tuple[Path, Shell], model: Path) -> None:
    folder, run = project
    own, hub = recipe("Your own model")[:2]
    run(*(part.replace("/models/my-bert", str(model)) for part in own))
    neurons = descry.load(folder).neurons
    assert len(neurons) == 2 * 48
    assert set(neurons["layer"]) == {2, 3}
    done = run(*hub, check=False)
    assert done.returncode != 0
    assert "owner/name" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    run("git", "checkout", "-q", "params.yaml")


def answer(seen: Seen) -> Reply:
    sentence = seen.prompt.rpartition("Sentence: ")[2].splitlines()[0].lower()
    found = [name for name in ("battery", "sound", "price", "size", "smell", "colour") if name in sentence]
    return said(", ".join(found) or "none")


def test_your_own_language_model(project: tuple[Path, Shell]) -> None:
    folder, run = project
    preset, repro = recipe("Your own language model")
    assert preset[:2] == ["make", "preset"]
    name = preset[2].removeprefix("NAME=")
    with FakeServer(answer) as server:
        path = folder / f"presets/{name}.yaml"
        path.write_text(re.sub(r"base_url: \S+", f"base_url: {server.url}", path.read_text()))
        run("python", "-m", "stages.commands.preset", name)
        run(*repro)
        assert len(server.prompts) > 100
    labels = descry.load(folder).descriptors
    assert isinstance(labels, pd.DataFrame)
    answers = read_table(folder / "data/answers.parquet", ANSWER_TABLE)
    assert set(answers["generator"]) == {"qwen"}
