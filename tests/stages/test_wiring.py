"""dvc.yaml, params.yaml, stages/ and descry/ belong together: what one reads, the other declares."""

import ast
import pkgutil
import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest
import yaml
from dvc.api import params_show
from dvc.utils.serialize import load_yaml

import descry.settings
from descry.settings.base import Part, Section
from descry.settings.parsing import parse_section
from stages.harness.parameters import read_declared
from tests.conftest import ROOT

SETTINGS = sorted(module.name for module in pkgutil.iter_modules(descry.settings.__path__))
for name in SETTINGS:
    import_module(f"descry.settings.{name}")  # every section is known only once its module is there


def all_parts(of: type[Part] = Part) -> list[type[Part]]:
    """Every model of settings."""
    return list(dict.fromkeys(part for sub in of.__subclasses__() for part in (sub, *all_parts(sub))))


WITH_DEFAULTS = {
    part.__module__ for part in all_parts() if any(not f.is_required() for f in part.model_fields.values())
}
"""Modules of settings whose defaults may decide a result: stages depend on them as on any other code."""
EMPTY = {str(path.relative_to(ROOT)) for path in ROOT.glob("[ds]*/**/__init__.py") if not path.stat().st_size}
# They hold paths and checks and can refuse an input, but never change a result.
NO_RESULT = {
    "descry/__init__.py",
    "descry/errors.py",
    "descry/results/layout.py",
    "stages/__init__.py",
    "stages/shared/checks.py",
    *(f"descry/settings/{name}.py" for name in SETTINGS if f"descry.settings.{name}" not in WITH_DEFAULTS),
    *(str(path.relative_to(ROOT)) for path in (ROOT / "stages/harness").glob("*.py")),
    *EMPTY,
}
IN_GIT = {"data/edits.yaml", "data/descriptions.csv"}
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
ROLES = STAGES["models"]["matrix"]["role"]
SECTIONS = Section.__subclasses__()
SECTION_NAMES = {section.section for section in SECTIONS}


def module_file(name: str) -> str | None:
    path = Path(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if (ROOT / candidate).is_file():
            return str(candidate)
    return None


def imports(file: str) -> set[str]:
    """Files of this project that a file imports."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / file).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found |= {module for name in names if (module := module_file(name))}
    return found


def closure(file: str) -> set[str]:
    seen, waiting = set(), [file]
    while waiting:
        current = waiting.pop()
        if current not in seen:
            seen.add(current)
            waiting += imports(current) if current not in NO_RESULT else []
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_the_code_that_it_runs(stage: str) -> None:
    code = {dep for dep in STAGES[stage]["deps"] if dep.startswith(("descry/", "stages/"))}
    reached = closure(f"stages/{stage}.py") - NO_RESULT
    uncovered = {file for file in reached if not any(file == dep or file.startswith(f"{dep}/") for dep in code)}
    assert not uncovered
    unused = {dep for dep in code if not any(file == dep or file.startswith(f"{dep}/") for file in reached)}
    assert not unused


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_the_parameters_that_it_reads(stage: str) -> None:
    source = (ROOT / "stages" / f"{stage}.py").read_text()
    by_name = {section.__name__: section for section in SECTIONS}
    read = [by_name[name] for name in re.findall(r"read_settings\((\w+)\)", source)]
    declared = {param.replace("${item.role}", role) for param in STAGES[stage].get("params", []) for role in ROLES}
    wholes, keys = {p for p in declared if p in SECTION_NAMES}, {p for p in declared if p not in SECTION_NAMES}
    assert {cls.section for cls in read} == wholes | {key.rpartition(".")[0] for key in keys}
    assert keys == {f"{c.section}.{key}" for c in read if c.section not in wholes for key in c.model_fields}


def test_no_stage_reads_parameters_behind_dvcs_back() -> None:
    for file in [*(ROOT / "stages").glob("[a-z]*.py"), *(ROOT / "stages/shared").glob("*.py")]:
        assert "yaml" not in file.read_text().replace("params.yaml", "").replace("edits.yaml", ""), file


def addresses(stage: str) -> list[str]:
    items = next(iter(STAGES[stage].get("matrix", {"": []}).values()))
    return [f"{stage}@{item}" for item in items] or [stage]


@pytest.fixture(scope="module")
def unlocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pipeline and its parameters without dvc.lock, which DVC would read every time, for seconds."""
    folder = tmp_path_factory.mktemp("unlocked")
    (folder / ".dvc").mkdir()
    for name in ("dvc.yaml", "params.yaml", ".dvc/config"):
        shutil.copy(ROOT / name, folder / name)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


@pytest.mark.parametrize("address", [addresses(stage)[0] for stage in STAGES] + addresses("models")[1:])
def test_a_stage_is_given_what_dvc_says_that_it_declares(
    unlocked: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(unlocked)
    assert read_declared(address) == params_show(stages=address)


def test_what_a_stage_does_not_declare_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  one:\n    matrix: {who: [x, y]}\n    cmd: run\n"
        "    params: [a, b.c, b.d, 'e.${item.who}', none, a.none, b.c.none]\n"
    )
    (tmp_path / "params.yaml").write_text("a: 1e-3\nb: {c: no, d: 010, hidden: 1}\ne: {x: 1, y: 2}\nhidden: 1\n")
    given = {"a": 1e-3, "b": {"c": "no", "d": 10}, "e": {"y": 2}}
    assert read_declared("one@y") == read_declared("../dvc.yaml:one@y") == given


def test_dependencies_point_one_way() -> None:
    for file in (ROOT / "descry").rglob("*.py"):
        relative = str(file.relative_to(ROOT))
        assert not any(module.startswith("stages/") for module in imports(relative)), relative
        assert "dvc" not in re.findall(r"^\s*(?:import|from) (\w+)", file.read_text(), re.MULTILINE), relative


WINGS = (
    *({"errors"}, {"splits"}, {"assignment"}, {"storage"}, {"schemas"}, {"settings"}, {"corpus"}, {"results"}),
    *({"compute"}, {"models"}, {"activations"}, {"embedding", "llm", "ablation"}, {"vocabulary"}, {"labelling"}),
    *({"evaluation"}, {"analyses", "judging"}, {"report"}, {"cli"}),
)
"""The library from the ground up: each wing may import from itself and from those before it."""


def test_every_wing_imports_only_from_those_below_it() -> None:
    floor = {wing: number for number, wings in enumerate(WINGS) for wing in wings}
    for file in (ROOT / "descry").glob("*/**/*.py"):
        wing = file.relative_to(ROOT / "descry").parts[0]
        for module in imports(str(file.relative_to(ROOT))) - {"descry/__init__.py"}:
            other = Path(module).parts[1].removesuffix(".py")
            assert other == wing or floor[other] < floor[wing], f"{file.relative_to(ROOT)} imports {module}"


def test_only_stages_that_measure_or_show_may_read_gold() -> None:
    readers = {name for name, stage in STAGES.items() if any("data/gold" in dep for dep in stage["deps"])}
    assert readers == {"evaluate", "resplit", "sweep", "replicate", "report"}


def test_a_stage_stands_after_those_whose_outputs_it_reads() -> None:
    made: list[str] = []
    for name, stage in STAGES.items():
        read = [dep for dep in stage["deps"] if dep.startswith(("data/", "report")) and dep not in IN_GIT]
        for dep in read:
            path = re.sub(r"\$\{item\.\w+\}", "", dep).rstrip("/")
            assert any(path.startswith(out) or out.startswith(path) for out in made), f"{name}: {dep}"
        outs = [next(iter(out)) if isinstance(out, dict) else out for out in stage.get("outs", [])]
        made += [re.sub(r"\$\{item\.\w+\}.*", "", out).rstrip("/") for out in outs]


def test_heavy_stages_have_cached_outs_only() -> None:
    for name, stage in STAGES.items():
        uncached = [out for out in stage.get("outs", []) if not isinstance(out, str)]
        assert not uncached or len(uncached) == len(stage["outs"]), name
        assert not stage.get("metrics") or uncached, name


def test_both_yaml_dialects_read_params_alike() -> None:
    assert yaml.safe_load((ROOT / "params.yaml").read_text()) == load_yaml(str(ROOT / "params.yaml"))


def test_params_yaml_has_every_section_and_each_is_valid() -> None:
    values = load_yaml(str(ROOT / "params.yaml"))
    assert set(values) == {name.partition(".")[0] for name in SECTION_NAMES}
    assert set(values["models"]) == set(ROLES)
    for section in SECTIONS:
        parse_section(section, values)
    asked = {name.partition(".")[0] for stage in STAGES.values() for name in stage.get("params", [])}
    assert asked == set(values)
