"""A language model behind any server that speaks OpenAI's chat completions, hosted or on one's own machine."""

from __future__ import annotations

import asyncio
import json
import math
import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import openai

from descry.errors import InputError
from descry.llm.client import Answer, Failure, Request

TOP = 20
"""Tokens whose probability is asked for, where an answer is one of some words: as many as servers give."""
SHORTEST_KEY = 16
"""Characters of a key that cannot be a word of an answer ("none", "ollama"): it is struck out where it comes back."""
LONGEST_PAUSE = 8.0
"""Seconds between two tries, at most, after an answer that is no answer."""


class Server:
    """A model on an OpenAI-compatible server; one request a call, `parallel` calls at once.

    HTTP 408, 409, 429, 5xx, time-outs and broken connections are tried `retries` times more by the official
    client (with back-off, and as Retry-After asks), and so are answers without a choice or that are not JSON.
    name: what the model is called here. key: the environment variable that holds the server's key, "" for
    none; the key itself is never stored or shown. revision: any text that tells one build of the model from
    another. temperature: 0 for greedy; None leaves it to the server. timeout: seconds for one answer. extra:
    further fields of every request. Errors: InputError where the variable is not set.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        model: str,
        revision: str = "",
        key: str = "",
        temperature: float | None = 0.0,
        seed: int | None = None,
        extra: Mapping[str, Any] | None = None,
        parallel: int,
        timeout: float,
        retries: int,
    ) -> None:
        self.name = name
        self.parallel = parallel
        self._model, self._url, self._variable = model, base_url, key
        self._timeout, self._retries = timeout, retries
        sampling = {"temperature": temperature, "seed": seed}
        self._parameters = {name: value for name, value in sampling.items() if value is not None}
        self._extra = dict(extra or {})
        self._gives_probabilities, self._reached = True, False
        self.identity: Mapping[str, Any] = {
            "client": "openai",
            "model": model,
            "revision": revision,
            **self._parameters,
            "extra": self._extra,
        }
        self._key = os.environ.get(key, "") if key else ""
        if key and not self._key:
            raise InputError(f"llms.{name}: the environment variable {key} is not set; it is to hold the server's key")
        # One loop does all the talking: threads that each read a socket would spend their time on waiting for another.
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    async def _open(self) -> None:
        hooks = {"response": [_final_without_quota]}
        self._client = openai.AsyncOpenAI(
            base_url=self._url,
            api_key=self._key or "none",
            timeout=self._timeout,
            max_retries=self._retries,
            http_client=openai.DefaultAioHttpClient(timeout=self._timeout, event_hooks=hooks),
        )
        # The environment may hold these for another server than the one that is asked.
        self._client.organization = self._client.project = None

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Every request alone."""
        return [[position] for position in range(len(requests))]

    def answer(self, requests: Sequence[Request]) -> list[Answer | Failure]:
        """Answers in the order of the requests. Errors: InputError for a refused key, an unknown model or address."""
        answers = [asyncio.run_coroutine_threadsafe(self._answer(request), self._loop) for request in requests]
        return [answer.result() for answer in answers]

    async def _answer(self, request: Request, words: bool = False) -> Answer | Failure:
        """One answer. words: without probabilities, whatever the request."""
        probabilities = bool(request.choices) and self._gives_probabilities and not words
        failure = Failure("it was not asked")
        for attempt in range(self._retries + 1):
            if attempt:
                await asyncio.sleep(min(LONGEST_PAUSE, 0.5 * 2 ** (attempt - 1)))
            try:
                return self._read(await self._completion(request, probabilities), request)
            except _NotAnAnswer as error:
                failure = Failure(str(error))
            except openai.APIError as error:
                if why := self._useless(error):
                    raise InputError(f"llms.{self.name}: {self._url} {why}") from None
                if probabilities and isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError):
                    answer = await self._answer(request, words=True)
                    self._gives_probabilities &= isinstance(answer, Failure)
                    return answer
                return Failure(self._said(error))
        return failure

    def _useless(self, error: openai.APIError) -> str:
        """Why asking on is useless after this error; empty where it is not."""
        if isinstance(error, openai.APIConnectionError):  # time-outs are such errors too
            wait = f"cannot be reached, or gives no answer in {self._timeout:g} s (runtime.timeout)"
            return "" if self._reached else f"{wait}; does it run, and has it loaded the model?"
        if isinstance(error, openai.NotFoundError):
            return f"knows no model {self._model}, or is no such server (HTTP 404); base_url mostly ends in /v1"
        if isinstance(error, openai.RateLimitError) and error.code == "insufficient_quota":
            return "says that the quota is used up (HTTP 429)"
        # After a good answer, 403 is some servers' word for an unwelcome prompt.
        refused = isinstance(error, openai.PermissionDeniedError) and not self._reached
        if refused or isinstance(error, openai.AuthenticationError):
            return f"refuses {f'the key in {self._variable}' if self._variable else 'a request without a key'}"
        return ""

    async def _completion(self, request: Request, probabilities: bool) -> Any:
        body: dict[str, Any] = {"model": self._model, "messages": [{"role": "user", "content": request.prompt}]}
        if "max_completion_tokens" not in self._extra:
            body["max_tokens"] = request.max_tokens
        if probabilities:
            body |= {"logprobs": True, "top_logprobs": TOP}
        try:
            # The client's own types take half of its time to fill and to read.
            sent = body | self._parameters | self._extra
            return await self._client.post("/chat/completions", cast_to=object, body=sent)
        except (json.JSONDecodeError, RecursionError) as error:
            raise _NotAnAnswer("its answer is not JSON") from error

    def _read(self, completion: Any, request: Request) -> Answer:
        try:
            choice = completion["choices"][0]
            text = choice["message"].get("content")
            shown = ((choice.get("logprobs") or {}).get("content") or [{}])[0].get("top_logprobs") or []
            likely = [(token["token"].strip().lower(), math.exp(min(token["logprob"], 0.0))) for token in shown]
        except (AttributeError, IndexError, KeyError, OverflowError, TypeError) as error:
            raise _NotAnAnswer("its answer holds no choice as it should be") from error
        if not isinstance(text, str | None):
            raise _NotAnAnswer("its answer holds no text")
        self._reached = True
        usage = completion["usage"] if isinstance(completion.get("usage"), dict) else {}
        given, made = (usage.get(name) for name in ("prompt_tokens", "completion_tokens"))
        tokens = (given if isinstance(given, int) else 0, made if isinstance(made, int) else 0)
        shares = {choice: sum(share for word, share in likely if word == choice) for choice in request.choices}
        whole = (text or "").encode("utf-8", "replace").decode()  # JSON can hold halves of characters
        if len(self._key) >= SHORTEST_KEY:  # answers are kept on disk, and shared
            whole = whole.replace(self._key, "***")
        return Answer(whole, tuple(map(float, shares.values())) if likely and shares else None, tokens)

    def _said(self, error: openai.APIError) -> str:
        """An error in a few words, without the key."""
        message = error.message.replace(self._key, "***") if self._key else error.message
        code = f"{self._url}: " if isinstance(error, openai.APIConnectionError) else ""
        code += f"HTTP {error.status_code}: " if isinstance(error, openai.APIStatusError) else ""
        return (code + message).splitlines()[0][:200] if code + message else type(error).__name__


class _NotAnAnswer(Exception):
    """Something came back with HTTP 200 that holds no answer."""


async def _final_without_quota(response: Any) -> None:
    """Keep the client from asking again where the quota is used up: no pause mends that."""
    if response.status_code == 429 and b"insufficient_quota" in await response.aread():
        response.headers["x-should-retry"] = "false"
