"""`descry judge` and `Run.judge`: the same scores, from a file, a table or a mapping; and `descry export`."""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import descry
from descry.__main__ import main
from descry.errors import InputError
from descry.judging.held_out import describe_units
from descry.judging.judge import summarise
from descry.judging.scores import OTHERS, SCORES
from descry.results.columns import Folder
from tests.results.test_run import made

Captured = pytest.CaptureFixture[str]
TEXTS = {(1, 0): "sentence 1 of validation", (1, 1): "sentence 77, and\nmore", (2, 3): "more", (2, 4): "of validation"}


class Hashing:
    """An encoder that knows words by their hashes."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def encode(self, texts: Sequence[str], description: str = "") -> np.ndarray:
        vectors = np.zeros((len(texts), 64), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                vectors[row, zlib.crc32(word.encode()) % 64] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def words(self) -> list[str]:
        return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up run that records how texts were encoded."""
    folder = made(tmp_path_factory.mktemp("run"))
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    lock["stages"]["cluster"] = {"params": {"params.yaml": {"runtime.batch_tokens": 512}}}
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    return folder


@pytest.fixture(autouse=True)
def encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("descry.judging.held_out.SentenceEncoder", Hashing)


def write(path: Path, texts: dict[tuple[int, int], str]) -> Path:
    rows = [(layer, unit, text) for (layer, unit), text in texts.items()]
    pd.DataFrame(rows, columns=["layer", "unit", "description"]).to_csv(path, index=False)
    return path


def told(capsys: Captured, *arguments: object) -> Any:
    assert main([*map(str, arguments), "--json"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return json.loads(said.out)


def test_the_command_says_what_python_gives(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    file = write(tmp_path / "mine.csv", TEXTS)
    said = told(capsys, "judge", file, "--run", folder)
    table = descry.load(folder).judge(file)
    assert said["descriptions"] == len(said["units"]) == len(table) == 4
    assert said["summary"] == json.loads(json.dumps(summarise(table)))
    for row, expected in zip(said["units"], table.to_dict("records"), strict=True):
        assert set(row) == set(expected)
        assert {name: np.nan if value is None else value for name, value in row.items()} == pytest.approx(
            expected, nan_ok=True
        )
    assert set(table.columns) == {"layer", "index", "description", "descriptor", "first", *sum(OTHERS.values(), ())}


def test_a_file_a_table_and_a_mapping_are_judged_alike(folder: Path, tmp_path: Path) -> None:
    run = descry.load(folder)
    mapped = run.judge(TEXTS)
    rows = [(layer, index, text) for (layer, index), text in TEXTS.items()]
    pd.testing.assert_frame_equal(mapped, run.judge(pd.DataFrame(rows, columns=["layer", "index", "description"])))
    pd.testing.assert_frame_equal(mapped, run.judge(write(tmp_path / "mine.csv", TEXTS)))
    pd.testing.assert_frame_equal(mapped, run.judge(str(tmp_path / "mine.csv")))


def test_without_a_file_the_runs_own_descriptions_are_judged(folder: Path, capsys: Captured) -> None:
    said = told(capsys, "judge", "--run", folder)
    own = describe_units(Folder.of(folder)).rows
    assert said["descriptions"] == len(own)
    assert [(row["layer"], row["index"]) for row in said["units"]] == [(row.layer, row.unit) for row in own]


def test_what_is_exported_is_judged_as_the_runs_own(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    files = told(capsys, "export", "--to", "csv", tmp_path / "ours", "--run", folder)["files"]
    assert told(capsys, "judge", files[0], "--run", folder) == told(capsys, "judge", "--run", folder)


def test_the_answer_as_text(folder: Path, tmp_path: Path, capsys: Captured) -> None:
    file = write(tmp_path / "mine.csv", TEXTS)
    assert main(["judge", str(file), "--run", str(folder)]) == 0
    said = capsys.readouterr().out
    assert "4 of 4 descriptions judged on held-out sentences" in said
    summary = summarise(descry.load(folder).judge(file))
    for name in SCORES:
        assert f"{summary[name]['lift']:+.3f}" in said
    assert "first among 100" not in said  # no layer has 100


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({(9, 0): "x", (9, 1): "y"}, "line 2: the run has no unit 9:0; the layers are 1, 2, counted from 1"),
        ({(1, 0): "x", (2, 0): "y"}, "no layer has two described units"),
    ],
)
def test_what_cannot_be_judged_is_one_line(
    folder: Path, tmp_path: Path, capsys: Captured, texts: dict[tuple[int, int], str], said: str
) -> None:
    file = write(tmp_path / "mine.csv", texts)
    assert main(["judge", str(file), "--run", str(folder)]) == 2
    printed = capsys.readouterr().err
    assert said in printed
    assert printed.count("\n") == 1
    with pytest.raises(InputError):
        descry.load(folder).judge(texts)


def test_bad_tables_are_one_line(folder: Path) -> None:
    run = descry.load(folder)
    with pytest.raises(InputError, match="the table has no column description"):
        run.judge(pd.DataFrame({"layer": [1], "index": [0]}))
    with pytest.raises(InputError, match=r"descriptions, row 1: the description of 1:1 is empty"):
        run.judge({(1, 0): "x", (1, 1): float("nan")})  # type: ignore[dict-item]
