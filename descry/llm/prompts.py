"""Prompts: text with named fields, filled in one pass, so that a value is never read as a field."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from descry.errors import InputError

LONGEST = 2000
"""Most characters of a sentence in a prompt."""

_FIELD = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Prompt:
    """A text with fields: lower-case letters and underscores in braces, `{field}`."""

    text: str

    @classmethod
    def parse(cls, text: str, fields: Collection[str], file: str) -> Prompt:
        """Parse a prompt that has exactly `fields`. Errors: InputError that names `file`."""
        present = set(_FIELD.findall(text))
        for name in sorted(set(fields) - present):
            raise InputError(f"{file}: the prompt has no {{{name}}}; it needs {_list_fields(fields)}")
        for name in sorted(present - set(fields)):
            raise InputError(
                f"{file}: the prompt has a field {{{name}}} that nothing fills; it may have {_list_fields(fields)}"
            )
        return cls(text.strip())

    def fill(self, **values: str) -> str:
        """Replace every field by its value."""
        return _FIELD.sub(lambda field: values[field[1]], self.text)


def _list_fields(fields: Collection[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(fields))


def quote(sentence: str) -> str:
    """Put a sentence on one line, cut to LONGEST characters, for a prompt."""
    return " ".join(sentence.split())[:LONGEST]
