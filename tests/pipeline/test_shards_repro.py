"""Killed at any moment and started again, `extract` and `label` go on from the last whole shard, to the same bytes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from descry.activations.kept import read_kept
from descry.errors import InputError
from descry.schemas.generate import CANDIDATE_TABLE
from descry.schemas.split import SENTENCE_TABLE
from descry.schemas.vectors import VECTOR_ARRAYS
from descry.storage.arrays import read_arrays
from descry.storage.files import write_json
from descry.storage.tables import read_table, write_table
from descry.vocabulary.candidates import build_candidate_table
from tests.conftest import SEED
from tests.support.forks import Forks
from tests.support.projects import SMALL, change, clone, with_model

KILLS = 8
TRANSFERRED = ("sentences.parquet", "gold.parquet", "labels.safetensors", "activations.safetensors")
STAGES = {
    "extract calibration": ["data/activations/calibration.safetensors", "data/poolings/calibration/max.safetensors"],
    "label first": ["data/labels/first/calibration.safetensors", "data/labels/first/validation.safetensors"],
    "transfer": [f"data/transfer/{name}" for name in TRANSFERRED],
}
NAMES = ["battery", "price", "sound", "size"]


@pytest.fixture(scope="module")
def project(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with tiny models and small shards, in which all that the stages read is there."""
    folder, site = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("site")
    run = clone(folder, site, SMALL | with_model(tiny_bert) | {"runtime.shard": "20"})
    run("dvc", "repro", "-q", "models", "split")
    texts = read_table(folder / "data/sentences/calibration.parquet", SENTENCE_TABLE)["text"]
    found = [(row, name) for row, text in enumerate(texts) for name in NAMES if name in text]
    table = build_candidate_table(*np.array(found).T, np.ones(len(found)), np.zeros(len(found)), "test")
    write_table(folder / "data/candidates.parquet", table, CANDIDATE_TABLE)
    descriptors = [{"name": name, "members": [name], "sentences": 1} for name in NAMES]
    write_json(folder / "data/descriptors.json", {"descriptors": descriptors})
    return folder


@pytest.fixture(scope="module")
def forks(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    found = Forks(project, tmp_path_factory.mktemp("site"), list(STAGES))
    yield found
    found.close()


def emptied(folder: Path, files: list[str]) -> dict[str, bytes]:
    """The files' bytes; they are removed, as DVC does before a stage runs."""
    contents = {name: (folder / name).read_bytes() for name in files}
    for name in files:
        (folder / name).unlink()
    return contents


def written(folder: Path, files: list[str]) -> bool:
    """Whether a run had come to its end before it was killed."""
    return all((folder / name).exists() for name in files)


def shards_done(project: Path) -> int:
    """Sentences of whole shards that are kept."""
    found = {path: path.name == "kept.safetensors" for path in (project / ".shards").rglob("*.safetensors")}
    passed = sum(sum(read_kept(path)[1].values()) for path, kept in found.items() if kept)
    return passed + sum(len(read_arrays(path, VECTOR_ARRAYS)[0]["vectors"]) for path, kept in found.items() if not kept)


@pytest.mark.long
@pytest.mark.parametrize("stage", STAGES)
def test_killed_at_random_it_goes_on_to_the_same_bytes(
    project: Path, forks: Forks, stage: str, record_property: Callable[[str, object], None]
) -> None:
    assert forks.run(stage) == 0
    expected = emptied(project, STAGES[stage])
    start = time.perf_counter()
    assert forks.run(stage) == 0
    whole = time.perf_counter() - start
    assert emptied(project, STAGES[stage]) == expected
    generator, before, went_on = random.Random(f"{SEED} {stage}"), 0, 0

    def soon_after_a_shard() -> bool:
        try:
            return shards_done(project) > before
        except (InputError, FileNotFoundError):  # it came to its end just now, and nothing is kept any more
            return False

    for trial in range(KILLS):  # at any moment; and, so that some runs do go on, soon after another shard is kept
        moments = [(whole, lambda: True), (0.02, soon_after_a_shard)]
        longest, since = moments[trial % 2]
        while forks.run(stage, generator.uniform(0.0, longest), since) == 0 or written(project, STAGES[stage]):
            assert emptied(project, STAGES[stage]) == expected
            before = 0
        done = shards_done(project)
        assert done >= before
        went_on += 0 < before < done
        before = done
    assert forks.run(stage) == 0
    assert emptied(project, STAGES[stage]) == expected
    assert went_on > 0
    assert not (project / ".shards" / stage.replace(" ", "-")).exists()
    record_property("kills", KILLS)
    record_property("kills_lost", 0)  # or this test would have failed


@pytest.mark.long
@pytest.mark.parametrize("stage", STAGES)
def test_a_changed_parameter_reuses_no_shard(project: Path, forks: Forks, stage: str) -> None:
    parameters = (project / "params.yaml").read_text()
    for name in STAGES[stage]:
        (project / name).unlink(missing_ok=True)
    try:
        change(project, "runtime.batch_tokens", "64")
        assert forks.run(stage) == 0
        expected = emptied(project, STAGES[stage])
        (project / "params.yaml").write_text(parameters)
        generator = random.Random(f"{SEED} {stage}")
        while not shards_done(project):
            forks.run(stage, generator.uniform(0.0, 1.0))
        change(project, "runtime.batch_tokens", "64")
        assert forks.run(stage) == 0
        assert emptied(project, STAGES[stage]) == expected
    finally:
        (project / "params.yaml").write_text(parameters)
