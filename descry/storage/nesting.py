"""Convert nested mappings to dotted names, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flatten(measures: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested measures or settings to a single mapping with dotted names."""
    out: dict[str, Any] = {}
    for name, value in measures.items():
        out |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return out


def nest(measures: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    out: dict[str, Any] = {}
    for name, value in measures.items():
        *path, last = name.split(".")
        here = out
        for part in path:
            here = here.setdefault(part, {})
        here[last] = value
    return out
