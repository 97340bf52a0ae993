"""What does a language model cost: time by the number of concurrent requests, calls and tokens by the labeller?

Run after `dvc repro`: python -m benchmarks.llm. Writes benchmarks/results/llm.json. The server is a fake one, in a
process of its own: it records the prompts, and answers with the labels and candidates of the committed run.
"""

import asyncio
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time
from typing import Any

import numpy as np
import yaml

from descry.llm.asking import ask
from descry.llm.cache import AnswerCache
from descry.llm.client import Answer, Request
from descry.llm.options import ServerOptions
from descry.llm.prompts import Prompt
from descry.llm.server import Server
from descry.schemas.generate import CANDIDATE_TABLE
from descry.schemas.label import LABEL_ARRAYS
from descry.schemas.split import SENTENCE_TABLE
from descry.settings.llms import ServerLlm
from descry.storage.arrays import read_arrays
from descry.storage.files import read_json, write_json
from descry.storage.tables import read_table

LATENCY = 0.05
CONCURRENCY, REQUESTS, ROUNDS = 32, 640, 3
SPLITS = ("calibration", "validation")
SENTENCES, EACH_SENTENCES, LARGE = 1000, 50, 200_000
PARAMETERS = yaml.safe_load(Path("params.yaml").read_text())


Exchange = tuple[str, str]
"""A prompt that reached the server, and its answer."""


class Model(asyncio.Protocol):
    """A connection to the fake server: HTTP/1.1, one request after the other."""

    def __init__(self, answers: Mapping[str, str], latency: float, seen: list[Exchange]) -> None:
        self._answers, self._latency, self._seen, self._read = answers, latency, seen, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
        if found and len(body) >= length:
            self._read = body[length:]
            reply = self._reply(json.loads(body[:length]))
            asyncio.get_running_loop().call_later(self._latency, self._transport.write, reply)

    def _reply(self, request: Mapping[str, Any]) -> bytes:
        prompt = request["messages"][0]["content"]
        text = self._answers.get(prompt)
        if text is None:
            return b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"
        self._seen.append((prompt, text))
        choice: dict[str, Any] = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": text},
        }
        if request.get("logprobs"):
            other = "no" if text == "yes" else "yes"
            top = [{"token": token, "logprob": math.log(p), "bytes": None} for token, p in ((text, 0.9), (other, 0.1))]
            choice["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
        usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": 4, "total_tokens": len(prompt) // 4 + 4}
        content = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        body = json.dumps({**content, "usage": usage}).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def serve(pipe: Connection, answers: Mapping[str, str], latency: float) -> None:
    """Serve until a message comes through the pipe; then send back the exchanges."""
    seen: list[Exchange] = []

    async def serving() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(partial(Model, answers, latency, seen), "127.0.0.1", 0, backlog=1024)
        pipe.send(server.sockets[0].getsockname()[1])
        await loop.run_in_executor(None, pipe.recv)

    asyncio.run(serving())
    pipe.send(seen)


@contextmanager
def model(answers: Mapping[str, str], latency: float) -> Iterator[tuple[str, Callable[[], list[Exchange]]]]:
    """Start a server; yields its address, and a function that stops it and returns its exchanges."""
    here, there = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=serve, args=(there, answers, latency), daemon=True)
    process.start()
    port = here.recv()

    def stop() -> list[Exchange]:
        here.send(None)
        return list(here.recv())

    try:
        yield f"http://127.0.0.1:{port}/v1", stop
    finally:
        process.kill()
        process.join()


def client(url: str, parallel: int) -> Server:
    options = ServerLlm(client="openai", base_url=url, model="m").model_dump(exclude={"client"})
    return Server("benchmark", ServerOptions(**options), parallel=parallel, timeout=60.0, retries=2)


def timed(url: str, requests: Sequence[Request], parallel: int) -> tuple[float, float]:
    """Time all requests with an empty cache: seconds, and CPU seconds of this process."""
    with TemporaryDirectory() as folder:
        cache, asking = AnswerCache(Path(folder)), client(url, parallel)
        start, busy = perf_counter(), process_time()
        answers = ask(asking, requests, cache, f"{parallel} at once")
        found = perf_counter() - start, process_time() - busy
        assert all(isinstance(answer, Answer) for answer in answers)
    return found


def speed() -> dict[str, Any]:
    """Compare one request at a time with CONCURRENCY at once."""
    requests = [
        Request(f"Sentence {number}: the battery died after a week. Aspects:", 64) for number in range(REQUESTS)
    ]
    rounds = []
    with model({request.prompt: "battery" for request in requests}, LATENCY) as (url, _):
        timed(url, requests[:CONCURRENCY], CONCURRENCY)
        for _ in range(ROUNDS):
            (alone, _), (together, busy) = timed(url, requests, 1), timed(url, requests, CONCURRENCY)
            rounds.append({"one": alone, "together": together, "together_cpu": busy, "speedup": alone / together})
            print(rounds[-1])
    return {
        "concurrency": CONCURRENCY,
        "latency_seconds": LATENCY,
        "requests": REQUESTS,
        "concurrency_speedup": round(float(np.median([one["speedup"] for one in rounds])), 2),
        "rounds": [{name: round(value, 3) for name, value in one.items()} for one in rounds],
    }


def prompt(name: str, fields: Sequence[str]) -> Prompt:
    path = Path(f"prompts/{name}.txt")
    return Prompt.parse(path.read_text(encoding="utf-8"), fields, str(path))


def asked(job: Callable[[Server, AnswerCache], Any], answers: Mapping[str, str]) -> tuple[Any, list[Exchange]]:
    """Run a job on a server of its own; returns the job's result and the exchanges."""
    with TemporaryDirectory() as folder, model(answers, 0.0) as (url, stop):
        return job(client(url, CONCURRENCY), AnswerCache(Path(folder))), stop()


def costs() -> dict[str, Any]:
    """Count calls and tokens per 1,000 sentences, for each labeller and the generator."""
    # Here, since every server's process imports this module.
    from transformers import AutoTokenizer

    from descry.labelling.prompted import AGAIN_FIELDS, EACH_FIELDS, LIST_FIELDS, Asker, EachTeacher, ListTeacher
    from descry.vocabulary.prompted import FIELDS, Example, Prompted

    splits = {s: read_table(Path(f"data/sentences/{s}.parquet"), SENTENCE_TABLE) for s in SPLITS}
    sentences, corpus = splits["calibration"], sum(map(len, splits.values()))
    names = [one["name"] for one in read_json(Path("data/descriptors.json"))["descriptors"]]
    applies = read_arrays(Path("data/labels/first/calibration.safetensors"), LABEL_ARRAYS)[0]["labels"] == 1
    candidates = read_table(Path("data/candidates.parquet"), CANDIDATE_TABLE)
    tokenizer: Any = AutoTokenizer.from_pretrained("data/models/embedder", local_files_only=True)
    first = sentences.head(SENTENCES)
    texts = first["text"].tolist()
    options, sample = PARAMETERS["label"]["prompted"], PARAMETERS["label"]["distil"]["sample"]

    def per_1000(exchanges: Sequence[Exchange], over: int) -> dict[str, float]:
        prompts, answers = (
            sum(map(len, tokenizer(list(texts), add_special_tokens=False)["input_ids"]))
            for texts in zip(*exchanges, strict=True)
        )
        counts = {"calls": len(exchanges), "tokens": prompts + answers, "answer_tokens": answers}
        return {name: 1000 * count / over for name, count in counts.items()}

    def asker(server: Server, cache: AnswerCache) -> Asker:
        return Asker(server, cache, prompt("label_again", AGAIN_FIELDS), PARAMETERS["label"]["max_missing"])

    def listing(server: Server, cache: AnswerCache) -> ListTeacher:
        return ListTeacher(asker(server, cache), prompt("label_list", LIST_FIELDS), options["max_tokens"])

    def each(server: Server, cache: AnswerCache) -> EachTeacher:
        return EachTeacher(asker(server, cache), prompt("label_each", EACH_FIELDS), options["threshold"])

    def generator(server: Server, cache: AnswerCache) -> Prompted:
        written, sizes = PARAMETERS["generate"]["prompted"], PARAMETERS["generate"]
        return Prompted(
            server,
            cache,
            prompt("generate", FIELDS),
            Example(written["sentence"], written["answer"]),
            per_sentence=sizes["per_sentence"],
            sample=sizes["sample"],
            words=written["words"],
            max_tokens=written["max_tokens"],
        )

    nobody: Any = None
    listed = [", ".join(name for name, one in zip(names, row, strict=True) if one) or "none" for row in applies]
    requests = [request.prompt for request in listing(nobody, nobody).requests(texts, names)]
    found, by_list = asked(
        lambda server, cache: listing(server, cache).label(texts, names),
        dict(zip(requests, listed[:SENTENCES], strict=True)),
    )
    print(f"list: {(found.labels == applies[:SENTENCES]).mean():.4f} of the labels as the server meant them")

    few = texts[:EACH_SENTENCES]
    requests = [request.prompt for request in each(nobody, nobody).requests(few, names)]
    words = ["yes" if one else "no" for one in applies[:EACH_SENTENCES].ravel()]
    found, by_each = asked(
        lambda server, cache: each(server, cache).label(few, names), dict(zip(requests, words, strict=True))
    )
    print(f"each: {(found.labels == applies[:EACH_SENTENCES]).mean():.4f} of the labels as the server meant them")

    named = candidates.groupby("row")["candidate"].agg(", ".join)
    requests = [generator(nobody, nobody).request(text).prompt for text in texts]
    replies = [named.get(row, "none") for row in range(len(texts))]
    _, by_generator = asked(
        lambda server, cache: generator(server, cache).propose(first), dict(zip(requests, replies, strict=True))
    )

    rates = {"list": per_1000(by_list, len(texts)), "each": per_1000(by_each, len(few))}
    for name, read, size in (("distil", min(sample, len(sentences)), corpus), (f"distil_{LARGE}", sample, LARGE)):
        rates[name] = {what: rate * read / size for what, rate in rates["list"].items()}
    rates["generate"] = per_1000(by_generator, len(texts))
    whats = ("calls", "tokens", "answer_tokens")
    return {
        **{f"{what}_per_1000": {name: round(rate[what], 1) for name, rate in rates.items()} for what in whats},
        "sentences": {"list": len(texts), "each": len(few), "generate": len(texts), "distil": corpus},
        "descriptors": len(names),
        "notes": [
            "tokens: prompt and answer, as the embedded model's tokenizer counts them",
            f"each: asked about {len(few)} sentences, and scaled",
            f"distil: list for a sample of {sample} sentences, spread over all {corpus} of the corpus, or over {LARGE}",
        ],
    }


def main() -> None:
    content = {**costs(), **speed()}
    write_json(Path("benchmarks/results/llm.json"), content)


if __name__ == "__main__":
    main()
