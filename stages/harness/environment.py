"""The environment that each stage ran in, kept outside the hashed results, and compared with requirements.lock."""

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
"""Packages that results depend on."""

_PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)


@cache
def _installed(package: str) -> str:
    """The installed version of a package; "" if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def describe_environment(runtime: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the environment of this process. runtime: the section `runtime`, as far as the stage declares it."""
    environment: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _find_cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "packages": {name: _installed(name) for name in PACKAGES},
    }
    environment |= {key: runtime[key] for key in ("device", "dtype") if key in runtime}
    torch = sys.modules.get("torch")
    if torch is not None:
        environment["threads"] = torch.get_num_threads()
        if torch.cuda.is_initialized():
            environment["gpu"] = torch.cuda.get_device_name()
    return environment


def _find_cpu() -> str:
    """The processor's name."""
    try:
        named = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        named = None
    return named[1] if named else platform.processor()


def write_stamp(stage: str, runtime: Mapping[str, Any]) -> None:
    """Write the environment of this process as that of the stage."""
    write_json(FOLDER / f"{stage}.json", describe_environment(runtime))


def read_stamps(root: Path) -> dict[str, dict[str, Any]]:
    """The environment that every stage last ran in, by stage."""
    return {path.stem: read_json(path) for path in sorted((root / FOLDER).glob("*.json"))}


def find_unlike_lock(packages: Collection[str] | None = None) -> str:
    """One line that names the installed packages whose versions differ from requirements.lock, and what to do; "" if
    there are none. packages: those to look at; None: all."""
    try:
        pins = dict(_PIN.findall(REQUIREMENTS.read_text(encoding="utf-8")))
    except OSError:
        return ""
    installed = {name: _installed(name).partition("+")[0] for name in pins if packages is None or name in packages}
    unlike = [f"{name} {has} (not {pins[name]})" for name, has in installed.items() if has not in ("", pins[name])]
    if not unlike:
        return ""
    return (
        f"installed versions differ from {REQUIREMENTS}: {', '.join(unlike)}; results may differ: "
        f"run `pip install -r {REQUIREMENTS}`"
    )
