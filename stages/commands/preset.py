"""A ready configuration laid over params.yaml, whose comments and other keys stay: `make preset NAME=laptop`."""

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


def laid_over(values: MutableMapping[str, Any], preset: Mapping[str, Any]) -> None:
    """Set every key of `preset`, mapping by mapping; all else stays, the way that a list is written in included."""
    for key, value in preset.items():
        if isinstance(value, Mapping) and isinstance(values.get(key), MutableMapping):
            laid_over(values[key], value)
        elif isinstance(value, list) and isinstance(values.get(key), list):
            values[key][:] = value
        else:
            values[key] = value


def main() -> None:
    presets = {path.stem: path for path in sorted(PRESETS.glob("*.yaml"))}
    name = " ".join(sys.argv[1:])
    if name not in presets:
        raise InputError(f"no preset {name!r}; say which: make preset NAME=... (there: {', '.join(presets)})")
    path = presets[name]
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 1000
    yaml.representer.add_representer(
        type(None), lambda made, _: made.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    values = yaml.load(PARAMS)
    laid_over(values, yaml.load(path))
    with replacing(PARAMS) as partial:
        yaml.dump(values, partial)
    print(f"{path} is laid over params.yaml; see it with `git diff params.yaml`, run it with `dvc repro`")


if __name__ == "__main__":
    run_stage(main)
