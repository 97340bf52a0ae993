"""The ready configurations: laid over params.yaml they are valid, and leave all else as it was."""

from __future__ import annotations

import difflib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import load_yaml, modify_yaml

from descry.settings.parsing import parse_section
from descry.storage.nesting import flatten
from tests.conftest import ROOT
from tests.support.modules import list_sections

PRESETS = sorted(path.stem for path in (ROOT / "presets").glob("*.yaml"))
PARAMS = (ROOT / "params.yaml").read_text()


def applied(folder: Path, *names: str) -> subprocess.CompletedProcess[str]:
    if not (folder / "params.yaml").exists():
        (folder / "params.yaml").write_text(PARAMS)
        (folder / "presets").symlink_to(ROOT / "presets")
    command = [sys.executable, "-m", "stages.commands.preset", *names]
    done = subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, text=True, capture_output=True, check=False
    )
    return done


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_changes_just_its_keys_and_is_valid(tmp_path: Path, name: str) -> None:
    assert applied(tmp_path, name).returncode == 0
    changed, before = load_yaml(str(tmp_path / "params.yaml")), load_yaml(str(ROOT / "params.yaml"))
    for section in list_sections():
        parse_section(section, changed)
    preset = flatten(load_yaml(str(ROOT / "presets" / f"{name}.yaml")))
    empty: dict[str, Any] = {"llms": {}, "models.llms": {}}
    assert flatten(changed) == {**{key: value for key, value in flatten(before).items() if key not in empty}, **preset}
    text = (tmp_path / "params.yaml").read_text()
    assert text.count("#") == PARAMS.count("#")
    touched = [line for line in difflib.ndiff(PARAMS.splitlines(), text.splitlines()) if line.startswith("-")]
    assert len(touched) <= len(preset) + 2  # `{}` becomes a mapping
    applied(tmp_path, name)
    assert (tmp_path / "params.yaml").read_text() == text


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_lies_over_what_dvc_has_written_anew(tmp_path: Path, name: str) -> None:
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "presets").symlink_to(ROOT / "presets")
    with modify_yaml(str(tmp_path / "params.yaml")) as values:  # as `dvc exp run -S` does
        values["split"]["text_field"] = "body"
    assert applied(tmp_path, name).returncode == 0
    changed = load_yaml(str(tmp_path / "params.yaml"))
    for section in list_sections():
        parse_section(section, changed)
    assert changed["split"]["text_field"] == "body"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_names_only_models_that_it_defines(name: str) -> None:
    preset = load_yaml(str(ROOT / "presets" / f"{name}.yaml"))
    llms, weights = preset.get("llms", {}), preset.get("models", {}).get("llms", {})
    asked = preset.get("label", {}).get("prompted", {}).get("llm", "")
    used = {*preset.get("generate", {}).get("generators", []), asked} - {"retrieval", ""}
    assert used <= set(llms)
    assert set(weights) == {llm for llm, entry in llms.items() if entry["client"] == "transformers"}


def test_the_papers_preset_is_the_papers() -> None:
    preset = load_yaml(str(ROOT / "presets" / "paper.yaml"))
    assert preset["models"]["target"]["source"] == "google-bert/bert-base-uncased"
    assert len(preset["models"]["target"]["revision"]) == 40
    assert preset["generate"]["generators"] == ["flan", "oasst"]
    assert preset["assign"]["rule"] == "composition"


@pytest.mark.parametrize("names", [(), ("nowhere",), ("laptop", "paper"), ("../params",)])
def test_a_preset_that_is_not_there_is_named_and_nothing_changes(tmp_path: Path, names: tuple[str, ...]) -> None:
    done = applied(tmp_path, *names)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "(there: decoder, gpu, laptop, paper, smollm)" in done.stderr
    assert (tmp_path / "params.yaml").read_text() == PARAMS


def test_the_docs_show_the_prompts_as_they_are() -> None:
    shown = (ROOT / "docs" / "llms.md").read_text()
    for path in sorted((ROOT / "prompts").glob("*.txt")):
        assert f"`prompts/{path.name}`" in shown
        assert f"```text\n{path.read_text().strip()}\n```" in shown


def test_the_docs_say_what_was_measured() -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "llm.json").read_text())
    shown = (ROOT / "docs" / "llms.md").read_text()
    for name in ("list", "each", "distil", "distil_200000", "generate"):
        figures = [found[f"{what}_per_1000"][name] for what in ("calls", "tokens", "answer_tokens")]
        assert f"| {' | '.join(f'{figure:,.0f}' for figure in figures)} |" in shown
    assert f"**{found['concurrency_speedup']:.1f} times** faster at {found['concurrency']}" in shown
