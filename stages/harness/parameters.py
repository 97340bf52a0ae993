"""What a stage declares in dvc.yaml: its parameters, with their values as DVC reads them, and its dependencies.

`dvc.api.params_show(stages=...)` gives the same (tests/stages/test_wiring.py compares them), but opens the whole
repository, which takes longer than many stages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dvc.utils.serialize import load_yaml

from descry.results.layout import read_yaml

_ITEM = re.compile(r"\$\{item\.\w+\}")


def read_declared(stage: str) -> dict[str, Any]:
    """The values in params.yaml that a stage declares in dvc.yaml, nested. stage: DVC's name, `name` or `name@item`."""
    return _select(load_yaml("params.yaml"), _list_declared(stage, "params"))


def read_dependencies(stage: str) -> list[str]:
    """The paths that a stage declares in dvc.yaml as dependencies."""
    return _list_declared(stage, "deps")


def _list_declared(stage: str, key: str) -> list[str]:
    name, _, item = stage.rpartition(":")[2].partition("@")
    return [_ITEM.sub(item, entry) for entry in read_yaml(Path("dvc.yaml"))["stages"][name].get(key, [])]


def _select(values: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """The values at dotted keys, nested as they were; missing keys are left out."""
    selected: dict[str, Any] = {}
    for section, _, rest in (key.partition(".") for key in keys):
        if not rest and section in values:
            selected[section] = values[section]
        elif isinstance(values.get(section), Mapping):
            selected[section] = selected.get(section, {}) | _select(values[section], [rest])
    return selected
