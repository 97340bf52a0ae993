"""Asking language models: the cache, what is asked again, how prompts are filled."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.errors import InputError
from descry.llm.asking import ask
from descry.llm.cache import AnswerCache, answer_key
from descry.llm.client import Answer, Failure, Request
from descry.llm.prompts import LONGEST, Prompt, quote
from tests.conftest import ROOT
from tests.support.echo import Echo


def requests(*prompts: str) -> list[Request]:
    return [Request(prompt, 8) for prompt in prompts]


def texts(answers: Sequence[Answer | Failure]) -> list[str]:
    return [answer.text if isinstance(answer, Answer) else f"!{answer.reason}" for answer in answers]


def test_what_was_answered_is_not_asked_again_and_what_failed_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = requests("a", "bb", "a", "ccc")
    first = Echo({"bb": Failure("busy")})
    found = ask(first, wanted, AnswerCache(tmp_path), "job")
    assert texts(found) == ["<a>", "!busy", "<a>", "<ccc>"]
    assert first.asked == ["a", "bb", "ccc"]
    said = (
        "job, echo: 4 calls (1 of them repeated), 0 answered already, 3 to make, about 1 tokens in and at most 24 out\n"
    )
    assert capsys.readouterr().out == said
    second = Echo()
    assert texts(ask(second, wanted, AnswerCache(tmp_path), "job")) == ["<a>", "<bb>", "<a>", "<ccc>"]
    assert second.asked == ["bb"]
    assert "2 answered already, 1 to make" in capsys.readouterr().out
    assert texts(ask(Echo(), [], AnswerCache(tmp_path), "job")) == []


def test_batches_broken_off_are_met_again_as_they_would_have_been(tmp_path: Path) -> None:
    wanted = requests(*(f"{'x' * length} {number}" for number in range(5) for length in (1, 2, 3)))
    whole = Echo(size=4)
    expected = texts(ask(whole, wanted, AnswerCache(tmp_path / "whole"), "job"))

    class Broken(Echo):
        def answer(self, requests: Sequence[Request]) -> list[Answer | Failure]:
            if len(self.met) == 2:
                raise RuntimeError
            return super().answer(requests)

    cache = AnswerCache(tmp_path / "broken")
    broken = Broken(size=4)
    with pytest.raises(RuntimeError):
        ask(broken, wanted, cache, "job")
    rest = Echo(size=4)
    assert texts(ask(rest, wanted, cache, "job")) == expected
    assert broken.met + rest.met == whole.met


def test_a_model_that_never_answers_stops_the_job_and_keeps_what_there_is(tmp_path: Path) -> None:
    class Dead(Echo):
        def answer(self, requests: Sequence[Request]) -> list[Answer | Failure]:
            time.sleep(0.02)
            return super().answer(requests)

    dead = Dead({"d": Failure("HTTP 500")})
    wanted = requests("a", "b", *(f"d{number}" for number in range(50)))
    with pytest.raises(InputError, match=r"^job: echo gave no answer 3 times in a row \(HTTP 500\); .* run the same"):
        ask(dead, wanted, AnswerCache(tmp_path), "job")
    assert len(dead.asked) < 25
    assert "a" not in ask_and_note(wanted, tmp_path)


def ask_and_note(wanted: Sequence[Request], folder: Path) -> list[str]:
    client = Echo()
    ask(client, wanted, AnswerCache(folder), "job")
    return client.asked


@pytest.mark.parametrize(
    "other",
    [
        ({"model": "other"}, Request("p", 8)),
        ({"model": "m", "temperature": 0.5}, Request("p", 8)),
        ({"model": "m"}, Request("p ", 8)),
        ({"model": "m"}, Request("p", 9)),
        ({"model": "m"}, Request("p", 8, ("yes", "no"))),
    ],
)
def test_every_part_of_a_question_is_part_of_its_key(other: tuple[dict[str, Any], Request]) -> None:
    assert answer_key({"model": "m"}, Request("p", 8)) == answer_key({"model": "m"}, Request("p", 8))
    assert answer_key(*other) != answer_key({"model": "m"}, Request("p", 8))


@given(
    st.dictionaries(
        st.binary(min_size=32, max_size=32),
        st.builds(
            Answer,
            st.text(),
            st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)),
            st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)),
        ),
        max_size=5,
    )
)
def test_answers_come_back_as_they_were_written(answers: dict[bytes, Answer]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        cache = AnswerCache(Path(folder))
        cache.write(answers)
        assert cache.read(list(answers)) == answers
        cache.write({key: Answer("another") for key in answers})
        assert AnswerCache(Path(folder)).read(list(answers)) == answers
        cache.close()


@pytest.mark.parametrize("column", ["answer", "digest"])
def test_a_damaged_entry_is_asked_again_and_healed(tmp_path: Path, column: str) -> None:
    ask(Echo(), requests("a", "b"), AnswerCache(tmp_path), "job")
    with sqlite3.connect(tmp_path / "answers.sqlite") as file:
        key, blob = file.execute(f"SELECT key, {column} FROM answers").fetchone()
        file.execute(f"UPDATE answers SET {column} = ? WHERE key = ?", (blob[:-1] + bytes([blob[-1] ^ 1]), key))
    again = Echo()
    assert texts(ask(again, requests("a", "b"), AnswerCache(tmp_path), "job")) == ["<a>", "<b>"]
    assert len(again.asked) == 1
    assert ask_and_note(requests("a", "b"), tmp_path) == []


def test_a_file_that_is_no_cache_and_a_folder_that_is_none_are_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "answers.sqlite").write_bytes(b"not a database, but longer than a header of one" * 9)
    with pytest.raises(InputError, match=r"answers.sqlite: the answer cache cannot be used .* move it away"):
        AnswerCache(tmp_path)
    with pytest.raises(InputError, match=r"cannot hold the answer cache .* runtime.answers"):
        AnswerCache(tmp_path / "answers.sqlite")


WRITER = """
import sys
from pathlib import Path
from descry.llm.cache import AnswerCache
from descry.llm.client import Answer
cache, start = AnswerCache(Path(sys.argv[1])), int(sys.argv[2])
for number in range(start, start + 60):
    cache.write({number.to_bytes(32): Answer(f"by {start}"), (number + 30).to_bytes(32): Answer(f"by {start}")})
"""


def test_threads_and_processes_share_a_cache(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    processes = [subprocess.Popen([*command, str(start)], cwd=ROOT) for start in (0, 30, 60)]
    cache = AnswerCache(tmp_path)
    threads = [
        threading.Thread(target=lambda n=n: [cache.write({(1000 + i).to_bytes(32): Answer(str(n))}) for i in range(50)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert len(cache.read([number.to_bytes(32) for number in range(150)])) == 150
    assert len(cache.read([(1000 + number).to_bytes(32) for number in range(50)])) == 50


def test_prompts_are_filled_once_and_say_what_they_lack() -> None:
    prompt = Prompt.parse("{a} and {b}, {not a field} {\n", ["a", "b"], "p.txt")
    assert prompt.fill(a="{b}", b="x{a}") == "{b} and x{a}, {not a field} {"
    with pytest.raises(InputError, match=r"^p.txt: the prompt has no \{b\}; it needs \{a\}, \{b\}$"):
        Prompt.parse("{a}", ["a", "b"], "p.txt")
    with pytest.raises(
        InputError, match=r"^p.txt: the prompt has a field \{c\} that nothing fills; it may have \{a\}$"
    ):
        Prompt.parse("{a} {c}", ["a"], "p.txt")
    assert quote(" one\n\ntwo\t three ") == "one two three"
    assert len(quote("x" * 10**6)) == LONGEST
