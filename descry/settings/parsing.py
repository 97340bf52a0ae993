"""Validates sections of params.yaml and hand edits of the vocabulary; whatever is wrong is one line."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from descry.errors import InputError
from descry.settings.base import Section
from descry.settings.llms import Llms
from descry.settings.text import Edits

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100
_SHORT.maxlevel = 2
S = TypeVar("S", bound=Section)


def parse_edits(text: str, file: str) -> Edits:
    """Validate the YAML text of hand edits. Errors: InputError, one line that begins with `file`."""
    try:
        return Edits.model_validate(YAML(typ="safe", pure=True).load(text) or {})
    except YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        place, why = f", line {mark.line + 1}" if mark else "", f" ({problem.splitlines()[0]})" if problem else ""
        raise InputError(f"{file}{place}: not YAML that can be read{why}; correct it") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'the file'}{_describe(fault)}" for fault in error.errors()]
        raise InputError(f"{file}: {'; '.join(faults)}") from None
    except (ValueError, RecursionError) as error:  # a date that is none, lists within lists without end
        raise InputError(f"{file}: not YAML that can be read ({str(error).splitlines()[0]}); correct it") from None


def parse_section(section: type[S], values: Mapping[str, Any]) -> S:
    """Validate one section of params.yaml. values: all of params.yaml. Errors: InputError, one line with every fault.

    Several classes may share a section: each takes its own keys, and refuses those that none of them knows.
    """
    name = section.section
    given: Any = values
    for key in name.split("."):
        given = given.get(key) if isinstance(given, Mapping) else None
    if not isinstance(given, Mapping):
        raise InputError(f"params.yaml: section `{name}` is not there or not a mapping")
    others = {key for other in Section.__subclasses__() if other.section == name for key in other.model_fields}
    chosen = {key: value for key, value in given.items() if key in section.model_fields or key not in others}
    try:
        return section.model_validate(chosen)
    except ValidationError as error:
        faults = [f"{_join_key(name, fault['loc'])}{_describe(fault)}" for fault in error.errors()]
        raise InputError("params.yaml: " + "; ".join(faults)) from None


def _join_key(section: str, location: tuple[int | str, ...]) -> str:
    if section == Llms.section:  # pydantic puts the client between a model and its key
        location = location[:1] + location[2:]
    return ".".join([section, *map(str, location)])


def _describe(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return " is not a known key"
    if fault["type"] == "missing":
        return " is missing"
    if fault["type"].startswith("union_tag"):
        return " needs a client, transformers or openai"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return f": {message}"
    return f" is {_SHORT.repr(fault['input'])}: {message[0].lower() + message[1:]}"
