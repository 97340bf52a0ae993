"""A list of requests put to a client: what is known already is not asked again, what is answered is kept at once."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.pool import ThreadPool

from tqdm import tqdm

from descry.errors import InputError
from descry.llm.cache import AnswerCache, answer_key
from descry.llm.client import Answer, Client, Failure, Request

CHARACTERS_A_TOKEN = 4
"""English text, about; for the estimate before a job."""
LEAST_BROKEN = 3
"""A job stops when so many batches in a row, and as many as are in flight, had no answer."""


def ask(client: Client, requests: Sequence[Request], cache: AnswerCache, what: str) -> list[Answer | Failure]:
    """The answers to `requests`, in their order; equal requests are asked once.

    Batches are formed of all requests, answered or not, and kept whole: broken off and asked again, a client
    meets the very batches that it would have met. what: names the job in the line before it and on its bar.
    Errors: InputError where the client gives up, or nothing but failures comes back; what was answered is kept.
    """
    keys = [answer_key(client.identity, request) for request in requests]
    distinct = dict(zip(keys, requests, strict=True))
    order, asked = list(distinct), list(distinct.values())
    known = cache.read(order)
    batches = [
        [position for position in batch if order[position] not in known]
        for batch in (client.batches(asked) if len(known) < len(order) else [])
    ]
    batches = [batch for batch in batches if batch]
    missing = [asked[position] for batch in batches for position in batch]
    plan = _plan(len(requests), len(requests) - len(distinct), len(known), missing)
    print(f"{what}, {client.name}: {plan}", flush=True)
    failures: dict[bytes, Failure] = {}
    in_a_row = 0

    def answered(batch: list[int]) -> tuple[list[int], list[Answer | Failure]]:
        return batch, client.answer([asked[position] for position in batch])

    # The first batch goes alone: a refused key or an unknown model costs one request.
    with (
        ThreadPool(client.parallel) as pool,
        tqdm(total=len(missing), desc=what, unit="call", disable=not missing) as bar,
    ):
        for group in (batches[:1], batches[1:]):
            for batch, answers in pool.imap_unordered(answered, group):
                good = {}
                for position, answer in zip(batch, answers, strict=True):
                    if isinstance(answer, Failure):
                        failures[order[position]] = answer
                    else:
                        good[order[position]] = answer
                cache.write(good)
                in_a_row = 0 if good else in_a_row + 1
                if in_a_row >= max(LEAST_BROKEN, client.parallel):
                    reason = next(answer.reason for answer in answers if isinstance(answer, Failure))
                    raise InputError(
                        f"{what}: {client.name} gave no answer {in_a_row} times in a row ({reason}); "
                        "what it answered before is kept: run the same command again to go on"
                    )
                bar.update(len(batch))
    # Read back, so that two processes that asked the same give the same.
    known |= cache.read([key for key in order if key not in known])
    lost = Failure("its answer could not be kept")
    return [known.get(key) or failures.get(key, lost) for key in keys]


def _plan(calls: int, repeated: int, known: int, missing: Sequence[Request]) -> str:
    prompts = sum(len(request.prompt) for request in missing) // CHARACTERS_A_TOKEN
    most = sum(request.max_tokens for request in missing)
    twice = f" ({repeated:,} of them repeated)" if repeated else ""
    tokens = f", about {prompts:,} tokens in and at most {most:,} out" if missing else ""
    return f"{calls:,} calls{twice}, {known:,} answered already, {len(missing):,} to make{tokens}"
