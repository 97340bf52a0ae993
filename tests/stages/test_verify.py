"""Runs compared by meaning, the stamp of their surroundings, and installed packages beside requirements.lock."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from descry.__main__ import main
from descry.results.changes import compare_assignments, compare_assignments_by_chance
from descry.results.comparison import Tolerance, compare_files, find_differences
from descry.schemas.generate import CANDIDATE_TABLE
from descry.schemas.vectors import VECTOR_ARRAYS
from descry.storage.arrays import write_arrays
from descry.storage.files import write_json
from descry.storage.tables import write_table
from stages.harness import environment
from stages.harness.environment import PACKAGES, describe_environment, find_unlike_lock, read_stamps, write_stamp
from stages.harness.recorded import hash_file

LOOSE = Tolerance()


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"a": 1.0}, {"a": 1.0005}, []),
        ({"a": 1.0}, {"a": 1.002}, ["a is 1, 1.002"]),
        ({"a": 1}, {"a": 2}, ["a is 1, 2"]),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}, ["a.b is 'x', 'y'"]),
        ({"a": 1}, {}, ["a is in one alone"]),
        ([1.0, "x"], [1.0, "x", 2], ["list is a list of 2, a list of 3"]),
        (np.arange(3), np.array([0, 1, 3]), ["array: 1 of 3 differ"]),
        (np.array([np.nan, 1.0]), np.array([np.nan, 1.0]), []),
        (np.array([np.nan, 1.0]), np.array([0.0, 1.0]), ["array: 1 of 2 differ"]),
        (np.float16([1.0]), np.nextafter(np.float16([1.0]), np.float16(2)), []),
        (np.zeros(2), np.zeros(3), ["array is float64 [2], float64 [3]"]),
    ],
)
def test_differences_are_told_in_words(first: object, second: object, said: list[str]) -> None:
    name = {list: "list", np.ndarray: "array"}.get(type(first), "")
    assert list(find_differences(first, second, LOOSE, name)) == said


def test_files_are_compared_by_what_they_hold(tmp_path: Path) -> None:
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    assert compare_files(one, other, LOOSE).verdict == "missing"
    write_json(one, {"x": 0.5, "n": 3})
    write_json(other, {"x": 0.5, "n": 3})
    assert compare_files(one, other, LOOSE).verdict == "same"
    write_json(other, {"x": 0.5001, "n": 3})
    assert compare_files(one, other, LOOSE).verdict == "agrees"
    assert compare_files(one, other, Tolerance(1e-6, 0.0)).verdict == "differs"
    write_json(other, {"x": 0.5, "n": 4})
    assert compare_files(one, other, LOOSE).detail == "n is 3, 4"
    other.write_text("{")
    assert compare_files(one, other, LOOSE).verdict == "incomparable"


def test_tables_arrays_pages_and_pictures_are_compared_too(tmp_path: Path) -> None:
    from matplotlib.image import imsave

    def both(name: str) -> tuple[Path, Path]:
        return tmp_path / "one" / name, tmp_path / "other" / name

    for path, score in zip(both("candidates.parquet"), (0.5, 0.50001), strict=True):
        frame = pd.DataFrame({"row": [1], "candidate": ["x"], "score": [score], "rank": [0], "generator": ["g"]})
        write_table(path, frame, CANDIDATE_TABLE)
    for path, value in zip(both("vectors.safetensors"), (1.0, 1.00001), strict=True):
        write_arrays(path, {"vectors": np.full((2, 2), value, np.float32)}, VECTOR_ARRAYS, {})
    for path, text in zip(both("page.html"), ("<b>0.12345</b>", "<b>0.12346</b>"), strict=True):
        path.write_text(text)
    for path, shade in zip(both("plot.png"), (0.5, 0.5), strict=True):
        imsave(path, np.full((4, 4, 3), shade))
    verdicts = {
        name: compare_files(*both(name), LOOSE).verdict
        for name in ("candidates.parquet", "vectors.safetensors", "page.html", "plot.png")
    }
    assert set(verdicts.values()) <= {"agrees", "same"}
    assert verdicts["page.html"] == verdicts["vectors.safetensors"] == verdicts["candidates.parquet"] == "agrees"
    both("page.html")[1].write_text("<b>0.12345</b>!")
    assert compare_files(*both("page.html"), LOOSE).verdict == "differs"
    imsave(both("plot.png")[1], np.zeros((4, 4, 3)))
    assert compare_files(*both("plot.png"), LOOSE).verdict == "differs"


def pairs(*rows: tuple[int, str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["index", "descriptor", "place"]).assign(layer=1)


def test_agreement_counts_pairs_and_first_descriptors() -> None:
    one = pairs((0, "a", 1), (0, "b", 2), (1, "a", 1))
    other = pairs((0, "a", 2), (0, "b", 1), (1, "a", 1), (3, "c", 1))
    found = compare_assignments(one, other)
    assert found.jaccard == 3 / 4
    assert found.first == 1 / 3
    assert compare_assignments(one[:0], one[:0]).jaccard == 1.0


def test_agreement_equals_sets_and_is_lost_where_neurons_change_places() -> None:
    generator = np.random.default_rng(0)
    every = pd.DataFrame({"layer": np.repeat([1, 2], 200), "index": np.tile(np.arange(200), 2)})
    one = every.assign(descriptor=generator.choice(list("abcdefgh"), 400), place=1)
    other = one.assign(descriptor=one["descriptor"].where(generator.random(400) < 0.7, "x"))[50:]
    sets = [set(table[["layer", "index", "descriptor"]].itertuples(index=False, name=None)) for table in (one, other)]
    found = compare_assignments(one, other)
    assert found.jaccard == len(sets[0] & sets[1]) / len(sets[0] | sets[1])
    assert found.first == len(sets[0] & sets[1]) / 400
    assert compare_assignments(one, one) == compare_assignments(other, other)
    chance = compare_assignments_by_chance(one, other, every)
    assert chance == compare_assignments_by_chance(one, other, every)
    assert chance.first < 0.15 < 0.5 < found.first
    by_layer = every.assign(descriptor=every["layer"].map({1: "a", 2: "b"}), place=1)
    assert compare_assignments_by_chance(by_layer, by_layer, every).jaccard == 1.0


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two runs of one result each, the first the current folder."""
    for name in ("here", "there"):
        folder = tmp_path / name
        write_json(folder / "data/descriptors.json", {"descriptors": ["x"]})
        lock = {
            "cluster": {
                "outs": [{"path": "data/descriptors.json", "md5": hash_file(folder / "data/descriptors.json")}],
                "params": {"params.yaml": {"cluster": {"max_descriptors": 9}}},
            }
        }
        (folder / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": lock}))
        monkeypatch.chdir(folder)
        write_stamp("cluster", {"device": "cpu", "dtype": "float32"})
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here", tmp_path / "there"


def test_two_runs_that_agree(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "../there"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].split() == ["same", "data/descriptors.json"]
    assert said[1].startswith("1 of 1 artifacts agree")


def test_two_runs_that_do_not(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    _, there = runs
    write_json(there / "data/descriptors.json", {"descriptors": ["y"]})
    stamp = there / ".environment/cluster.json"
    stamp.write_text(json.dumps(json.loads(stamp.read_text()) | {"cpu": "another"}))
    (there / "dvc.lock").write_text(
        (there / "dvc.lock").read_text().replace("max_descriptors: 9", "max_descriptors: 8")
    )
    assert main(["verify", str(there)]) == 1
    said = capsys.readouterr().out
    assert "params.yaml: cluster.max_descriptors is 9, 8 there" in said
    assert "another there (cluster)" in said
    assert "differs      data/descriptors.json: descriptors[0] is 'x', 'y'" in said
    (there / "data/descriptors.json").unlink()
    assert main(["verify", str(there)]) == 1
    assert "missing      data/descriptors.json" in capsys.readouterr().out


@pytest.mark.parametrize(("other", "said"), [(".", "this very run"), ("..", "dvc.lock: not there")])
def test_what_is_no_other_run_is_one_line(
    runs: tuple[Path, Path], other: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", other]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_half_upgraded_environment_is_told(
    runs: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("requirements.lock").write_text(
        f"numpy=={np.__version__}  # via x\npandas==0.1  # via y\nno-such-package==1.0\nyamllint==0.1\n"
    )
    line = find_unlike_lock(PACKAGES)
    assert f"pandas {pd.__version__} (not 0.1)" in line
    assert "numpy" not in line
    assert "no-such-package" not in line
    assert "pip install -r requirements.lock" in line
    assert main(["verify", "../there"]) == 1
    assert line in capsys.readouterr().out
    Path("requirements.lock").write_text("torch==2.13.0\n")
    monkeypatch.setattr(environment, "_installed", lambda name: "2.13.0+cpu")
    assert find_unlike_lock() == ""


def test_a_stamp_names_no_place_and_no_time(runs: tuple[Path, Path]) -> None:
    found = read_stamps(Path())["cluster"]
    assert found["device"] == "cpu"
    assert found["packages"]["numpy"] == np.__version__
    assert set(found) <= {"python", "system", "cpu", "cores", "packages", "device", "dtype", "threads", "gpu"}
    assert found == describe_environment({"device": "cpu", "dtype": "float32"})
