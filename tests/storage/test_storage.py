import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from descry.activations.record import Activations, read_activations, write_activations
from descry.errors import InputError
from descry.schemas.extract import ACTIVATION_ARRAYS
from descry.schemas.split import GOLD_TABLE
from descry.storage import schema
from descry.storage.arrays import write_arrays
from descry.storage.files import read_json, write_json, write_metrics
from descry.storage.tables import read_table, write_table
from tests.conftest import ROOT


def some_activations() -> Activations:
    return Activations(
        count=3,
        layer=np.array([1, 2], np.int16),
        index=np.array([0, 0], np.int32),
        values=np.array([[3, 1], [2, 0]], np.float32),
        rows=np.array([[0, 2], [1, 2]], np.int32),
        beyond=np.array([0, -1], np.float32),
        mean=np.zeros(2, np.float32),
        std=np.ones(2, np.float32),
        maximum=np.array([3, 2], np.float32),
        probe_rows=np.array([0, 1, 2], np.int32),
        probe=np.ones((3, 2), np.float16),
        pooling="mean",
    )


def some_gold() -> pd.DataFrame:
    return pd.DataFrame({"sentence_id": ["a:0", "b:0", "b:1"], "aspects": [["noise"], [], None]})


def write_all(folder: Path) -> dict[str, Path]:
    paths = {name: folder / f"{name}.bin" for name in ("activations", "gold", "json")}
    write_activations(paths["activations"], some_activations())
    write_table(paths["gold"], some_gold(), GOLD_TABLE)
    write_json(paths["json"], {"b": [1, "é"], "a": None})
    return paths


READERS = {
    "activations": read_activations,
    "gold": lambda path: read_table(path, GOLD_TABLE),
    "json": read_json,
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    paths = write_all(tmp_path)
    found = read_activations(paths["activations"])
    for name, value in vars(some_activations()).items():
        np.testing.assert_array_equal(getattr(found, name), value)
    gold = read_table(paths["gold"], GOLD_TABLE)
    assert [None if a is None else list(a) for a in gold["aspects"]] == [["noise"], [], None]
    assert read_json(paths["json"]) == {"b": [1, "é"], "a": None}


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = write_all(tmp_path / "one"), write_all(tmp_path / "two")
    for name in one:
        assert one[name].read_bytes() == two[name].read_bytes()


def test_every_process_writes_the_same_bytes(tmp_path: Path) -> None:
    here = write_all(tmp_path / "here")
    for seed in ("1", "2", "3"):
        command = "import sys; from tests.storage.test_storage import *; write_all(Path(sys.argv[1]))"
        folder = tmp_path / seed
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", command, str(folder)], cwd=ROOT, env=environment, check=True)
        for path in here.values():
            assert (folder / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("kind", sorted(READERS))
@pytest.mark.parametrize("damage", ["empty", "truncated", "noise", "gone", "other kind"])
def test_damage_is_noticed_and_named(tmp_path: Path, kind: str, damage: str) -> None:
    paths = write_all(tmp_path)
    path = paths[kind]
    whole = path.read_bytes()
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "noise":
        path.write_bytes(bytes(255 - byte for byte in whole))
    elif damage == "gone":
        path.unlink()
    else:
        path.write_bytes(paths["gold" if kind != "gold" else "activations"].read_bytes())
    with pytest.raises(InputError) as caught:
        READERS[kind](path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert "dvc" in str(caught.value)


def test_arrays_that_disagree_are_refused(tmp_path: Path) -> None:
    good = vars(some_activations())
    for change, message in [
        ({"rows": good["rows"][:1]}, "1 neurons"),
        ({"mean": good["mean"].astype(np.float64)}, "float64"),
        ({"std": np.array([1, np.nan], np.float32)}, "not finite"),
    ]:
        with pytest.raises(InputError, match=message):
            write_arrays(tmp_path / "x", {**good, **change}, ACTIVATION_ARRAYS, {})
        assert not (tmp_path / "x").exists()


def test_another_schema_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_all(tmp_path)
    monkeypatch.setattr(schema, "VERSION", 2)
    for kind in ("activations", "gold"):
        with pytest.raises(InputError, match="schema 1"):
            READERS[kind](paths[kind])


def test_a_writer_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, 1)
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))
    assert path.read_text() == "1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_metrics_are_finite_rounded_and_sorted(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    write_metrics(path, {"b": np.float64(1 / 3), "a": {"count": 7}})
    assert path.read_text() == '{\n "a": {\n  "count": 7\n },\n "b": 0.333333\n}\n'
    for bad in (float("nan"), float("inf"), "high", True):
        with pytest.raises(ValueError, match=r"metric x\.y is"):
            write_metrics(path, {"x": {"y": bad}})
