"""Base classes of the sections of params.yaml: frozen, strictly checked, a docstring under each field for docs/."""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError

T = TypeVar("T")


def _check_distinct(values: list[T]) -> list[T]:
    if len(set(values)) < len(values):
        raise PydanticCustomError("repeated", "name each once")
    return values


def _check_json(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise PydanticCustomError("json", "it should hold nothing but what JSON can") from None
    return value


Json = Annotated[dict[str, Any], AfterValidator(_check_json)]
Different = Annotated[list[T], AfterValidator(_check_distinct)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]
DEVICE = r"^(cpu|cuda(:\d+)?|mps)$"
NAME = r"^[a-z][a-z0-9_-]*$"
VARIABLE = r"[A-Z][A-Z0-9_]*"
LARGEST = 2**31 - 1
"""Upper bound of every number in params.yaml (counts, seeds, weights): a larger one would overflow somewhere."""


class Part(BaseModel):
    """A group of keys; unknown keys and values of the wrong type are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True, defer_build=True
    )

    @field_validator("*")
    @classmethod
    def _check_bound(cls, value: Any) -> Any:
        for number in value if isinstance(value, list) else [value]:
            if isinstance(number, int | float) and number > LARGEST:
                raise PydanticCustomError("too_large", "input should be at most {largest}", {"largest": LARGEST})
        return value


class Section(Part):
    """A section of params.yaml. section: its dotted name there."""

    section: ClassVar[str]


class Switched(Part):
    """A stage that can be switched off."""

    enabled: bool
    "Whether the stage runs. If false, it writes empty results and its figures appear nowhere."
