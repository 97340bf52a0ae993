"""The stages `describe` and `judge` on a made-up run: nothing to do, a model that writes, a file that is given."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import descry
from descry.errors import InputError
from descry.judging.judge import summarise
from descry.results import columns, layout
from descry.results.columns import Folder
from descry.schemas.describe import GLOSS_TABLE, WRITTEN_TABLE
from descry.schemas.judge import JUDGED_TABLE
from descry.schemas.measures import MEASURE_TABLE
from descry.storage.tables import read_table
from stages import describe, judge
from stages.harness import stage
from stages.shared import judging
from tests.cli.test_judge import Hashing
from tests.conftest import ROOT
from tests.judging.test_likelihood import Reader
from tests.results.test_run import made
from tests.support.echo import Echo
from tests.support.projects import change


@contextmanager
def open_encoder(*_: Any) -> Iterator[Hashing]:
    yield Hashing()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up run as the working folder, without what the two stages write."""
    root = made(tmp_path / "run")
    for name in ("params.yaml", "dvc.yaml", "data/descriptions.csv"):
        shutil.copy2(ROOT / name, root / name)
    shutil.copytree(ROOT / "prompts", root / "prompts")
    for written in (layout.WRITTEN, layout.GLOSSES):
        (root / written).unlink()
    shutil.rmtree(root / layout.JUDGE)
    monkeypatch.chdir(root)
    for module in (describe, judging):
        monkeypatch.setattr(module, "open_encoder", open_encoder)
    return root


def run(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", name)
    stage._read_declared.cache_clear()
    {"describe": describe, "judge": judge}[name].main()
    stage._read_declared.cache_clear()


def judged() -> tuple[pd.DataFrame, pd.DataFrame]:
    return tuple(
        read_table(layout.JUDGE / f"{name}.parquet", schema)
        for name, schema in (("units", JUDGED_TABLE), ("measures", MEASURE_TABLE))
    )


def test_by_default_there_is_nothing_to_do(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "open_client", None)  # nobody is asked
    for module in (describe, judging):
        monkeypatch.setattr(module, "open_encoder", None)
    run("describe", monkeypatch)
    run("judge", monkeypatch)
    assert read_table(layout.WRITTEN, WRITTEN_TABLE).empty
    assert read_table(layout.GLOSSES, GLOSS_TABLE).empty
    assert all(table.empty for table in judged())


def test_what_a_language_model_writes_is_kept_and_judged(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = Echo({"In common": "validation and more"})
    monkeypatch.setattr(describe, "open_client", lambda *_: client)
    for key, value in (("describe.llm", "echo"), ("describe.neurons", "5"), ("describe.candidates", "2")):
        change(folder, key, value)
    run("describe", monkeypatch)
    table = read_table(layout.WRITTEN, WRITTEN_TABLE)
    strongest = descry.load(folder).pairs.query("place == 1").nsmallest(5, "p")
    assert table[["layer", "index", "descriptor"]].to_numpy().tolist() == (
        strongest[["layer", "index", "descriptor"]].to_numpy().tolist()
    )
    assert set(table["description"]) == {"validation and more"}
    names = [descriptor["name"] for descriptor in columns.read_descriptors(Folder(folder))]
    assert read_table(layout.GLOSSES, GLOSS_TABLE)["descriptor"].tolist() == names
    assert len(client.asked) == 10 + 2 * len(names)
    assert all("Other sentences" in prompt for prompt in client.asked)
    assert "echo: 16 calls, 0 answered already, 16 to make" in capsys.readouterr().out
    run("describe", monkeypatch)
    assert len(client.asked) == 10 + 2 * len(names)  # answers are kept
    run("judge", monkeypatch)
    units, measures = judged()
    assert set(units["whose"]) == {"written"}
    assert set(measures["measure"].str.split(".").str[1]) == {"written"}


def test_a_file_is_judged_as_the_command_judges_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {(1, 0): "sentence 1 of validation", (1, 1): "sentence 77", (1, 2): "more"}
    lines = [f"{layer},{unit},{text}\n" for (layer, unit), text in texts.items()]
    (folder / "data/descriptions.csv").write_text("layer,unit,description\n" + "".join(lines))
    run("describe", monkeypatch)
    run("judge", monkeypatch)
    units, measures = judged()
    monkeypatch.setattr("descry.judging.held_out.SentenceEncoder", lambda *_, **__: Hashing())
    monkeypatch.setattr("descry.results.columns.Folder.parameters", parameters)
    expected = descry.load(folder).judge(texts)
    pd.testing.assert_frame_equal(units[list(expected)], expected, check_dtype=False)
    found = measures.set_index(["measure", "null"]).loc[("judge.given.auroc", "swapped_descriptions")]
    assert found["value"] == pytest.approx(summarise(expected)["auroc"]["own"])


def test_a_language_model_judges_where_one_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader()
    texts = [f"1,{unit},sentence {unit} of validation\n" for unit in range(3)]
    (folder / "data/descriptions.csv").write_text("layer,unit,description\n" + "".join(texts))
    run("describe", monkeypatch)
    monkeypatch.setattr(judging, "open_encoder", None)
    change(folder, "judge.llm", "reader")
    with pytest.raises(InputError, match="no language model 'reader' in llms"):
        run("judge", monkeypatch)
    monkeypatch.setattr(judging, "open_likelihood", lambda *_: reader)
    run("judge", monkeypatch)
    first, asked = judged()[0], reader.asked
    assert asked
    assert first["auroc"].between(0, 1).all()
    run("judge", monkeypatch)
    assert reader.asked == asked  # answers are kept
    pd.testing.assert_frame_equal(judged()[0], first)


def parameters(_: Any, name: str) -> dict[str, Any]:
    return {"cluster": {"runtime.batch_tokens": 1}, "assign@calibration": {"assign": {"rule": "enrichment"}}}[name]


def test_a_source_that_is_not_there_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(folder, "judge.source", "mine.csv")
    run("describe", monkeypatch)
    with pytest.raises(InputError, match=r"^mine\.csv: no such file or folder; [^\n]*$"):
        run("judge", monkeypatch)
