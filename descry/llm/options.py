"""Options of the clients, as the section `llms` of params.yaml has them; defaults are in descry/settings/llms.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class LocalOptions:
    """Options of `LocalModel`; the meaning of each: `LocalLlm` in descry/settings/llms.py."""

    device: str
    dtype: str
    batch_tokens: int
    temperature: float
    seed: int
    wrap: str
    complete: bool
    chat: Mapping[str, Any]


@dataclass(frozen=True)
class ServerOptions:
    """Options of `Server`; the meaning of each: `ServerLlm` in descry/settings/llms.py."""

    base_url: str
    model: str
    revision: str
    key: str
    temperature: float | None
    seed: int | None
    extra: Mapping[str, Any]
