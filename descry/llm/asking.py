"""Asks a client a list of requests: cached answers are not asked for again, new answers are cached at once."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.pool import ThreadPool

import numpy as np
from tqdm import tqdm

from descry.errors import InputError
from descry.llm.cache import AnswerCache, answer_key
from descry.llm.client import Answer, Client, Failure, Request

CHARACTERS_A_TOKEN = 4
"""Of English text, about; for the estimate before a job."""
FEWEST_FAILURES = 3
"""A job stops after at least so many batches in a row, and at least as many as run at once, without an answer."""


def ask(client: Client, requests: Sequence[Request], cache: AnswerCache, what: str) -> list[Answer | Failure]:
    """Ask `requests`; answers come in their order, and equal requests are asked once.

    Batches are formed of all requests, cached or not, so that an interrupted job sends the same batches when it goes
    on. what: the job's name, in the line before it and on its progress bar. Errors: InputError if the client gives up
    or only failures come back; answers so far are kept.
    """
    keys = [answer_key(client.identity, request) for request in requests]
    distinct = dict(zip(keys, requests, strict=True))
    order, unique = list(distinct), list(distinct.values())
    known = cache.read(order)
    batches = [
        [position for position in batch if order[position] not in known]
        for batch in (client.batches(unique) if len(known) < len(order) else [])
    ]
    batches = [batch for batch in batches if batch]
    missing = [unique[position] for batch in batches for position in batch]
    plan = _describe_plan(len(requests), len(requests) - len(distinct), len(known), missing)
    print(f"{what}, {client.name}: {plan}", flush=True)
    failures: dict[bytes, Failure] = {}
    in_a_row = 0

    def answer_batch(batch: list[int]) -> tuple[list[int], list[Answer | Failure]]:
        return batch, client.answer([unique[position] for position in batch])

    # The first batch goes alone, so that a refused key or an unknown model costs one request.
    with (
        ThreadPool(client.parallel) as pool,
        tqdm(total=len(missing), desc=what, unit="call", disable=not missing) as bar,
    ):
        for group in (batches[:1], batches[1:]):
            for batch, answers in pool.imap_unordered(answer_batch, group):
                answered = {}
                for position, answer in zip(batch, answers, strict=True):
                    if isinstance(answer, Failure):
                        failures[order[position]] = answer
                    else:
                        answered[order[position]] = answer
                cache.write(answered)
                in_a_row = 0 if answered else in_a_row + 1
                if in_a_row >= max(FEWEST_FAILURES, client.parallel):
                    reason = next(answer.reason for answer in answers if isinstance(answer, Failure))
                    raise InputError(
                        f"{what}: {client.name} gave no answer {in_a_row} times in a row ({reason}); "
                        "earlier answers are kept: run the same command again to go on"
                    )
                bar.update(len(batch))
    # Read back, so that two processes with the same requests return the same answers.
    known |= cache.read([key for key in order if key not in known])
    lost = Failure("its answer could not be kept")
    return [known.get(key) or failures.get(key, lost) for key in keys]


def score(
    client: Client, prefix: str, middles: Sequence[str], suffixes: Sequence[str], cache: AnswerCache, what: str
) -> np.ndarray:
    """Score every suffix as what follows `prefix` and a middle: log-likelihoods, float64 [middles, suffixes], <= 0.

    client: a `likelihood.LikelihoodModel`, which reads the prefix once, or what stands for it. A row is NaN where the
    client cannot read the prompt. Scores are cached as answers are; what, errors: as of `ask`.
    """
    requests = [Request(prefix + middle, 0, tuple(suffixes)) for middle in middles]
    rows = [read_likelihoods(answer, len(suffixes)) for answer in ask(client, requests, cache, what)]
    return np.array(rows).reshape(len(middles), len(suffixes))


def read_likelihoods(answer: Answer | Failure, count: int) -> np.ndarray:
    """The log-likelihoods of a request's `count` choices: float64 [count], <= 0; NaN where there is no answer."""
    if isinstance(answer, Failure) or answer.probabilities is None:
        return np.full(count, np.nan)
    return np.asarray(np.log(np.maximum(answer.probabilities, np.finfo(float).tiny)))


def _describe_plan(calls: int, repeated: int, known: int, missing: Sequence[Request]) -> str:
    prompts = sum(len(request.prompt) for request in missing) // CHARACTERS_A_TOKEN
    most = sum(request.max_tokens for request in missing)
    twice = f" ({repeated:,} of them repeated)" if repeated else ""
    tokens = f", about {prompts:,} tokens in{f' and at most {most:,} out' if most else ''}" if missing else ""
    return f"{calls:,} calls{twice}, {known:,} answered already, {len(missing):,} to make{tokens}"
