"""What is asked of a language model, what comes back, and the protocol that every client follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class Request:
    """A prompt, and at most how many tokens may answer it.

    choices: single lower-case words, one of which is wanted; the client says how probable each is, if it can.
    """

    prompt: str
    max_tokens: int
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a model answered.

    probabilities: of each of the request's choices, in [0, 1], with sum at most 1, or None where the client
    cannot tell. tokens: of the prompt and of the answer, as the model counts them; 0 where it does not say.
    """

    text: str
    probabilities: tuple[float, ...] | None = None
    tokens: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Failure:
    """No answer, for a reason that concerns this request or may pass; never kept in the cache."""

    reason: str


class Client(Protocol):
    """A language model that can be asked."""

    @property
    def name(self) -> str:
        """What it is called here."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that an answer depends on besides the request: model, revision, parameters. JSON can hold it."""

    @property
    def parallel(self) -> int:
        """How many calls of `answer` may be under way at once, in threads."""

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Positions of the requests that are best asked together; every position once."""

    def answer(self, requests: Sequence[Request]) -> list[Answer | Failure]:
        """Answers in the order of the requests. Errors: InputError where asking on is useless (a refused key)."""
