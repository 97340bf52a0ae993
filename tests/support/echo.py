"""A client of language models that answers by a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from descry.llm.client import Answer, Failure, Request


@dataclass
class Echo:
    """A client that answers as `replies` says, by the last line of a prompt that is not a field's name."""

    replies: Mapping[str, str | Failure | Answer] = field(default_factory=dict)
    size: int = 1
    parallel: int = 1
    name: str = "echo"
    identity: Mapping[str, Any] = field(default_factory=lambda: {"model": "echo"})
    asked: list[str] = field(default_factory=list)
    met: list[list[str]] = field(default_factory=list)

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        order = sorted(range(len(requests)), key=lambda i: (len(requests[i].prompt), i))
        return [order[start : start + self.size] for start in range(0, len(order), self.size)]

    def answer(self, requests: Sequence[Request]) -> list[Answer | Failure]:
        self.met.append([request.prompt for request in requests])
        self.asked += self.met[-1]
        return [self._reply(request.prompt) for request in requests]

    def _reply(self, prompt: str) -> Answer | Failure:
        for said, reply in self.replies.items():
            if said in prompt:
                return Answer(reply) if isinstance(reply, str) else reply
        return Answer(f"<{prompt}>", tokens=(len(prompt), 1))
