"""Applies a preset to params.yaml, whose comments and other keys stay: `make preset NAME=laptop`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from descry.errors import InputError
from descry.storage.files import replacing
from stages.harness.stage import run_stage

PRESETS, PARAMS = Path("presets"), Path("params.yaml")


def apply_preset(values: MutableMapping[str, Any], preset: Mapping[str, Any]) -> None:
    """Set every key of `preset`, mapping by mapping; all else stays, including how a list is written."""
    for key, value in preset.items():
        if isinstance(value, Mapping) and isinstance(values.get(key), MutableMapping):
            apply_preset(values[key], value)
        elif isinstance(value, list) and isinstance(values.get(key), list):
            values[key][:] = value
        else:
            values[key] = value


def main() -> None:
    presets = {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}
    name = " ".join(sys.argv[1:])
    if name not in presets:
        raise InputError(f"no preset {name!r}; choose one: make preset NAME=... (there: {', '.join(presets)})")
    path = presets[name]
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 1000
    yaml.representer.add_representer(
        type(None), lambda made, _: made.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    values = yaml.load(PARAMS)
    apply_preset(values, yaml.load(path))
    with replacing(PARAMS) as partial:
        yaml.dump(values, partial)
    print(f"applied {path} to params.yaml; see the changes with `git diff params.yaml`, run them with `dvc repro`")


if __name__ == "__main__":
    run_stage(main)
