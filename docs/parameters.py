"""Writes docs/parameters.md; run by `make docs`."""

from collections.abc import Mapping
from typing import Any

from descry.settings import Section


def document() -> str:
    """Every key of params.yaml with its bounds and meaning, out of descry/settings.py."""
    lines = ["# Parameters", "", "Made by `make docs` from descry/settings.py.", ""]
    for section in Section.__subclasses__():
        lines += [
            f"## {section.section}",
            "",
            section.__doc__ or "",
            "",
            "| key | values | meaning |",
            "| --- | --- | --- |",
        ]
        schema = section.model_json_schema()
        for key, rule in schema["properties"].items():
            lines.append(_row(f"{section.section}.{key}", rule, schema))
            inner = schema.get("$defs", {}).get(rule.get("$ref", "").rpartition("/")[2], {})
            lines += [
                _row(f"{section.section}.{key}.{name}", part, schema)
                for name, part in inner.get("properties", {}).items()
            ]
        lines.append("")
    return "\n".join(lines)


def _row(key: str, rule: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    text = rule.get("description", "").replace("|", "\\|")
    return f"| `{key}` | {_values(rule).replace('|', chr(92) + '|')} | {text} |"


def _values(rule: Mapping[str, Any]) -> str:
    """A JSON schema's bounds in words."""
    if "$ref" in rule:
        return "see below"
    if "anyOf" in rule:
        return " or ".join(_values(option) for option in rule["anyOf"])
    if "enum" in rule:
        return ", ".join(f"`{value}`" for value in rule["enum"])
    if rule["type"] == "array":
        return f"list of: {_values(rule['items'])}"
    names = {"string": "text", "integer": "whole number", "number": "number", "null": "`null`"}
    bounds = {"minimum": "at least", "maximum": "at most", "exclusiveMinimum": "above", "exclusiveMaximum": "below"}
    said = [f"{word} {rule[bound]:g}" for bound, word in bounds.items() if bound in rule]
    pattern = [f"matching `{rule['pattern']}`"] if "pattern" in rule else []
    return ", ".join([names[rule["type"]], *said, *pattern])


if __name__ == "__main__":
    print(document(), end="")
