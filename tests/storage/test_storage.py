import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from hypothesis.strategies import integers

from descry.activations.record import Activations, read_activations, write_activations
from descry.errors import InputError
from descry.results.comparison import read_contents
from descry.schemas.extract import ACTIVATION_ARRAYS
from descry.schemas.split import GOLD_TABLE
from descry.storage import schema
from descry.storage.arrays import read_arrays, read_part, write_arrays
from descry.storage.files import read_json, write_json, write_metrics
from descry.storage.schema import ArraySchema
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


SPARSE = ArraySchema("sparse", {"rows": ("int32", ("n",)), "probe": ("float16", ("n", "units"))}, sparse=("probe",))


def write_sparse(path: Path, probe: np.ndarray) -> None:
    write_arrays(path, {"rows": np.arange(len(probe), dtype=np.int32), "probe": probe}, SPARSE, {})


@given(
    arrays(np.int16, array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=12), elements=integers(0, 8)),
    integers(0, 8),
)
def test_a_matrix_of_few_values_comes_back_bit_by_bit(drawn: np.ndarray, above: int) -> None:
    bits = np.array([0, -(2**15), 1, 15000, -15000, 3, 5, 7, 9], np.int16)  # 0, -0.0, the smallest, ...
    probe = np.where(drawn > above, bits[drawn], 0).astype(np.int16).view(np.float16)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        write_sparse(path, probe)
        found = read_arrays(path, SPARSE)[0]["probe"]
        np.testing.assert_array_equal(found.view(np.int16), probe.view(np.int16))
        np.testing.assert_array_equal(read_contents(path)["probe"], probe)
        np.testing.assert_array_equal(read_part(path, SPARSE, "probe"), probe)
        assert read_arrays(path, SPARSE, without=("probe",))[0].keys() == {"rows"}


@pytest.mark.parametrize(("share", "least", "most"), [(0.01, 0.02, 0.06), (0.3, 0.85, 1.0), (0.5, 1.0, 1.01)])
def test_a_matrix_is_stored_sparsely_where_that_is_smaller(
    tmp_path: Path, share: float, least: float, most: float
) -> None:
    generator = np.random.default_rng(0)
    probe = np.where(generator.random((300, 400)) < share, generator.random((300, 400)), 0).astype(np.float16)
    write_sparse(tmp_path / "x", probe)
    assert least <= (tmp_path / "x").stat().st_size / probe.nbytes <= most


def test_damage_to_a_sparse_matrix_is_noticed(tmp_path: Path) -> None:
    path, probe = tmp_path / "x", np.zeros((20, 40), np.float16)
    probe[::3, ::7] = 1.5
    write_sparse(path, probe)
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    for place in range(start, len(whole)):
        for bit in (1, 128):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            with pytest.raises(InputError) as caught:
                read_arrays(path, SPARSE)
            assert str(caught.value).startswith(f"{path}: ")
            assert "\n" not in str(caught.value)


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
