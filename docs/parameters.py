"""Writes docs/parameters.md; run by `make docs`."""

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

import descry.settings
from descry.settings.base import Section

for _module in pkgutil.iter_modules(descry.settings.__path__):
    import_module(f"descry.settings.{_module.name}")  # a section is known only once its module is imported


def document() -> str:
    """Every key of params.yaml with its bounds and meaning, in the order of params.yaml."""
    lines = ["# Settings", "", "The keys of `params.yaml`, generated from descry/settings/ by `make docs`.", ""]
    sections: dict[str, list[type[Section]]] = {}
    for section in Section.__subclasses__():
        sections.setdefault(section.section, []).append(section)
    order = list(yaml.safe_load(Path("params.yaml").read_text()))
    for name in sorted(sections, key=lambda name: (order.index(name.partition(".")[0]), name)):
        lines += [f"## {name}", ""]
        for part in sections[name]:
            lines += [part.__doc__ or "", ""]
            lines += [*_table(name, part.model_json_schema()), ""]
    return "\n".join(lines)


def _table(section: str, schema: Mapping[str, Any]) -> list[str]:
    rows = []
    for key, rule in schema["properties"].items():
        rows.append(_row(f"{section}.{key}", rule))
        rows += _rows(f"{section}.{key}", schema.get("$defs", {}).get(rule.get("$ref", "").rpartition("/")[2], {}))
    if schema["additionalProperties"]:
        for kind in schema["$defs"].values():
            rows += [f"| `{section}.NAME` | see below | {kind['description']} |", *_rows(f"{section}.NAME", kind)]
    return ["| key | values | meaning |", "| --- | --- | --- |", *rows]


def _rows(prefix: str, schema: Mapping[str, Any]) -> list[str]:
    return [_row(f"{prefix}.{name}", rule) for name, rule in schema.get("properties", {}).items()]


def _row(key: str, rule: Mapping[str, Any]) -> str:
    text = " ".join(rule.get("description", "").replace("|", "\\|").split())
    if "default" in rule:
        shown = {"": '""', None: "null"}.get(rule["default"], rule["default"]) if rule["default"] != {} else "{}"
        text += f" Default: `{shown}`."
    return f"| `{key}` | {_values(rule).replace('|', chr(92) + '|')} | {text} |"


def _values(rule: Mapping[str, Any]) -> str:
    """A JSON schema's bounds in words."""
    if "$ref" in rule:
        return "see below"
    if "anyOf" in rule:
        return " or ".join(_values(option) for option in rule["anyOf"])
    if "const" in rule:
        return f"`{rule['const']}`"
    if "enum" in rule:
        return ", ".join(f"`{value}`" for value in rule["enum"])
    if rule["type"] == "boolean":
        return "`true`, `false`"
    if rule["type"] == "array":
        return f"list of: {_values(rule['items'])}"
    names = {"object": "mapping", "string": "text", "integer": "whole number", "number": "number", "null": "`null`"}
    bounds = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "above", "exclusiveMaximum": "below"}
    said = [f"{word} {rule[bound]:g}" for bound, word in bounds.items() if bound in rule]
    pattern = [f"matching `{rule['pattern']}`"] if "pattern" in rule else []
    return ", ".join([names[rule["type"]], *said, *pattern])


if __name__ == "__main__":
    print(document(), end="")
