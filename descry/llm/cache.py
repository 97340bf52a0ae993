"""Answers on disk, by the content of what was asked."""

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

VERSION = 1
"""Part of every key: a descry that asks otherwise finds none of this one's answers."""
WAIT = 60.0
"""Seconds to wait for another process that writes."""
AT_ONCE = 500
"""Keys looked up in one statement."""

_WRITE = """
INSERT INTO answers VALUES (?1, ?2, digest_of(?1, ?2))
ON CONFLICT (key) DO UPDATE SET answer = excluded.answer, digest = excluded.digest
WHERE answers.digest IS NOT digest_of(answers.key, answers.answer)
"""


def answer_key(identity: Mapping[str, Any], request: Request) -> bytes:
    """Hash of all that an answer depends on: the client's identity and the whole request; 32 bytes."""
    content = {"version": VERSION, "identity": dict(identity), **vars(request)}
    return hashlib.blake2b(json.dumps(content, sort_keys=True, allow_nan=False).encode(), digest_size=32).digest()


def _digest(key: bytes, answer: bytes) -> bytes:
    return hashlib.blake2b(key + answer, digest_size=16).digest()


class AnswerCache:
    """The answers in `folder`/answers.sqlite, for threads and processes of one machine (SQLite, WAL).

    An entry is a key, the answer and a hash of both: a damaged entry reads as if it were not there. No prompt,
    address or key of a server is ever in it. An answer once written stays. Errors: InputError where the folder
    cannot be written or the file is no cache.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "answers.sqlite"
        self._lock = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{folder}: cannot hold the answer cache ({reason}); see runtime.answers") from None
        with self._usable():
            self._connection = sqlite3.connect(self._path, timeout=WAIT, isolation_level=None, check_same_thread=False)
            self._connection.create_function("digest_of", 2, _digest, deterministic=True)
            self._use_wal()
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, answer BLOB, digest BLOB) WITHOUT ROWID"
            )

    def _use_wal(self) -> None:
        # SQLite does not wait for its lock here, and two processes may meet at a new file.
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
    def _usable(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise InputError(
                    f"{self._path}: the answer cache cannot be used ({error}); mend its permissions or the disk, "
                    "or move it away (its answers are then asked again), or choose another runtime.answers"
                ) from None

    def read(self, keys: Sequence[bytes]) -> dict[bytes, Answer]:
        """The answers that are there, by key."""
        found: dict[bytes, Answer] = {}
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            places = ",".join("?" * len(some))
            statement = f"SELECT key, answer FROM answers WHERE key IN ({places}) AND digest IS digest_of(key, answer)"  # noqa: S608
            with self._usable():
                rows = self._connection.execute(statement, some).fetchall()
            found |= {key: _parsed(answer) for key, answer in rows}
        return found

    def write(self, answers: Mapping[bytes, Answer]) -> None:
        """Keep the answers, all or none of them; one that is there already, whole, stays."""
        with self._usable(), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            rows = ((key, json.dumps(vars(answer), sort_keys=True).encode()) for key, answer in answers.items())
            self._connection.executemany(_WRITE, rows)

    def close(self) -> None:
        """Close the file; nothing is lost without it."""
        self._connection.close()


def _parsed(answer: bytes) -> Answer:
    read = json.loads(answer)
    given, made = read["tokens"]
    return Answer(read["text"], None if read["probabilities"] is None else tuple(read["probabilities"]), (given, made))
