"""What a change of the code reruns, as DVC sees it: no default that decides a result, and no column, goes unnoticed."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from dvc.repo import Repo

from descry.settings.base import Part
from tests.conftest import ROOT

ASKING = {"generate", "label@first", "label@second", "transfer", "describe", "judge"}
FETCHING = {"models@target", "models@dictionaries", "models@embedder", "models@llms"}
MODEL_PASSES = {"extract@calibration", "extract@validation", "controls", "tokens", "transfer", "ablate"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project as git sees it, with its dvc.lock and without its data."""
    folder = tmp_path_factory.mktemp("project") / "descry"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, text=True, capture_output=True, check=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def stages_that_see(folder: Path, file: str) -> set[str]:
    """The stages for which DVC says that a file of the code, or the folder that it lies in, is modified."""
    seen = set()
    with Repo(str(folder)) as repo:
        for stage, changes in repo.status().items():
            for change in changes:
                deps = change.get("changed deps", {}) if isinstance(change, dict) else {}
                if any(
                    what == "modified" and (file == dep or file.startswith(f"{dep}/")) for dep, what in deps.items()
                ):
                    seen.add(stage.rpartition(":")[2])
    return seen


def edit(path: Path, pattern: str, new: str) -> str:
    """Change what a pattern matches first; returns the text as it was."""
    text = path.read_text()
    changed = re.sub(pattern, new, text, count=1, flags=re.MULTILINE)
    assert changed != text, pattern
    path.write_text(changed)
    return text


def defaults() -> Iterator[tuple[str, str, str]]:
    """Module, class and name of every setting that params.yaml may leave out."""
    for path in sorted((ROOT / "descry/settings").glob("[a-z]*.py")):
        module = import_module(f"descry.settings.{path.stem}")
        for part in vars(module).values():
            if isinstance(part, type) and issubclass(part, Part) and part.__module__ == module.__name__:
                yield from (
                    (path.stem, part.__name__, name) for name in part.__annotations__ if has_default(part, name)
                )


def has_default(part: type[Part], name: str) -> bool:
    return name in part.model_fields and not part.model_fields[name].is_required()


@pytest.mark.long
@pytest.mark.parametrize(("module", "part", "name"), list(defaults()))
def test_another_default_reruns_every_stage_that_it_may_decide(
    project: Path, module: str, part: str, name: str
) -> None:
    file = f"descry/settings/{module}.py"
    assert not stages_that_see(project, file), "dvc.lock is out of step with the code: run `dvc repro`"
    before = edit(project / file, rf"^    {name}: (.+)$", rf"    {name}: \1  # another default")
    try:
        seen = stages_that_see(project, file)
    finally:
        (project / file).write_text(before)
    assert seen == {"models": FETCHING, "llms": ASKING}[module], f"{part}.{name}"


def test_a_new_column_reruns_its_producer_and_its_readers_and_no_model(project: Path) -> None:
    file = "descry/schemas/relations.py"
    before = edit(project / file, r'^(\s+)"other": "string",$', r'\1"other": "string",\n\1"extra": "double",')
    try:
        seen = stages_that_see(project, file)
    finally:
        (project / file).write_text(before)
    assert seen == {"relations", "report"}
    assert not seen & MODEL_PASSES
