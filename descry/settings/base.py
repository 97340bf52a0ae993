"""What every section of params.yaml is: frozen and checked, with a sentence under each field."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

T = TypeVar("T")


def _once(values: list[T]) -> list[T]:
    if len(set(values)) < len(values):
        raise PydanticCustomError("repeated", "name each once")
    return values


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise PydanticCustomError("json", "it should hold nothing but what JSON can") from None
    return value


Json = Annotated[dict[str, Any], AfterValidator(_plain)]
Different = Annotated[list[T], AfterValidator(_once)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
DEVICE = r"^(cpu|cuda(:\d+)?|mps)$"
NAME = r"^[a-z][a-z0-9_-]*$"
VARIABLE = r"[A-Z][A-Z0-9_]*"
LARGEST = 2**31 - 1
"""No number may be larger: what counts, seeds or weighs more overflows somewhere."""


class Part(BaseModel):
    """Some keys: unknown ones and values of another type are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True, defer_build=True
    )

    @field_validator("*")
    @classmethod
    def _bounded(cls, value: Any) -> Any:
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and number > LARGEST:
                raise PydanticCustomError("too_large", "input should be at most {largest}", {"largest": LARGEST})
        return value


class Section(Part):
    """A section of params.yaml."""

    section: ClassVar[str]


class Switched(Part):
    """Keys of a stage that may be left out."""

    enabled: bool
    "Whether the stage does anything; false: it leaves empty results, and its figures are left out everywhere."
