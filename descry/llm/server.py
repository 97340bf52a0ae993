"""A language model behind any server with OpenAI's chat completions API, hosted or on one's own machine."""

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
from descry.llm.answers import has_thoughts, is_token, unwrap
from descry.llm.client import Answer, Failure, Request
from descry.llm.options import ServerOptions

TOP = 20
"""Most probable tokens to ask for where the answer is one of a few words: as many as servers give."""
SHORTEST_KEY = 16
"""A key of at least so many characters is struck out of answers; a shorter one ("none", "ollama") may be a word."""
LONGEST_PAUSE = 8.0
"""Most seconds between two tries after a response that holds no answer."""
LONGEST_QUOTE = 200
"""Most characters of a server's own words in a message."""

_CUT_OFF = ("length", "max_tokens")
_BLANKS = " \t\r\nĠĊ▁"
_MESSAGES = ("error", "errors", "detail", "message", "msg", "error_msg", "error_message", "status_msg", "base_resp")


class Server:
    """A client for a model on an OpenAI-compatible server; one request per call, `parallel` calls at once.

    The official client repeats a request up to `retries` times (with back-off, and as Retry-After asks) after HTTP
    408, 409, 429, 5xx, a time-out or a broken connection; so does this one after a response with HTTP 200 that is not
    JSON, has no choice, or an answer that says nothing. name: its name in `llms`. timeout: seconds for one answer. The
    key is never stored or shown. Errors: InputError if the environment variable that should hold it is not set.
    """

    def __init__(self, name: str, options: ServerOptions, *, parallel: int, timeout: float, retries: int) -> None:
        self.name = name
        self.parallel = parallel
        self._options, self._timeout, self._retries = options, timeout, retries
        sampling = {"temperature": options.temperature, "seed": options.seed}
        self._parameters = {key: value for key, value in sampling.items() if value is not None}
        self._gives_probabilities, self._reached = True, False
        self.identity: Mapping[str, Any] = {
            "client": "openai",
            "model": options.model,
            "revision": options.revision,
            **self._parameters,
            "extra": dict(options.extra),
        }
        self._key = os.environ.get(options.key, "") if options.key else ""
        if options.key and not self._key:
            raise InputError(
                f"llms.{name}: the environment variable {options.key} is not set; set it to the server's key"
            )
        # One event loop reads all sockets: threads that each read their own would wait for one another.
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    async def _open(self) -> None:
        hooks = {"response": [_final_without_quota]}
        self._client = openai.AsyncOpenAI(
            base_url=self._options.base_url,
            api_key=self._key or "none",
            timeout=self._timeout,
            max_retries=self._retries,
            http_client=openai.DefaultAioHttpClient(timeout=self._timeout, event_hooks=hooks),
        )
        # The environment may hold these for another server.
        self._client.organization = self._client.project = None

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Every request alone."""
        return [[position] for position in range(len(requests))]

    def answer(self, requests: Sequence[Request]) -> list[Answer | Failure]:
        """Answers in the order of the requests. Errors: InputError for a refused key, an unknown model or address."""
        answers = [asyncio.run_coroutine_threadsafe(self._answer(request), self._loop) for request in requests]
        return [answer.result() for answer in answers]

    async def _answer(self, request: Request, words: bool = False) -> Answer | Failure:
        """Ask once, and again as `retries` says. words: do not ask for probabilities, whatever the request."""
        probabilities = bool(request.choices) and self._gives_probabilities and not words
        failure = Failure("it was not asked")
        for attempt in range(self._retries + 1):
            if attempt:
                await asyncio.sleep(min(LONGEST_PAUSE, 0.5 * 2 ** (attempt - 1)))
            try:
                return self._read(await self._post(request, probabilities), request)
            except _NotACompletion as error:
                failure = Failure(f"it answers HTTP 200 and {self._quote(error.body)}")
                if not self._reached:
                    raise InputError(
                        f"llms.{self.name}: {self._options.base_url} gives no completion but "
                        f"{self._quote(error.body)}; check base_url, which mostly ends in /v1, and model"
                    ) from None
            except _NotAnAnswer as error:
                failure = Failure(self._strike_key(str(error)))
            except openai.APIError as error:
                if why := self._explain_useless(error):
                    raise InputError(f"llms.{self.name}: {self._options.base_url} {why}") from None
                if probabilities and isinstance(error, openai.BadRequestError | openai.UnprocessableEntityError):
                    answer = await self._answer(request, words=True)
                    self._gives_probabilities &= isinstance(answer, Failure)
                    return answer
                return Failure(self._describe(error))
        return failure

    def _explain_useless(self, error: openai.APIError) -> str:
        """Say why further requests are useless after this error; "" if they are not."""
        if isinstance(error, openai.APIConnectionError):  # time-outs are such errors too
            wait = f"cannot be reached, or gives no answer in {self._timeout:g} s (runtime.timeout)"
            return "" if self._reached else f"{wait}; does it run, and has it loaded the model?"
        if isinstance(error, openai.NotFoundError):
            return f"knows no model {self._options.model}, or is no such server (HTTP 404); base_url mostly ends in /v1"
        if isinstance(error, openai.RateLimitError) and error.code == "insufficient_quota":
            return "says that the quota is used up (HTTP 429)"
        # After a good answer, 403 is some servers' word for an unwelcome prompt.
        refused = isinstance(error, openai.PermissionDeniedError) and not self._reached
        if refused or isinstance(error, openai.AuthenticationError):
            return f"refuses {f'the key in {self._options.key}' if self._options.key else 'a request without a key'}"
        return ""

    async def _post(self, request: Request, probabilities: bool) -> Any:
        body: dict[str, Any] = {"model": self._options.model, "messages": [{"role": "user", "content": request.prompt}]}
        if "max_completion_tokens" not in self._options.extra:
            body["max_tokens"] = request.max_tokens
        if probabilities:
            body |= {"logprobs": True, "top_logprobs": TOP}
        try:
            # Filling the client's own types would take half of its time.
            sent = body | self._parameters | dict(self._options.extra)
            return await self._client.post("/chat/completions", cast_to=object, body=sent)
        except (json.JSONDecodeError, RecursionError) as error:
            raise _NotAnAnswer("its answer is not JSON") from error

    def _read(self, completion: Any, request: Request) -> Answer:
        if not isinstance(completion, dict) or "choices" not in completion or _find_message(completion.get("error")):
            raise _NotACompletion(completion)
        try:
            choice = completion["choices"][0]
            message = choice["message"]
            text = _join_parts(message.get("content"))
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise _NotAnAnswer("its answer holds no choice as it should be") from error
        whole = text.encode("utf-8", "replace").decode()  # JSON can hold halves of characters
        likely = {} if has_thoughts(whole) else _read_first_word(choice.get("logprobs"))
        shares = tuple(likely.get(word, 0.0) for word in request.choices)
        if not unwrap(whole) and not any(shares):
            raise _NotAnAnswer(_explain_empty(choice, request.max_tokens))
        self._reached = True
        usage = completion["usage"] if isinstance(completion.get("usage"), dict) else {}
        given, made = (usage.get(name) for name in ("prompt_tokens", "completion_tokens"))
        tokens = (given if isinstance(given, int) else 0, made if isinstance(made, int) else 0)
        if len(self._key) >= SHORTEST_KEY:  # answers are kept on disk, and shared
            whole = whole.replace(self._key, "***")
        finished = bool(request.choices) or choice.get("finish_reason") not in _CUT_OFF
        return Answer(whole, shares if likely and shares else None, tokens, finished)

    def _strike_key(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text

    def _quote(self, body: Any) -> str:
        """The server's own words, on one short line without the key."""
        words = _find_message(body) or (body if isinstance(body, str) else json.dumps(body, ensure_ascii=False))
        return repr(" ".join(self._strike_key(words).split())[:LONGEST_QUOTE])

    def _describe(self, error: openai.APIError) -> str:
        """An error in one short line, without the key."""
        message = self._strike_key(error.message)
        code = f"{self._options.base_url}: " if isinstance(error, openai.APIConnectionError) else ""
        code += f"HTTP {error.status_code}: " if isinstance(error, openai.APIStatusError) else ""
        return (code + message).splitlines()[0][:200] if code + message else type(error).__name__


def _join_parts(content: Any) -> str:
    """The text of a message's content: a string, or the parts of the type text. Errors: TypeError, KeyError."""
    if isinstance(content, list):
        return "".join(str(part["text"]) for part in content if part["type"] in ("text", "output_text"))
    if not isinstance(content, str | None):
        raise TypeError("its content is no text")
    return content or ""


def _read_first_word(logprobs: Any) -> dict[str, float]:
    """Probabilities, by word in lower case, of the first token with a letter or digit; {} if there are none."""
    entries: Any = logprobs.get("content") if isinstance(logprobs, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        token = entry.get("token") if isinstance(entry, dict) else None
        shown = entry.get("top_logprobs") if isinstance(entry, dict) else None
        named = isinstance(token, str) and (is_token(token) or not any(map(str.isalnum, _spell(token))))
        if named:
            continue
        likely: dict[str, float] = {}
        for top in shown if isinstance(shown, list) else ():
            token, logprob = (top.get("token"), top.get("logprob")) if isinstance(top, dict) else (None, None)
            if isinstance(token, str) and isinstance(logprob, int | float) and not math.isnan(logprob):
                share = likely.get(_spell(token), 0.0) + math.exp(min(logprob, 0.0))
                likely[_spell(token)] = min(share, 1.0)
        return likely
    return {}


def _spell(token: str) -> str:
    """A token in lower case without blanks around it, as text or as byte-level and SentencePiece vocabularies write
    them."""
    return token.strip(_BLANKS).lower()


def _find_message(body: Any) -> str:
    """The message of an error body, wherever servers put it; "" if there is none."""
    if isinstance(body, str):
        return body
    if isinstance(body, list):
        return next(filter(None, map(_find_message, body)), "")
    if isinstance(body, dict):
        return next(filter(None, (_find_message(body.get(key)) for key in _MESSAGES)), "")
    return ""


def _explain_empty(choice: dict[str, Any], most: int) -> str:
    """Why an answer says nothing, and what to do."""
    message, ending = choice["message"], choice.get("finish_reason")
    if words := _find_message(choice.get("error")) or _find_message(message.get("refusal")):
        return f"it answers {' '.join(words.split())[:LONGEST_QUOTE]!r}"
    if ending in _CUT_OFF:
        return (
            f"an empty answer, cut off at {most} tokens, as by a model that thinks first; raise max_tokens, or turn "
            "thinking off in the model's extra"
        )
    thought = message.get("reasoning_content") or message.get("reasoning")
    return "an empty answer beside its reasoning" if thought else f"an empty answer (finish_reason {ending})"


class _NotAnAnswer(Exception):
    """The server responded with HTTP 200 but without an answer."""


class _NotACompletion(_NotAnAnswer):
    """The server responded with HTTP 200 and something else than a chat completion."""

    def __init__(self, body: Any) -> None:
        super().__init__("its answer is no completion")
        self.body = body


async def _final_without_quota(response: Any) -> None:
    """Keep the client from retrying when the quota is used up, which no pause cures."""
    if response.status_code == 429 and b"insufficient_quota" in await response.aread():
        response.headers["x-should-retry"] = "false"
