"""Damage of every kind to every kind of file: noticed before use, named, and healed by a pull or a rerun."""

import importlib
import json
import logging
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.utils.serialize import load_yaml

from descry.__main__ import main
from descry.errors import InputError
from descry.llm.cache import AnswerCache
from descry.llm.client import Answer
from descry.models.fetch import Origin, fetch, hash_files
from descry.schemas.vectors import VECTOR_ARRAYS
from descry.storage.arrays import read_arrays, write_arrays
from stages.harness.recorded import find_cache, find_object, read_entries, read_expected
from stages.harness.stage import _read_declared, run_stage
from tests.support.projects import SMALL, Shell, change, clone, environment, with_model

PIPELINE = (
    *("models@target", "models@dictionaries", "models@embedder", "models@llms", "split", "generate", "cluster"),
    *("label@first", "extract@calibration", "assign@calibration"),
)


def flipped(content: bytes) -> bytes:
    at = len(content) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


KINDS: dict[str, Callable[[bytes], bytes]] = {
    "a bit flipped": flipped,
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
}


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as found:
        yield found


@pytest.fixture(scope="module")
def run(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch) -> Shell:
    """Commands in a clone that some stages have run in, its results committed and pushed to a folder."""
    folder, site = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("site")
    found = clone(folder, site, SMALL | with_model(tiny_bert))
    for name, value in environment(site).items():
        patch.setenv(name, value)
    patch.chdir(folder)
    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    for name in PIPELINE:
        assert stage(name) == 0
    with Repo() as repo:
        for name in PIPELINE:
            repo.commit(target=name, force=True)
    found("dvc", "remote", "add", "-q", "-d", "store", str(tmp_path_factory.mktemp("store")))
    found("dvc", "remote", "modify", "-q", "store", "verify", "true")
    found("dvc", "push", "-q")
    found("git", "add", "-A")
    found("git", "commit", "-qm", "run")
    return found


def stage(name: str) -> int:
    """Run a stage as DVC does, but in this process; its exit code."""
    module, _, item = name.partition("@")
    with pytest.MonkeyPatch.context() as own:
        own.setattr(sys, "argv", [module, *filter(None, [item])])
        own.setenv("DVC_STAGE", name)
        _read_declared.cache_clear()
        try:
            run_stage(importlib.import_module(f"stages.{module}").main)
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            _read_declared.cache_clear()
    return 0


@contextmanager
def damaged(path: Path, kind: str) -> Iterator[bytes]:
    """A file damaged where it lies, its time kept (and where a bit is flipped its size); gives what it held."""
    content, before = path.read_bytes(), path.stat()
    path.chmod(0o644)
    path.write_bytes(KINDS[kind](content))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.chmod(before.st_mode)
    try:
        yield content
    finally:
        if not path.exists() or path.read_bytes() != content:
            path.unlink(missing_ok=True)
            path.write_bytes(content)
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def cache_object(path: Path) -> Path:
    """Where the cache holds what a result of the project holds."""
    cache, names = find_cache(), dict[Path, str]()
    for out in read_entries(Path(), "outs"):
        names |= {out.path: out.md5} | read_expected(out, cache)
    return find_object(cache, names[path])


def assert_pulled(path: Path, target: str, content: bytes) -> None:
    """What was taken away comes back."""
    assert not path.exists()
    with Repo() as repo:
        repo.pull(targets=[target])
    assert path.read_bytes() == content


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    done = capsys.readouterr()
    assert "Traceback" not in done.out + done.err
    return [line for line in (done.out + done.err).splitlines() if line]


READ = {
    "data/models/target/model.safetensors": "extract@calibration",
    "data/models/target/config.json": "extract@calibration",
    "data/models/target/tokenizer.json": "extract@calibration",
    "data/models/target/tokenizer_config.json": "extract@calibration",
    "data/models/target/manifest.json": "extract@calibration",
    "data/models/embedder/model.safetensors": "label@first",
    "data/models/llms/names.json": "generate",
    "data/sentences/calibration.parquet": "extract@calibration",
    "data/candidates.parquet": "cluster",
    "data/answers.parquet": "",
    "data/gold/calibration.parquet": "evaluate",
    "data/descriptors.json": "label@first",
    "data/labels/first/calibration.safetensors": "assign@calibration",
    "data/activations/calibration.safetensors": "assign@calibration",
    "data/poolings/calibration/max.safetensors": "sweep",
    "data/assignments/calibration.parquet": "associate",
}
"""A result of every kind, and a stage that reads it ("": only people do)."""


@pytest.mark.long
@pytest.mark.parametrize("name", READ)
def test_no_stage_reads_a_damaged_result(
    run: Shell, name: str, capsys: pytest.CaptureFixture[str], record_property: Callable[..., None]
) -> None:
    path = Path(name)
    for kind in KINDS if READ[name] else ():
        with damaged(path, kind):
            capsys.readouterr()
            assert stage(READ[name]) == 1
            (line,) = lines(capsys)
            assert line.startswith(f"descry: {name}: damaged")
            assert "verify --heal" in line
    with damaged(path, "a bit flipped") as content:
        assert main(["verify", "--heal"]) == 1
        assert [line for line in lines(capsys) if line.startswith(f"{name}: ")]
        assert_pulled(path, name, content)
    record_property("damages", len(KINDS) if READ[name] else 1)
    record_property("damages_unnoticed", 0)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["data/sentences/calibration.parquet", "data/sentences"])
def test_a_damaged_object_of_the_cache_is_named_and_pulled_again(
    run: Shell, name: str, kind: str, capsys: pytest.CaptureFixture[str], record_property: Callable[..., None]
) -> None:
    path = cache_object(Path(name))
    with damaged(path, kind) as content:
        assert main(["verify", "--heal"]) == 1
        assert [line for line in lines(capsys) if line.endswith(f"damaged object of the cache, of {name}")]
        assert_pulled(path, name, content)
        record_property("damages", 1)
        record_property("damages_unnoticed", 0)


def test_a_damaged_object_that_was_checked_out_is_read_by_no_stage(
    run: Shell, capsys: pytest.CaptureFixture[str], record_property: Callable[..., None]
) -> None:
    path = Path("data/descriptors.json")
    with damaged(cache_object(path), "a bit flipped") as content:
        path.unlink()
        with Repo() as repo:
            repo.checkout(targets=[str(path)], force=True)
        assert path.read_bytes() == flipped(content)  # DVC trusts its cache
        capsys.readouterr()
        assert stage("label@first") == 1
        assert str(path) in "".join(lines(capsys))
        assert main(["verify", "--heal"]) == 1
        done = run("dvc", "repro", "-s", "cluster")
        assert "Running stage 'cluster'" in done.stdout
        assert path.read_bytes() == content
        record_property("damages", 1)
        record_property("damages_unnoticed", 0)


def test_a_damaged_object_of_a_remote_is_not_taken_and_pushed_again(
    run: Shell, record_property: Callable[..., None]
) -> None:
    path = Path("data/descriptors.json")
    own, content = cache_object(path), path.read_bytes()
    with Repo() as repo:
        there = Path(repo.cloud.get_remote().odb.oid_to_path(own.parent.name + own.name))
    path.unlink()
    own.unlink()
    for kind in KINDS:
        with damaged(there, kind), Repo() as repo:
            with pytest.raises(DvcException) as caught:
                repo.pull(targets=[str(path)])
            assert str(path) in str(caught.value)
            assert not path.exists()
    there.unlink()
    run("dvc", "repro", "-s", "cluster")
    assert path.read_bytes() == content
    run("dvc", "push", "-q", "cluster")
    assert there.read_bytes() == content
    record_property("damages", len(KINDS))
    record_property("damages_unnoticed", 0)


@pytest.mark.long
@pytest.mark.parametrize("name", ["data/reviews.jsonl", "data/edits.yaml", "prompts/generate.txt"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_input_is_named_and_git_has_it(
    run: Shell, name: str, kind: str, capsys: pytest.CaptureFixture[str], record_property: Callable[..., None]
) -> None:
    path = Path(name)
    with damaged(path, kind) as content:
        assert main(["verify"]) == 1
        assert [line for line in lines(capsys) if line.startswith(f"{name}: ") and f"git checkout {name}" in line]
        assert name in run("git", "status", "--porcelain").stdout
        run("git", "checkout", name)
        assert path.read_bytes() == content
        record_property("damages", 1)
        record_property("damages_unnoticed", 0)


def entry(values: Any, key: str) -> Any:
    """What stands under a dotted key, None where nothing does."""
    for name in key.split("."):
        values = values.get(name) if isinstance(values, dict) else None
    return values


def acted_on(name: str, lock: dict[str, Any]) -> Any:
    """What DVC acts on: of params.yaml what the finished stages read, of dvc.lock all but the sizes."""
    values = load_yaml(name)
    if name == "params.yaml":
        read = [
            (stage, key) for stage, found in lock["stages"].items() for key in found.get("params", {}).get(name, [])
        ]
        return {(stage, key): entry(values, key) for stage, key in read}
    return json.loads(json.dumps(values), object_hook=lambda found: {k: v for k, v in found.items() if k != "size"})


@pytest.mark.long
@pytest.mark.parametrize("name", ["params.yaml", "dvc.lock"])
def test_dvc_sees_every_bit_of_its_own_files(run: Shell, name: str, record_property: Callable[..., None]) -> None:
    path, generator = Path(name), random.Random(name)
    content, lock = path.read_bytes(), load_yaml("dvc.lock")
    values = acted_on(name, lock)
    with Repo() as repo:
        before = repo.status()
    unnoticed, told = 0, []
    contents = [b"", content[: len(content) // 2]]
    for _ in range(8):
        place = generator.randrange(len(content))
        contents.append(content[:place] + bytes([content[place] ^ 1 << generator.randrange(8)]) + content[place + 1 :])
    try:
        for damage in contents:
            path.write_bytes(damage)
            try:
                with Repo() as repo:
                    unnoticed += repo.status() == before and acted_on(name, lock) != values
            except (DvcException, ValueError) as error:
                told.append(str(error))
            except NotImplementedError:  # of a hash whose name was damaged, which DVC does not know: without a word
                assert name == "dvc.lock"
    finally:
        path.write_bytes(content)
    record_property("damages", len(contents))
    record_property("damages_unnoticed", unnoticed)
    assert unnoticed == 0
    assert all(name in line or "dvc.yaml" in line for line in told), told  # a lost key is told where it is wanted


def everywhere(content: bytes) -> Iterator[bytes]:
    """The content with one bit flipped at each of some 200 places, truncated, and empty."""
    generator = random.Random(0)
    for at in range(0, len(content), max(1, len(content) // 200)):
        yield content[:at] + bytes([content[at] ^ 1 << generator.randrange(8)]) + content[at + 1 :]
    yield content[: len(content) // 2]
    yield b""


def test_a_kept_shard_with_a_flipped_bit_is_done_again(tmp_path: Path, record_property: Callable[..., None]) -> None:
    path = tmp_path / "kept.safetensors"
    vectors = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    write_arrays(path, {"vectors": vectors}, VECTOR_ARRAYS, {"done": [[0, 20]]})
    contents = list(everywhere(path.read_bytes()))
    unnoticed, told = 0, []
    for damage in contents:
        path.write_bytes(damage)
        try:
            arrays, meta = read_arrays(path, VECTOR_ARRAYS)
        except InputError as error:
            told.append(str(error))
            continue
        unnoticed += not np.array_equal(arrays["vectors"], vectors) or meta != {"done": [[0, 20]]}
    record_property("damages", len(contents))
    record_property("damages_unnoticed", unnoticed)
    assert unnoticed == 0
    assert all(str(path) in line for line in told)


def test_a_damaged_answer_is_asked_again(tmp_path: Path, record_property: Callable[..., None]) -> None:
    answers = {bytes([number]) * 32: Answer(f"answer {number}" * 20, None, (1, 2)) for number in range(60)}
    cache = AnswerCache(tmp_path / "sound")
    cache.write(answers)
    cache.close()
    contents = list(everywhere((tmp_path / "sound/answers.sqlite").read_bytes()))
    unnoticed, told = 0, []
    for damage in contents:
        folder = tmp_path / "damaged"
        folder.mkdir()
        (folder / "answers.sqlite").write_bytes(damage)
        try:
            cache = AnswerCache(folder)
            found = cache.read(list(answers))
            unnoticed += any(answers[key] != answer for key, answer in found.items())
            cache.write(answers)
            assert cache.read(list(answers)) == answers
            cache.close()
        except InputError as error:
            told.append(str(error))
        shutil.rmtree(folder)
    record_property("damages", len(contents))
    record_property("damages_unnoticed", unnoticed)
    assert unnoticed == 0
    assert all("answers.sqlite" in line and "move it away" in line for line in told)


def test_damaged_files_at_their_source_are_refused(
    run: Shell, tmp_path: Path, capsys: pytest.CaptureFixture[str], record_property: Callable[..., None]
) -> None:
    shutil.copytree("data/models/target", tmp_path / "source")
    weights = tmp_path / "source/model.safetensors"
    parameters = Path("params.yaml").read_text()
    try:
        change(Path(), "models.embedder.source", str(tmp_path / "source"))
        change(Path(), "models.embedder.sha256", hash_files(fetch(Origin(str(tmp_path / "source")), tmp_path / "copy")))
        for kind in KINDS:
            for file in (weights, tmp_path / "source/tokenizer_config.json"):
                with damaged(file, kind):
                    capsys.readouterr()
                    assert stage("models@embedder") == 1
                    assert file.name in lines(capsys)[0]
                record_property("damages", 1)
                record_property("damages_unnoticed", 0)
    finally:
        Path("params.yaml").write_text(parameters)
        with Repo() as repo:
            repo.checkout(targets=["data/models/embedder"], force=True)
