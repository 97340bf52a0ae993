"""Requests to a language model, answers, and the protocol of the clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Request:
    """A prompt, and the most tokens that its answer may have.

    choices: single lower-case words, of which the answer is one; the client gives their probabilities if it can.
    """

    prompt: str
    max_tokens: int
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """The answer of a model.

    probabilities: of each of the request's choices, in [0, 1], with sum at most 1; None if the client does not know
    them. tokens: of the prompt and of the answer, as the model counts them; 0 if unknown. finished: False if the answer
    was cut off at the request's most tokens.
    """

    text: str
    probabilities: tuple[float, ...] | None = None
    tokens: tuple[int, int] = (0, 0)
    finished: bool = True


@dataclass(frozen=True)
class Failure:
    """No answer, for a reason that concerns this request alone or may pass; never cached."""

    reason: str


class Client(Protocol):
    """A language model that can be asked."""

    @property
    def name(self) -> str:
        """Its name in `llms`."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What an answer depends on besides the request (model, revision, parameters), as JSON can hold it."""

    @property
    def parallel(self) -> int:
        """How many calls of `answer` may run at once, in threads."""

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group requests to be asked together: positions, every one once."""

    def answer(self, requests: Sequence[Request]) -> list[Answer | Failure]:
        """Answer requests, in their order. Errors: InputError if further requests are useless (a refused key)."""
