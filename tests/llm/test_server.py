"""The server client, asked through the answer cache, against a server that fails in every way it can."""

from __future__ import annotations

import json
import math
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.errors import InputError
from descry.labelling.prompted import AGAIN_FIELDS, LIST_FIELDS, Asker, ListTeacher, read_names, read_probability
from descry.llm.asking import ask
from descry.llm.cache import AnswerCache
from descry.llm.client import Answer, Failure, Request
from descry.llm.options import ServerOptions
from descry.llm.prompts import Prompt
from descry.llm.server import Server, _NotAnAnswer
from descry.settings.llms import ServerLlm
from tests.support.fake_server import (
    CUT,
    HANGS,
    HTML,
    NO_CHOICE,
    NO_JSON,
    NULL_CHOICES,
    FakeServer,
    Reply,
    Seen,
    completion,
    refused,
    said,
    sent,
)

KEY, VARIABLE = "sk-test-SECRET", "DESCRY_TEST_KEY"
PASSING = {
    "429": refused(429, "slow down", retry_after="1"),
    "500": refused(500),
    "503": refused(503),
    "hang": HANGS,
    "cut": CUT,
    "no choice": NO_CHOICE,
    "choices null": NULL_CHOICES,
    "an error with 200": sent({"error": {"message": "upstream", "code": 502}}),
    "a choice without a message": sent({**completion("x"), "choices": [{"index": 0}]}),
    "choices of another kind": sent({"choices": {"first": 1}}),
    "content of another kind": sent({"choices": [{"message": {"content": {"text": "x"}}}]}),
    "an empty answer": said("", wait=0.0),
    "thoughts without an answer": said("<think>The sentence says battery, or"),
    "a list": sent([1, 2]),
    "no JSON": NO_JSON,
    "HTML": HTML,
}
LASTING = {
    "401": refused(401),
    "403": refused(403),
    "404": refused(404),
    "quota": refused(429, "You exceeded your current quota", "insufficient_quota"),
}


def client(server: FakeServer | str, **options: Any) -> Server:
    url = server if isinstance(server, str) else server.url
    calls: dict[str, Any] = {"parallel": 4, "timeout": 5, "retries": 2}
    calls |= {key: options.pop(key) for key in list(options) if key in calls}
    llm = ServerLlm(client="openai", base_url=url, model="tiny").model_dump(exclude={"client"}) | options
    return Server("m", ServerOptions(**llm), **calls)


def asked(count: int, **options: Any) -> list[Request]:
    return [Request(f"prompt {number}", 64, **options) for number in range(count)]


def echo(seen: Seen) -> Reply:
    return said(f"to {seen.prompt}")


def echoed(requests: Sequence[Request]) -> list[Answer]:
    return [Answer(f"to {request.prompt}", None, (11, 3)) for request in requests]


def kept(folder: Path) -> list[str]:
    """Texts in the cache of a folder."""
    with sqlite3.connect(folder / "answers.sqlite") as connection:
        return [json.loads(answer)["text"] for (answer,) in connection.execute("SELECT answer FROM answers")]


def dead_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/v1"


@pytest.fixture
def cache(tmp_path: Path) -> AnswerCache:
    return AnswerCache(tmp_path)


def test_answers_come_in_the_order_of_the_requests_and_equal_ones_are_asked_once(cache: AnswerCache) -> None:
    requests = asked(30)
    with FakeServer(lambda seen: replace(echo(seen), wait=0.001 * (len(seen.prompt) % 3))) as server:
        assert ask(client(server), [*requests, *requests[::-1]], cache, "job") == echoed([*requests, *requests[::-1]])
        assert len(server.seen) == 30
        assert ask(client(server), requests, cache, "job") == echoed(requests)
        assert len(server.seen) == 30


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_fault_that_passes_is_waited_out(fault: Reply, cache: AnswerCache, tmp_path: Path) -> None:
    requests = asked(5)
    with FakeServer(lambda seen: fault if seen.prompt == "prompt 3" and not seen.before else echo(seen)) as server:
        assert ask(client(server, timeout=0.5), requests, cache, "job") == echoed(requests)
        assert server.prompts.count("prompt 3") == 2
        assert len(server.seen) == 6
    assert sorted(kept(tmp_path)) == [answer.text for answer in echoed(requests)]


def test_the_pause_that_a_server_asks_for_is_kept(cache: AnswerCache) -> None:
    with FakeServer(lambda seen: echo(seen) if seen.before else PASSING["429"]) as server:
        ask(client(server), asked(1), cache, "job")
    assert 1.0 <= server.seen[1].at - server.seen[0].at < 2.0


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_a_fault_that_stays_is_a_failure_and_is_never_kept(fault: Reply, cache: AnswerCache, tmp_path: Path) -> None:
    requests = asked(3)
    with FakeServer(lambda seen: fault if seen.prompt == "prompt 1" else echo(seen)) as server:
        answers = ask(client(server, timeout=0.5, retries=0), requests, cache, "job")
        assert len(server.seen) == 3
    assert isinstance(answers[1], Failure)
    assert "\n" not in answers[1].reason
    assert answers[::2] == echoed(requests)[::2]
    assert sorted(kept(tmp_path)) == ["to prompt 0", "to prompt 2"]


@pytest.mark.parametrize("fault", LASTING.values(), ids=LASTING)
def test_a_refusal_stops_the_job_after_one_request(fault: Reply, cache: AnswerCache, tmp_path: Path) -> None:
    with FakeServer(lambda seen: fault) as server:
        with pytest.raises(InputError) as stopped:
            ask(client(server, retries=6, parallel=8), asked(100), cache, "job")
        assert len(server.seen) == 1
        assert server.url in str(stopped.value)
        assert "\n" not in str(stopped.value)
    assert kept(tmp_path) == []


def test_a_server_that_only_fails_stops_the_job_early(cache: AnswerCache) -> None:
    with FakeServer(lambda seen: refused(500)) as server:
        with pytest.raises(InputError, match="500") as stopped:
            ask(client(server, retries=0), asked(1000), cache, "job")
        assert len(server.seen) <= 12
        assert "\n" not in str(stopped.value)


def test_a_dead_port_is_said_to_have_no_connection(cache: AnswerCache) -> None:
    address = dead_address()
    with pytest.raises(InputError) as stopped:
        ask(client(address, retries=1), asked(100), cache, "job")
    assert str(stopped.value).startswith(f"llms.m: {address} cannot be reached, or gives no answer in 5 s")


def test_a_server_that_dies_stops_the_job_and_the_next_run_asks_only_what_is_missing(
    cache: AnswerCache, tmp_path: Path
) -> None:
    requests = asked(80)

    def dies(seen: Seen) -> Reply:
        if len(server.seen) > 20:
            threading.Thread(target=server.die).start()
            return CUT
        return echo(seen)

    with FakeServer(dies) as server, pytest.raises(InputError, match="run the same command again") as stopped:
        ask(client(server, retries=1), requests, cache, "job")
    assert "\n" not in str(stopped.value)
    known = kept(tmp_path)
    assert 10 < len(known) <= 20
    with FakeServer(echo) as healthy:
        assert ask(client(healthy), requests, cache, "job") == echoed(requests)
        assert sorted(healthy.prompts) == sorted(r.prompt for r in requests if f"to {r.prompt}" not in known)


def test_one_prompt_that_is_refused_costs_no_other_its_answer(cache: AnswerCache) -> None:
    requests = asked(20)
    with FakeServer(lambda seen: refused(400, "too long") if seen.prompt == "prompt 7" else echo(seen)) as server:
        answers = ask(client(server), requests, cache, "job")
        assert len(server.seen) == 20
    assert isinstance(answers[7], Failure)
    assert "HTTP 400" in answers[7].reason
    assert "too long" in answers[7].reason
    assert answers[:7] + answers[8:] == echoed(requests[:7] + requests[8:])


def test_a_server_that_refuses_probabilities_is_asked_for_words(cache: AnswerCache) -> None:
    with FakeServer(lambda seen: refused(400, "no logprobs") if "logprobs" in seen.body else said("Yes")) as server:
        answers = ask(client(server), asked(10, choices=("yes", "no")), cache, "job")
        assert len(server.seen) == 11
    assert answers == [Answer("Yes", None, (11, 3))] * 10


def test_one_prompt_that_is_refused_costs_no_other_its_probabilities(cache: AnswerCache) -> None:
    def answer(seen: Seen) -> Reply:
        if seen.prompt == "prompt 0":
            return refused(400, "filtered")
        return said("Yes", {"Yes": 0.9} if "logprobs" in seen.body else None)

    with FakeServer(answer) as server:
        answers = ask(client(server), asked(10, choices=("yes", "no")), cache, "job")
    assert isinstance(answers[0], Failure)
    assert all(isinstance(one, Answer) and one.probabilities == pytest.approx((0.9, 0.0)) for one in answers[1:])


def test_probabilities_are_summed_over_the_ways_to_spell_a_word(cache: AnswerCache) -> None:
    likely = {"Yes": 0.5, " yes": 0.2, "NO": 0.1, "Maybe": 0.05, "yesterday": 0.02}
    with FakeServer(lambda seen: said("Yes", likely)) as server:
        choosing, free = ask(client(server), [Request("p", 4, ("yes", "no")), Request("q", 4)], cache, "job")
    assert isinstance(choosing, Answer)
    assert choosing.probabilities == pytest.approx((0.7, 0.1))
    assert isinstance(free, Answer)
    assert free.probabilities is None


@pytest.mark.parametrize("shown", [None, {}, {"content": []}, {"content": [{"token": "Yes", "top_logprobs": None}]}])
def test_without_probabilities_the_text_is_the_answer(shown: Any, cache: AnswerCache) -> None:
    content = completion("Yes")
    content["choices"][0]["logprobs"] = shown
    with FakeServer(lambda seen: sent(content)) as server:
        assert ask(client(server), asked(1, choices=("yes", "no")), cache, "job") == [Answer("Yes", None, (11, 3))]


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}, {"completion_tokens": "three"}, [1]])
def test_a_server_that_counts_no_tokens_is_answered_all_the_same(usage: Any, cache: AnswerCache) -> None:
    with FakeServer(lambda seen: sent({**completion("x"), "usage": usage})) as server:
        assert ask(client(server), asked(1), cache, "job") == [Answer("x", None, (0, 0))]


@pytest.fixture(scope="module")
def reader() -> Server:
    return client(dead_address())


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["message", "content", "logprobs", "top_logprobs", "token", "logprob"]), inner
        )
    ),
)


@given(anything, anything, anything)
def test_whatever_a_server_sends_is_an_answer_or_none(reader: Server, choice: Any, shown: Any, usage: Any) -> None:
    request = Request("prompt", 8, ("yes", "no"))
    whole = {"message": {"content": "yes"}, "logprobs": {"content": [{"top_logprobs": shown}]}}
    for sent_back in (choice, {"choices": [choice]}, {"choices": [whole], "usage": usage}):
        try:
            answer = reader._read(sent_back, request)
        except _NotAnAnswer:
            continue
        assert isinstance(answer.text, str)
        assert answer.probabilities is None or all(0.0 <= share <= 1.0 for share in answer.probabilities)


ERRORS = {
    "a text": ({"error": "Unexpected endpoint or method. (POST /chat/completions)"}, "Unexpected endpoint or method."),
    "an object": ({"error": {"message": "no model is loaded", "code": 1}}, "no model is loaded"),
    "a detail": ({"detail": [{"loc": ["body"], "msg": "field required"}]}, "field required"),
    "a message": ({"code": 1113, "msg": "no credit"}, "no credit"),
    "beside no choices": ({"choices": [], "error": {"message": "upstream"}}, "upstream"),
    "another API's answer": ({"done": True, "response": "sound"}, '{"done": true, "response": "sound"}'),
    "a page": ("<html>Welcome to the portal</html>", "Welcome to the portal"),
}


@pytest.mark.parametrize(("body", "words"), ERRORS.values(), ids=ERRORS)
def test_a_server_that_answers_200_with_an_error_is_quoted_after_one_request(
    body: Any, words: str, cache: AnswerCache
) -> None:
    with FakeServer(lambda seen: sent(body)) as server:
        with pytest.raises(InputError) as stopped:
            ask(client(server, retries=6, parallel=8), asked(100), cache, "job")
        assert len(server.seen) == 1
        assert server.url in str(stopped.value)
    assert words in str(stopped.value)
    assert "\n" not in str(stopped.value)


def test_an_error_with_200_after_good_answers_is_retried_and_quoted(cache: AnswerCache) -> None:
    fault = sent({"error": {"message": "upstream is gone", "code": 502}})
    with FakeServer(lambda seen: fault if seen.prompt == "prompt 3" else echo(seen)) as server:
        answers = ask(client(server, retries=1), asked(5), cache, "job")
        assert server.prompts.count("prompt 3") == 2
    assert answers[3] == Failure("it answers HTTP 200 and 'upstream is gone'")


EMPTY = {
    "content null": ({"content": None}, "stop", "an empty answer"),
    "no content": ({"role": "assistant"}, "stop", "an empty answer"),
    "reasoning alone": ({"content": "", "reasoning_content": "Okay, the"}, "stop", "beside its reasoning"),
    "reasoning cut off": (
        {"content": "", "reasoning": "Okay, the"},
        "length",
        "cut off at 64 tokens.*raise max_tokens",
    ),
    "thoughts cut off": ({"content": "<think>Okay, the"}, "length", "cut off at 64 tokens"),
    "a template's tokens": ({"content": "<|im_end|>\n"}, "stop", "an empty answer"),
    "a refusal": ({"content": None, "refusal": "I will not"}, "stop", "I will not"),
}


@pytest.mark.parametrize(("message", "ending", "why"), EMPTY.values(), ids=EMPTY)
def test_an_answer_that_says_nothing_is_retried_and_then_a_failure(
    message: Any, ending: str, why: str, cache: AnswerCache, tmp_path: Path
) -> None:
    nothing = sent({"choices": [{"index": 0, "message": message, "finish_reason": ending}]})
    with FakeServer(lambda seen: nothing if seen.prompt == "prompt 1" else echo(seen)) as server:
        answers = ask(client(server, retries=1), asked(3), cache, "job")
        assert server.prompts.count("prompt 1") == 2
    assert isinstance(answers[1], Failure)
    assert re.search(why, answers[1].reason)
    assert sorted(kept(tmp_path)) == ["to prompt 0", "to prompt 2"]


@pytest.mark.parametrize(
    ("ending", "finished"), [("stop", True), ("length", False), ("max_tokens", False), (None, True)]
)
def test_an_answer_that_was_cut_off_says_so_and_is_kept_so(
    ending: str | None, finished: bool, cache: AnswerCache
) -> None:
    content = completion("battery, pri")
    content["choices"][0]["finish_reason"] = ending
    with FakeServer(lambda seen: sent(content)) as server:
        for _ in range(2):
            assert ask(client(server), asked(1), cache, "job") == [Answer("battery, pri", None, (11, 3), finished)]
        assert len(server.seen) == 1


def test_the_text_of_an_answer_in_parts_is_read_without_its_thoughts(cache: AnswerCache) -> None:
    parts = [
        {"type": "thinking", "thinking": "Okay"},
        {"type": "text", "text": "sound, "},
        {"type": "text", "text": "price"},
    ]
    with FakeServer(lambda seen: sent({"choices": [{"message": {"content": parts}}]})) as server:
        assert ask(client(server), asked(1), cache, "job") == [Answer("sound, price")]


def token(text: str, **likely: float | None) -> dict[str, Any]:
    top = [{"token": word, "logprob": share and math.log(share)} for word, share in likely.items()]
    return {"token": text, "logprob": -0.1, "top_logprobs": top}


BLANK = {word: token(word, **{word: 0.99}) for word in ("\n", " ", "Ċ", "▁", "**", '"', "<|im_start|>", "```")}


@pytest.mark.parametrize("before", [[], ["\n"], ["Ċ", " "], ["**"], ["<|im_start|>", "\n"], ["```", "\n", '"']])
def test_probabilities_are_those_of_the_first_token_that_is_a_word(before: list[str], cache: AnswerCache) -> None:
    content = completion("".join(before) + "Yes")
    shown = [*(BLANK[word] for word in before), token("Yes", Yes=0.6, ĠYES=0.1, No=0.2, maybe=None), token(".", no=0.9)]
    content["choices"][0]["logprobs"] = {"content": shown}
    with FakeServer(lambda seen: sent(content)) as server:
        (answer,) = ask(client(server), asked(1, choices=("yes", "no")), cache, "job")
    assert isinstance(answer, Answer)
    assert answer.probabilities == pytest.approx((0.7, 0.2))


@pytest.mark.parametrize(
    "shown",
    [
        {"content": [BLANK["\n"]]},
        {"content": [{"token": "Yes", "top_logprobs": [{"token": "Yes", "logprob": None}]}]},
        {"content": [{"token": "Yes", "top_logprobs": [{"token": None, "logprob": -0.1}, None, 3]}]},
        {"tokens": ["Yes"], "token_logprobs": [-0.1], "top_logprobs": [{"Yes": -0.1}]},
        [],
        "Yes",
    ],
)
def test_probabilities_that_cannot_be_read_leave_the_text(shown: Any, cache: AnswerCache) -> None:
    content = completion("\nYes")
    content["choices"][0]["logprobs"] = shown
    with FakeServer(lambda seen: sent(content)) as server:
        (answer,) = ask(client(server), asked(1, choices=("yes", "no")), cache, "job")
    assert isinstance(answer, Answer)
    assert read_probability(answer) == 1.0


def test_thoughts_before_a_word_leave_the_text(cache: AnswerCache) -> None:
    content = completion("<think>no</think>Yes", {"<think>": 0.9, "No": 0.1})
    with FakeServer(lambda seen: sent(content)) as server:
        (answer,) = ask(client(server), asked(1, choices=("yes", "no")), cache, "job")
    assert isinstance(answer, Answer)
    assert (answer.probabilities, read_probability(answer)) == (None, 1.0)


def body(cache: AnswerCache, request: Request, **options: Any) -> Mapping[str, Any]:
    with FakeServer(echo) as server:
        ask(client(server, **options), [request], cache, "job")
    return server.seen[0].body


def test_every_parameter_is_sent(cache: AnswerCache) -> None:
    message = {"model": "tiny", "messages": [{"role": "user", "content": "p"}]}
    assert body(cache, Request("p", 64)) == {**message, "temperature": 0.0, "max_tokens": 64}
    sampling = {"temperature": 0.7, "seed": 5}
    extra = {"top_k": 1, "chat_template_kwargs": {"enable_thinking": False}}
    assert body(cache, Request("p", 9), **sampling, extra=extra) == {**message, **sampling, **extra, "max_tokens": 9}
    bare = body(cache, Request("p", 64), temperature=None, extra={"max_completion_tokens": 9})
    assert bare == {**message, "max_completion_tokens": 9}
    choosing = body(cache, Request("p", 4, ("yes", "no")))
    assert {**message, "temperature": 0.0, "max_tokens": 4, "logprobs": True, "top_logprobs": 20} == choosing


def test_as_many_requests_as_allowed_are_under_way_and_no_more(cache: AnswerCache) -> None:
    with FakeServer(lambda seen: replace(echo(seen), wait=0.05)) as server:
        ask(client(server, parallel=8), asked(60), cache, "job")
        assert server.most == 8


JOB = """
import json, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a job in the background inherits as ignored
from pathlib import Path
from descry.llm.asking import ask
from descry.llm.cache import AnswerCache
from descry.llm.client import Request
from descry.llm.options import ServerOptions
from descry.llm.server import Server
from descry.settings.llms import ServerLlm

url, folder, count = sys.argv[1:]
options = ServerLlm(client="openai", base_url=url, model="tiny").model_dump(exclude={"client"})
server = Server("m", ServerOptions(**options), parallel=8, timeout=60, retries=2)
requests = [Request(f"prompt {number}", 64) for number in range(int(count))]
answers = ask(server, requests, AnswerCache(Path(folder)), "job")
print("answers:", json.dumps([answer.text for answer in answers]))
"""


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", JOB, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_job_that_hangs_can_be_interrupted(tmp_path: Path) -> None:
    with FakeServer(lambda seen: HANGS if len(server.seen) > 1 else echo(seen)) as server:
        job = started(server.url, str(tmp_path), "50")
        until = time.monotonic() + 30
        while server.most < 8 and time.monotonic() < until:
            time.sleep(0.01)
        assert server.most == 8
        job.send_signal(signal.SIGINT)
        start = time.monotonic()
        _, errors = job.communicate(timeout=10)
        assert time.monotonic() - start < 2
    assert job.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert kept(tmp_path) == ["to prompt 0"]


def test_two_processes_at_once_end_with_the_same_answers(tmp_path: Path) -> None:
    with FakeServer(lambda seen: said(f"{seen.prompt}, {len(server.seen)}", wait=0.02)) as server:
        jobs = [started(server.url, str(tmp_path), "200") for _ in range(2)]
        outputs = [job.communicate(timeout=60) for job in jobs]
        assert [job.returncode for job in jobs] == [0, 0]
        assert 200 < len(server.seen) <= 400
    first, second = (json.loads(output.split("answers: ")[1]) for output, _ in outputs)
    assert first == second
    assert [answer.split(",")[0] for answer in first] == [request.prompt for request in asked(200)]


def tattles(status: int, before: int = 0) -> Any:
    """Says what key it was given, after so many characters."""

    def answer(seen: Seen) -> Reply:
        return refused(status, "x" * before + f" you sent {seen.headers['authorization']}")

    return answer


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500])
def test_the_key_is_sent_and_never_shown_or_kept(
    status: int,
    cache: AnswerCache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.delenv("OPENAI_LOG", raising=False)
    caplog.set_level("DEBUG")
    with FakeServer(echo if status == 200 else tattles(status)) as server:
        asking = client(server, key=VARIABLE, retries=0)
        try:
            shown = repr(ask(asking, asked(2), cache, "job"))
        except InputError as error:
            shown = str(error)
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    text = "\n".join([shown, repr(asking), str(asking), *capfd.readouterr(), caplog.text, json.dumps(asking.identity)])
    assert "SECRET" not in text
    assert b"SECRET" not in files


def test_not_even_the_beginning_of_the_key_is_shown(cache: AnswerCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    reasons = ""
    for before in range(100, 200, 7):
        with FakeServer(tattles(400, before)) as server:
            (failure,) = ask(client(server, key=VARIABLE), asked(1), cache, "job")
        assert isinstance(failure, Failure)
        reasons += failure.reason
    assert "sk-" not in reasons


def test_a_key_that_is_not_set_is_named_before_any_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with FakeServer(echo) as server:
        with pytest.raises(InputError, match=VARIABLE) as stopped:
            client(server, key=VARIABLE)
        assert server.seen == []
    assert "\n" not in str(stopped.value)


NAMES = ("battery life", "sound")


def teacher(server: FakeServer, cache: AnswerCache, max_missing: float) -> ListTeacher:
    again = Prompt.parse("{prompt}\nOnce more:", AGAIN_FIELDS, "again")
    asker = Asker(client(server), cache, again, max_missing)
    return ListTeacher(asker, Prompt.parse("{descriptors}\n> {sentence}", LIST_FIELDS, "list"), 64)


def test_an_answer_in_another_language_is_asked_again_and_then_missing(cache: AnswerCache) -> None:
    foreign = "Akkulaufzeit und Lautstärke"

    def answer(seen: Seen) -> Reply:
        once_more = seen.prompt.endswith("Once more:")
        return said(foreign if "> one" in seen.prompt or ("> two" in seen.prompt and not once_more) else "Sound.")

    assert read_names(foreign, NAMES) is None
    with FakeServer(answer) as server:
        found = teacher(server, cache, 0.5).label(["one", "two", "three"], NAMES)
        assert found.labels.tolist() == [[-1, -1], [0, 1], [0, 1]]
        assert len(server.seen) == 5
        with pytest.raises(InputError, match=f"33.3 % of the labels are missing.*{foreign}"):
            teacher(server, cache, 0.1).label(["one", "two", "three"], NAMES)
        assert len(server.seen) == 5


def test_a_server_that_never_answers_in_time_stops_the_job_at_its_first_request(cache: AnswerCache) -> None:
    with FakeServer(lambda seen: HANGS) as server:
        with pytest.raises(InputError, match=r"gives no answer in 0\.2 s \(runtime\.timeout\)"):
            ask(client(server, timeout=0.2, retries=1), asked(100), cache, "job")
        assert set(server.prompts) == {"prompt 0"}


def test_after_good_answers_403_is_about_one_prompt(cache: AnswerCache) -> None:
    with FakeServer(lambda seen: refused(403, "moderated") if seen.prompt == "prompt 3" else echo(seen)) as server:
        found = ask(client(server), asked(9), cache, "job")
        assert [isinstance(answer, Failure) for answer in found] == [number == 3 for number in range(9)]


def test_half_a_character_is_replaced_and_can_be_kept(cache: AnswerCache) -> None:
    with FakeServer(lambda seen: said("half \ud83d of it")) as server:
        (answer,) = ask(client(server), asked(1), cache, "job")
        assert isinstance(answer, Answer)
        assert answer.text == "half ? of it"


def test_no_account_of_the_environment_is_sent_to_whatever_server(
    cache: AnswerCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "SECRET-of-another")
    with FakeServer(echo) as server:
        ask(client(server), asked(2), cache, "job")
        assert "SECRET-of-another" not in str([seen.headers for seen in server.seen])
