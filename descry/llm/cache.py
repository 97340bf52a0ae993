"""Answers on disk, by a hash of everything that they depend on."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from descry.errors import InputError
from descry.llm.client import Answer, Request

VERSION = 2
"""Part of every key: a descry that asks differently, or keeps other things of an answer, has another version and does
not use these answers."""
WAIT = 60.0
"""Seconds to wait while another process writes."""
KEYS_AT_ONCE = 500
"""Keys that one statement looks up."""

_WRITE = """
INSERT INTO answers VALUES (?1, ?2, digest_of(?1, ?2))
ON CONFLICT (key) DO UPDATE SET answer = excluded.answer, digest = excluded.digest
WHERE answers.digest IS NOT digest_of(answers.key, answers.answer)
"""


def answer_key(identity: Mapping[str, Any], request: Request) -> bytes:
    """Hash of everything that an answer depends on, the client's identity and the request; 32 bytes."""
    content = {"version": VERSION, "identity": dict(identity), **vars(request)}
    return hashlib.blake2b(json.dumps(content, sort_keys=True, allow_nan=False).encode(), digest_size=32).digest()


def _digest(key: bytes, answer: bytes) -> bytes:
    return hashlib.blake2b(key + answer, digest_size=16).digest()


class AnswerCache:
    """Answers in `folder`/answers.sqlite, shared by threads and processes of one machine (SQLite, WAL).

    An entry is a key, the answer and a hash of both, so that damaged entries read as missing. Prompts, addresses and
    API keys are never in it. A stored answer is never replaced. Errors: InputError if the folder cannot be written or
    the file is no cache.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "answers.sqlite"
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{folder}: cannot hold the answer cache ({reason}); see runtime.answers") from None
        with self._explain_errors():
            self._connection = sqlite3.connect(self._path, timeout=WAIT, isolation_level=None, check_same_thread=False)
            self._connection.create_function("digest_of", 2, _digest, deterministic=True)
            self._use_wal()
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer BLOB, digest BLOB) WITHOUT ROWID"
            )

    def _use_wal(self) -> None:
        # SQLite does not wait for its lock here, and two processes may create the file at once.
        until = time.monotonic() + WAIT
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > until:
                    raise
                time.sleep(0.05)

    @contextmanager
    def _explain_errors(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise InputError(
                    f"{self._path}: the answer cache cannot be used ({error}); fix its permissions or the disk, "
                    "or move it away (its answers are then asked again), or choose another runtime.answers"
                ) from None

    def read(self, keys: Sequence[bytes]) -> dict[bytes, Answer]:
        """Read the answers to those keys that are cached, by key."""
        answers: dict[bytes, Answer] = {}
        for start in range(0, len(keys), KEYS_AT_ONCE):
            part = keys[start : start + KEYS_AT_ONCE]
            places = ",".join("?" * len(part))
            statement = f"SELECT key, answer FROM answers WHERE key IN ({places}) AND digest IS digest_of(key, answer)"  # noqa: S608
            with self._explain_errors():
                rows = self._connection.execute(statement, part).fetchall()
            answers |= {key: _parse(answer) for key, answer in rows}
        return answers

    def write(self, answers: Mapping[bytes, Answer]) -> None:
        """Store the answers, all or none of them; one that is already stored, undamaged, stays as it is."""
        with self._explain_errors(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            rows = ((key, json.dumps(vars(answer), sort_keys=True).encode()) for key, answer in answers.items())
            self._connection.executemany(_WRITE, rows)

    def close(self) -> None:
        """Close the file; nothing is lost if this is not called."""
        self._connection.close()


def _parse(answer: bytes) -> Answer:
    fields = json.loads(answer)
    prompt, reply = fields["tokens"]
    probabilities = fields["probabilities"]
    return Answer(
        fields["text"], None if probabilities is None else tuple(probabilities), (prompt, reply), fields["finished"]
    )
