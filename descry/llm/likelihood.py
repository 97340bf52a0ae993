"""How likely a language model on this machine finds texts as the continuation of a prompt, in one pass for all of them.

A causal model reads what the prompts have in common once and keeps its state. Behind it, a row holds the rest of one
prompt and all continuations, each of which sees the prompt and itself alone.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from descry.compute.batching import batch_by_tokens
from descry.llm.client import Answer, Failure, Request
from descry.llm.options import LocalOptions
from descry.llm.prefix import find_prefix
from descry.llm.weights import load_llm
from descry.models.loading import DTYPES, agree

LOGITS = 2**26
"""Most logits that are computed at once."""
PACKED = 256
"""Most tokens of continuations in a row; more are spread over several rows of the same prompt."""
_TRIALS = ("Sentence: The lid fell off and the wheels squeak.\nTopic:", "Sentence: It was cheap.\nTopic:")
_SUFFIXES = (" lid and wheels\n", " the price of it all\n", " size\n")

Ids = Sequence[int]


class LikelihoodModel:
    """A client that gives the probability of each of a request's choices, any texts, as the prompt's continuation.

    The prompt is completed as it stands, without a chat template. An encoder-decoder's encoder reads the prompt, and
    the decoder's likelihood counts, to the end of the answer. cached: whether states are kept and shared, which changes
    nothing but the time; an architecture that cannot (no mask or positions of its own) does without anyway. Other
    arguments and errors: as `local.LocalModel`.
    """

    parallel = 1

    def __init__(self, folder: Path, name: str, revision: str, options: LocalOptions, *, cached: bool = True) -> None:
        self.name = name
        self.identity: Mapping[str, Any] = {
            "client": "transformers",
            "answer": "likelihood",
            "weights": revision,
            "dtype": options.dtype,
        }
        loaded = load_llm(folder, name, options)
        self._model, self._tokenizer, self._special = loaded.model, loaded.tokenizer, loaded.special
        self._seq2seq, self._longest, self._tokens = loaded.seq2seq, loaded.longest, options.batch_tokens
        self._vocabulary: int = self._model.get_input_embeddings().num_embeddings
        self._kept: tuple[list[int], Any] = ([], None)
        self._start = _find_start(self._tokenizer)
        self._cached = cached and (self._seq2seq or self._can_pack(DTYPES[options.dtype]))

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Batches of requests with the same choices, of similar length, shortest first."""
        batches: list[list[int]] = []
        for choices in dict.fromkeys(request.choices for request in requests):
            places = [i for i, request in enumerate(requests) if request.choices == choices]
            suffixes = self._encode_choices(requests[places[0]])
            columns = max(sum(len(suffixes[i]) for i in group) for group in _group(suffixes))
            lengths = [len(ids) + columns for ids in self._encode([requests[place].prompt for place in places])]
            rows = max(1, LOGITS // (self._vocabulary * columns))
            for batch in batch_by_tokens(lengths, self._tokens):
                batches += [[places[i] for i in batch[start : start + rows]] for start in range(0, len(batch), rows)]
        return batches

    def answer(self, requests: Sequence[Request]) -> list[Answer | Failure]:
        """Answers in the order of the requests, which share choices: no text, and the choices' probabilities. A prompt
        longer than the model can read is a failure."""
        suffixes = self._encode_choices(requests[0])
        prompts = self._encode([request.prompt for request in requests])
        most = (self._longest or math.inf) - max(map(len, suffixes))
        fitting = [ids for ids in prompts if len(ids) <= most]
        scores = iter(self._score(fitting, suffixes).double().exp().tolist() if fitting else ())
        count = sum(map(len, suffixes))
        return [
            Answer("", tuple(next(scores)), (len(ids), count))
            if len(ids) <= most
            else Failure(f"a prompt of {len(ids)} tokens, and the model reads {self._longest}")
            for ids in prompts
        ]

    @torch.inference_mode()
    def _score(self, prompts: Sequence[Ids], suffixes: Sequence[Ids]) -> Tensor:
        """Log-likelihood of each suffix behind each prompt: float32 [prompts, suffixes], on the CPU."""
        if self._seq2seq:
            return torch.cat([self._score_decoded(ids, suffixes) for ids in prompts])
        if not self._cached:
            return self._score_alone(prompts, suffixes)
        length, state = self._read_prefix(prompts)
        rests = [ids[length:] for ids in prompts]
        scores = torch.empty(len(prompts), len(suffixes))
        for group in _group(suffixes):
            scores[:, group] = self._score_packed(length, state, rests, [suffixes[i] for i in group])
        return scores

    def _read_prefix(self, prompts: Sequence[Ids]) -> tuple[int, Any]:
        """Number of tokens that all prompts begin with, short of a whole prompt, and the model's state behind them. The
        last one is used again if it still fits."""
        prefix, state = self._kept
        shortest = min(map(len, prompts))
        if len(prefix) >= shortest or any(list(ids[: len(prefix)]) != prefix for ids in prompts) or state is None:
            prefix = find_prefix(prompts)
            state = self._forward([prefix], 1, use_cache=True).past_key_values if prefix else None
            self._kept = prefix, state
        return len(prefix), state

    def _score_packed(self, before: int, state: Any, rests: Sequence[Ids], suffixes: Sequence[Ids]) -> Tensor:
        """Scores behind a shared state of `before` tokens; a row holds the padded rest of a prompt and all suffixes but
        their last tokens, which nothing follows."""
        width = max(map(len, rests))
        packed = [(owner, depth, token) for owner, ids in enumerate(suffixes) for depth, token in enumerate(ids[:-1])]
        lengths = torch.tensor([len(ids) for ids in rests])
        rows = [[*[0] * (width - len(ids)), *ids, *[token for _, _, token in packed]] for ids in rests]
        owners = torch.tensor([-1] * width + [owner for owner, _, _ in packed])
        depths = torch.tensor([0] * width + [depth for _, depth, _ in packed])
        column = torch.arange(len(owners))
        steps = torch.where(owners < 0, column - width + lengths[:, None], lengths[:, None] + depths)
        seen = (column <= column[:, None]) & ((owners == -1) | (owners == owners[:, None]))
        seen = seen & (column >= width - lengths[:, None])[:, None, :]
        mask = torch.zeros(len(rows), 1, len(owners), before + len(owners), dtype=self._model.dtype)
        mask[:, 0, :, before:].masked_fill_(~seen, torch.finfo(self._model.dtype).min)
        if state is not None:
            state = copy.deepcopy(state)
            state.batch_repeat_interleave(len(rows))
        logits = self._forward(
            rows,
            1 + len(packed),
            attention_mask=mask.to(self._model.device),
            position_ids=(before + steps.clamp(min=0)).to(self._model.device),
            past_key_values=state,
            use_cache=True,
        ).logits[:, -1 - len(packed) :]
        places = {(owner, depth + 1): place for place, (owner, depth, _) in enumerate(packed, start=1)}
        targets = [
            (i, places.get((i, depth), 0), token) for i, ids in enumerate(suffixes) for depth, token in enumerate(ids)
        ]
        return _sum_likelihoods(logits, targets, len(suffixes))

    def _score_alone(self, prompts: Sequence[Ids], suffixes: Sequence[Ids]) -> Tensor:
        """Scores without any shared state, in rows without padding: every prompt with every suffix and nothing else."""
        rows = [(i, j) for i in range(len(prompts)) for j in range(len(suffixes))]
        lengths = [len(prompts[i]) + len(suffixes[j]) for i, j in rows]
        kept = max(map(len, suffixes)) + 1
        most = min(self._tokens, max(1, LOGITS // (self._vocabulary * kept)) * max(lengths))
        scores = torch.empty(len(prompts), len(suffixes))
        for batch in batch_by_tokens(lengths, most, equal=True):
            pairs = [rows[place] for place in batch]
            logits = self._forward([[*prompts[i], *suffixes[j]] for i, j in pairs], kept, use_cache=False).logits
            for (i, j), row in zip(pairs, logits, strict=True):
                targets = [(0, depth - len(suffixes[j]) - 1, token) for depth, token in enumerate(suffixes[j])]
                scores[i, j] = _sum_likelihoods(row[None], targets, 1)
        return scores

    def _score_decoded(self, prompt: Ids, suffixes: Sequence[Ids]) -> Tensor:
        """Scores of an encoder-decoder: the encoder and the decoder's view of it are computed once for all suffixes."""
        device, start = self._model.device, self._model.generation_config.decoder_start_token_id
        encoded = self._model.get_encoder()(input_ids=torch.tensor([prompt], device=device)).last_hidden_state

        def decode(ids: Tensor, state: Any = None) -> Any:
            rows = (encoded.expand(len(ids), -1, -1),)
            return self._model(
                encoder_outputs=rows, decoder_input_ids=ids, past_key_values=state, use_cache=self._cached
            )

        first = decode(torch.tensor([[start]], device=device))
        scores = torch.empty(1, len(suffixes))
        for group in batch_by_tokens([len(prompt)] * len(suffixes), self._tokens):
            chosen = [suffixes[i] for i in group]
            longest = max(map(len, chosen))
            fed = torch.tensor([[start, *ids[:-1], *[start] * (longest - len(ids))] for ids in chosen], device=device)
            if not self._cached:
                logits = decode(fed).logits
            else:
                logits = first.logits.expand(len(chosen), -1, -1)
                if longest > 1:
                    state = copy.deepcopy(first.past_key_values)
                    state.batch_repeat_interleave(len(chosen))
                    logits = torch.cat([logits, decode(fed[:, 1:], state).logits], dim=1)
            for i, ids, row in zip(group, chosen, logits, strict=True):
                scores[0, i] = _sum_likelihoods(row[None], [(0, depth, token) for depth, token in enumerate(ids)], 1)
        return scores

    def _forward(self, rows: Sequence[Ids], kept: int, **options: Any) -> Any:
        """A pass over rows of equal length; logits of the last `kept` tokens, or of all."""
        if "logits_to_keep" in inspect.signature(self._model.forward).parameters:
            options["logits_to_keep"] = kept
        return self._model(input_ids=torch.tensor(rows, device=self._model.device), **options)

    def _can_pack(self, dtype: torch.dtype) -> bool:
        """Whether packed rows give the scores of rows without shared state, tried on a few words."""
        needed = {"attention_mask", "position_ids", "past_key_values"}
        if not needed <= set(inspect.signature(self._model.forward).parameters):
            return False
        trial = [Request(prompt, 0, _SUFFIXES) for prompt in _TRIALS]
        prompts, suffixes = self._encode([request.prompt for request in trial]), self._encode_choices(trial[0])
        self._cached = False
        plain = self._score(prompts, suffixes)
        self._cached = True
        try:
            return agree(self._score(prompts, suffixes), plain, dtype)
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError):  # as architectures refuse such a mask
            return False

    def _encode(self, prompts: Sequence[str]) -> list[list[int]]:
        # A special token that a review spells out would end the prompt: it is removed.
        texts = [self._special.sub(" ", prompt) for prompt in prompts]
        ids: list[list[int]] = self._tokenizer(texts, add_special_tokens=self._seq2seq)["input_ids"]
        return ids if self._seq2seq else [[*self._start, *row] for row in ids]

    def _encode_choices(self, request: Request) -> list[list[int]]:
        """Ids of a request's choices, as they stand behind the last line of its prompt; of an encoder-decoder, as
        answers of their own."""
        choices = [self._special.sub(" ", choice) for choice in request.choices]
        if self._seq2seq:
            answers: list[list[int]] = self._tokenizer([choice.strip() for choice in choices])["input_ids"]
            return answers
        line = (request.prompt.splitlines(keepends=True) or [""])[-1]
        texts = [line, *(line + choice for choice in choices), *choices]
        head, *others = self._tokenizer(texts, add_special_tokens=False)["input_ids"]
        return [
            ids[len(head) :] if ids[: len(head)] == head and len(ids) > len(head) else own
            for ids, own in zip(others[: len(choices)], others[len(choices) :], strict=True)
        ]


def _find_start(tokenizer: Any) -> list[int]:
    """The token that a tokenizer puts before every text, if it does."""
    first: list[int] = tokenizer("a")["input_ids"][:1]
    return first if first == [tokenizer.bos_token_id] else []


def _group(suffixes: Sequence[Ids]) -> Iterator[list[int]]:
    """Consecutive suffixes, as positions, of at most PACKED tokens together, or one."""
    group: list[int] = []
    for place, ids in enumerate(suffixes):
        if group and sum(len(suffixes[i]) for i in group) + len(ids) > PACKED:
            yield group
            group = []
        group.append(place)
    yield group


def _sum_likelihoods(logits: Tensor, targets: Sequence[tuple[int, int, int]], count: int) -> Tensor:
    """Sum the log-likelihoods of tokens by suffix: float32 [rows, count], on the CPU.

    logits: [rows, places, vocabulary]; targets: of every token the suffix, the place that predicts it, and its id.
    """
    suffix, place, token = torch.tensor(targets, device=logits.device).T
    chosen = logits[:, place, token].float() - logits.float().logsumexp(-1)[:, place]
    return torch.zeros(len(logits), count, device=logits.device).index_add_(1, suffix, chosen).cpu()
