"""What a stage ran in: kept beside the results, in no file that is hashed, and compared with requirements.lock."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Collection, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from descry.storage.files import read_json, write_json

FOLDER = Path(".environment")
REQUIREMENTS = Path("requirements.lock")
PACKAGES = (
    "numpy",
    "pandas",
    "pyarrow",
    "safetensors",
    "scikit-learn",
    "scipy",
    "sentence-transformers",
    "sentencex",
    "tokenizers",
    "torch",
    "transformers",
)
"""What results depend on besides our own code."""

_PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)


@cache
def _installed(package: str) -> str:
    """A package's version; "" where it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def describe_environment(runtime: Mapping[str, Any]) -> dict[str, Any]:
    """What this process runs in. runtime: the section of params.yaml, as far as the stage has it."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "packages": {name: _installed(name) for name in PACKAGES},
    }
    found |= {key: runtime[key] for key in ("device", "dtype") if key in runtime}
    torch = sys.modules.get("torch")
    if torch is not None:
        found["threads"] = torch.get_num_threads()
        if torch.cuda.is_initialized():
            found["gpu"] = torch.cuda.get_device_name()
    return found


def _cpu() -> str:
    """The processor's name."""
    try:
        named = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        named = None
    return named[1] if named else platform.processor()


def write_stamp(stage: str, runtime: Mapping[str, Any]) -> None:
    """Keep what the stage ran in."""
    write_json(FOLDER / f"{stage}.json", describe_environment(runtime))


def read_stamps(root: Path) -> dict[str, dict[str, Any]]:
    """What every stage last ran in, by stage."""
    return {path.stem: read_json(path) for path in sorted((root / FOLDER).glob("*.json"))}


def find_unlike_lock(packages: Collection[str] | None = None) -> str:
    """One line that names the installed packages (of those given; None: all) whose versions are not those of
    requirements.lock, and what to do; "" where there are none."""
    try:
        pins = dict(_PIN.findall(REQUIREMENTS.read_text(encoding="utf-8")))
    except OSError:
        return ""
    found = {name: _installed(name).partition("+")[0] for name in pins if packages is None or name in packages}
    other = [f"{name} {there} (not {pins[name]})" for name, there in found.items() if there not in ("", pins[name])]
    if not other:
        return ""
    return (
        f"installed otherwise than {REQUIREMENTS} says: {', '.join(other)}; results may differ: "
        f"run `pip install -r {REQUIREMENTS}`"
    )
