"""What a stage declares in dvc.yaml: its parameters as DVC reads them (what it does not declare is not there), and its
dependencies.

`dvc.api.params_show(stages=...)` gives the same (tests/test_wiring.py compares), but opens the whole repository for
it, which takes longer than many a stage.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from dvc.utils.serialize import load_yaml

_ITEM = re.compile(r"\$\{item\.\w+\}")


def read_declared(stage: str) -> dict[str, Any]:
    """The values in params.yaml that a stage declares in dvc.yaml. stage: as DVC calls it, `name` or `name@item`."""
    return _selected(load_yaml("params.yaml"), _listed(stage, "params"))


def read_dependencies(stage: str) -> list[str]:
    """The paths that a stage declares in dvc.yaml to depend on."""
    return _listed(stage, "deps")


def read_yaml(path: Path) -> Any:
    """What a file holds that says the same in both dialects of YAML; DVC's own reader takes ten times as long."""
    return yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe


def _listed(stage: str, key: str) -> list[str]:
    name, _, item = stage.rpartition(":")[2].partition("@")
    return [_ITEM.sub(item, entry) for entry in read_yaml(Path("dvc.yaml"))["stages"][name].get(key, [])]


def _selected(values: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """The values at dotted keys, nested as they were; a key that is not there is left out."""
    found: dict[str, Any] = {}
    for section, _, rest in (key.partition(".") for key in keys):
        if not rest and section in values:
            found[section] = values[section]
        elif isinstance(values.get(section), Mapping):
            found[section] = found.get(section, {}) | _selected(values[section], [rest])
    return found
