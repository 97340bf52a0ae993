"""Prompts: plain text with named fields, filled in one pass, so that what is filled in is never read as a field."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from descry.errors import InputError

LONGEST = 2000
"""Characters of a sentence that a prompt takes."""

_THOUGHT = re.compile(r"<think>.*?(?:</think>|$)", re.DOTALL | re.IGNORECASE)
_FIELD = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True)
class Prompt:
    """A text in which every `{field}`, lower-case letters and underscores in braces, is filled in."""

    text: str

    @classmethod
    def parse(cls, text: str, fields: Collection[str], file: str) -> Prompt:
        """A prompt that holds every one of `fields` and no other. Errors: InputError that names `file`."""
        found = set(_FIELD.findall(text))
        for name in sorted(set(fields) - found):
            raise InputError(f"{file}: the prompt has no {{{name}}}; it needs {_listed(fields)}")
        for name in sorted(found - set(fields)):
            raise InputError(
                f"{file}: the prompt has a field {{{name}}} that nothing fills; it may have {_listed(fields)}"
            )
        return cls(text.strip())

    def filled(self, **values: str) -> str:
        """The text with every field replaced by its value."""
        return _FIELD.sub(lambda field: values[field[1]], self.text)


def _listed(fields: Collection[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(fields))


def strip_thoughts(answer: str) -> str:
    """An answer without what a model thought aloud before it, between <think> and </think>."""
    return _THOUGHT.sub(" ", answer).strip()


def quote(sentence: str) -> str:
    """A sentence as a prompt takes it: on one line, cut to LONGEST characters."""
    return " ".join(sentence.split())[:LONGEST]
