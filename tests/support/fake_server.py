"""A scripted OpenAI-compatible server on loopback: what it answers, and how it fails, a function says."""

from __future__ import annotations

import contextlib
import json
import math
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FOREVER = 3600.0


@dataclass(frozen=True)
class Seen:
    """A request as it came. headers: names in lower case; before: earlier requests with the same prompt; at:
    seconds of a monotonic clock."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]
    at: float
    before: int

    @property
    def prompt(self) -> str:
        return str(self.body["messages"][-1]["content"])


@dataclass(frozen=True)
class Reply:
    """What goes back. cut: the connection ends in the middle of the body; wait: seconds before any of it."""

    status: int = 200
    body: bytes = b""
    kind: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    wait: float = 0.0
    cut: bool = False


Behaviour = Callable[[Seen], Reply]


def completion(text: str | None, likely: Mapping[str, float] | None = None, tokens: Sequence[int] = (11, 3)) -> Any:
    """A chat completion. likely: probabilities of the first token."""
    top = [{"token": word, "logprob": math.log(share), "bytes": None} for word, share in (likely or {}).items()]
    shown = {"content": [{**top[0], "top_logprobs": top}], "refusal": None} if top else None
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}, "logprobs": shown}
    usage = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
    return {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": usage}


def said(text: str | None, likely: Mapping[str, float] | None = None, *, wait: float = 0.0) -> Reply:
    return sent(completion(text, likely), wait=wait)


def sent(content: Any, *, wait: float = 0.0) -> Reply:
    return Reply(body=json.dumps(content).encode(), wait=wait)


def refused(status: int, message: str = "no", code: str | None = None, **headers: str) -> Reply:
    error = {"error": {"message": message, "type": "error", "param": None, "code": code}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps(error).encode(), headers=named)


HANGS = Reply(wait=FOREVER)
CUT = Reply(body=json.dumps(completion("half of an answer that never ends")).encode(), cut=True)
NO_CHOICE = sent({**completion("x"), "choices": []})
NULL_CHOICES = sent({**completion("x"), "choices": None})
NO_JSON = Reply(body=b'{"choices": [{"message": {"content": "x"')
HTML = Reply(body=b"<html><body>Welcome to the portal</body></html>", kind="text/html")


class FakeServer:
    """Serves until the block ends. seen: every request, in order; most: requests under way at once, at most."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.seen: list[Seen] = []
        self.most = 0
        self._under_way = 0
        self._prompts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._connections: set[socket.socket] = set()
        self._http = _Http(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    @property
    def prompts(self) -> list[str]:
        return [seen.prompt for seen in self.seen]

    def __enter__(self) -> FakeServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    def die(self) -> None:
        """Take no more connections and cut those that are open."""
        self._over.set()
        self._http.shutdown()
        self._http.server_close()
        with self._lock:
            for connection in self._connections:
                _cut(connection)

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
            if self._over.is_set():
                _cut(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)

    def reply(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> Reply:
        with self._lock:
            seen = Seen(body, headers, time.monotonic(), 0)
            seen = Seen(body, headers, seen.at, self._prompts[seen.prompt])
            self._prompts[seen.prompt] += 1
            self.seen.append(seen)
            self._under_way += 1
            self.most = max(self.most, self._under_way)
        try:
            found = self.behaviour(seen)
            self._over.wait(found.wait)
            return found
        finally:
            with self._lock:
                self._under_way -= 1


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nothing to report."""


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _handler(server: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            server.opened(self.connection)

        def finish(self) -> None:
            server.closed(self.connection)
            super().finish()

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path != "/v1/chat/completions":
                return self._write(refused(404, "no such page"))
            return self._write(server.reply(body, {name.lower(): value for name, value in self.headers.items()}))

        def _write(self, reply: Reply) -> None:
            self.send_response(reply.status)
            for name, value in {"Content-Type": reply.kind, **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body[: len(reply.body) // 2] if reply.cut else reply.body)
            if reply.cut:
                self.wfile.flush()
                _cut(self.connection)

        def log_message(self, format: str, *args: Any) -> None:
            """Silence."""

    return Handler
