"""A language model on this machine: sequence-to-sequence, causal, or a chat model through its own template."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from torch import Tensor
from transformers import GenerationConfig

from descry.compute.batching import batch_by_tokens
from descry.errors import InputError
from descry.llm.answers import marks_thoughts
from descry.llm.client import Answer, Failure, Request
from descry.llm.options import LocalOptions
from descry.llm.prefix import find_prefix
from descry.llm.weights import load_llm
from descry.models.loading import DTYPES, agree

_TOKENS = ("bos_token_id", "eos_token_id", "decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id")
"""The keys of a folder's generation_config.json that are used: where an answer starts and ends."""

SHARED = 16
"""Fewest tokens that the prompts of a batch begin with for which these are read once."""
DECIMALS = 6
"""Of a probability, whose last bits differ from run to run."""


class LocalModel:
    """A client for a model in a local folder with safetensors weights; one batch at a time.

    A causal model reads what the prompts of a batch begin with once, which changes nothing but the time. Of choices,
    the probabilities are those of the first token with a letter or digit.

    name: its name in `llms`. revision: identifies the weights; part of every answer's key. With a temperature above 0
    a batch of the same prompts gives the same answers under the same seed. Errors: InputError if the folder does not
    load or the device does not exist.
    """

    parallel = 1

    def __init__(
        self,
        folder: Path,
        name: str,
        revision: str,
        options: LocalOptions,
    ) -> None:
        self.name = name
        self._options = options
        self.identity: Mapping[str, Any] = {
            "client": "transformers",
            "weights": revision,
            "dtype": options.dtype,
            "temperature": options.temperature,
            "seed": options.seed if self._samples else None,
            "wrap": options.wrap,
            "chat": dict(options.chat),
        } | ({"complete": True} if options.complete else {})
        loaded = load_llm(folder, name, options)
        self._seq2seq = loaded.seq2seq
        self._tokenizer: Any = loaded.tokenizer
        self._tokenizer.padding_side = "right" if self._seq2seq else "left"
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._model: Any = loaded.model
        self._device = self._model.device
        self._special, self._longest = loaded.special, loaded.longest
        added = {number: str(token) for number, token in self._tokenizer.added_tokens_decoder.items() if token.special}
        self._unsaid = {number for number, token in added.items() if not marks_thoughts(token)}
        # Its other keys (sampling, penalties, beams, stop strings) would change which answer is most probable.
        edges = {key: getattr(self._model.generation_config, key, None) for key in _TOKENS}
        self._model.generation_config = GenerationConfig(**edges)  # type: ignore[no-untyped-call]
        self._edges = self._list_edges()
        self._find_tokens = cache(self._list_spellings)
        self._is_word = cache(self._spells_word)
        self._prefix: tuple[list[int], Any] = ([], None)
        self._shares = not self._seq2seq and self._can_share(DTYPES[options.dtype])

    @property
    def _samples(self) -> bool:
        return self._options.temperature > 0

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Batches of requests with the same choices and bound, of similar length, shortest first."""
        batches: list[list[int]] = []
        for kind in dict.fromkeys((request.choices, request.max_tokens) for request in requests):
            places = [i for i, request in enumerate(requests) if (request.choices, request.max_tokens) == kind]
            lengths = [len(ids) + kind[1] for ids in self._encode([requests[place] for place in places])]
            batches += [[places[i] for i in batch] for batch in batch_by_tokens(lengths, self._options.batch_tokens)]
        return batches

    def answer(self, requests: Sequence[Request]) -> list[Answer | Failure]:
        """Answers in the order of the requests, which share choices and bound; a prompt longer than the model can read
        is a failure."""
        ids = self._encode(requests)
        room = self._longest or max(len(i) + request.max_tokens for i, request in zip(ids, requests, strict=True))
        fits = [len(i) + request.max_tokens <= room for i, request in zip(ids, requests, strict=True)]
        kept = [request for request, fitting in zip(requests, fits, strict=True) if fitting]
        answers = iter(self._generate(kept, [i for i, fitting in zip(ids, fits, strict=True) if fitting]))
        return [
            next(answers) if fitting else Failure(f"a prompt of {len(i)} tokens, and the model reads {room}")
            for i, fitting in zip(ids, fits, strict=True)
        ]

    def _encode(self, requests: Sequence[Request]) -> list[list[int]]:
        # A special token that a review spells out would end the prompt: it is removed.
        prompts = [self._special.sub(" ", request.prompt) for request in requests]
        chats = bool(self._tokenizer.chat_template) and not self._options.complete
        if chats:
            texts = [self._fill_template(prompt) for prompt in prompts]
        else:
            texts = [self._options.wrap.replace("{prompt}", prompt) for prompt in prompts]
        # A chat template writes its special tokens itself.
        ids: list[list[int]] = self._tokenizer(texts, add_special_tokens=not chats)["input_ids"]
        return ids

    def _fill_template(self, prompt: str) -> str:
        """Put a prompt into the model's chat template, which transformers runs in a sandbox."""
        message = [{"role": "user", "content": prompt}]
        try:
            text: str = self._tokenizer.apply_chat_template(
                message, add_generation_prompt=True, tokenize=False, **self._options.chat
            )
        except (TemplateError, TypeError, ValueError, OverflowError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"llms.{self.name}: the model's chat template does not run: {reason}") from error
        return text

    @torch.inference_mode()
    def _generate(self, requests: Sequence[Request], ids: Sequence[list[int]]) -> list[Answer | Failure]:
        if not requests:
            return []
        choices, most = requests[0].choices, requests[0].max_tokens
        given = self._lay_out(ids)
        start = 1 if self._seq2seq else given["input_ids"].shape[1]
        with torch.random.fork_rng(enabled=self._samples):
            if self._samples:
                content = "\0".join([str(self._options.seed), *(request.prompt for request in requests)])
                torch.manual_seed(int.from_bytes(hashlib.blake2b(content.encode(), digest_size=7).digest()))
            made = self._model.generate(
                **given,
                generation_config=self._configure(most, bool(choices)),
                stopping_criteria=[partial(self._has_word if choices else self._has_line, start)]
                if choices or self._options.complete
                else None,
            )
        tokens: list[list[int]] = made.sequences[:, start:].tolist()
        words = [self._find_tokens(choice) for choice in choices]
        answers: list[Answer | Failure] = []
        for row, made_ids in enumerate(tokens):
            own = [token for token in made_ids if token not in self._unsaid]
            shares = None
            if choices and all(words):
                place = next((i for i, token in enumerate(made_ids) if self._is_word(token)), 0)
                likely = made.logits[place][row].float().softmax(-1).cpu()
                shares = tuple(round(float(likely[word].sum()), DECIMALS) for word in words)
            text = self._tokenizer.decode(own).strip()
            ended = len(made_ids) < most or made_ids[-1] in self._edges
            if self._options.complete:
                text, *others = text.split("\n", 1)
                ended = ended or bool(others) or "\n" in self._tokenizer.decode(made_ids[-1:])
            length = sum(token != self._tokenizer.pad_token_id for token in made_ids)
            answers.append(Answer(text.strip(), shares, (len(ids[row]), length), ended or bool(choices)))
        return answers

    def _lay_out(self, ids: Sequence[list[int]]) -> dict[str, Any]:
        """What `generate` is given of prompts: their padded ids, the mask and, if they share enough, the state behind
        what they begin with. The padding is between that and the rest."""
        prefix = find_prefix(ids) if self._shares and len(ids) > 1 else []
        length = len(prefix) if len(prefix) >= SHARED else 0
        rests = [row[length:] for row in ids]
        padded = self._tokenizer.pad({"input_ids": rests}, return_tensors="pt").to(self._device)
        given = {name: padded[name] for name in ("input_ids", "attention_mask")}
        if not length:
            return given
        if self._prefix[0] != prefix:
            made = self._model(torch.tensor([prefix], device=self._device), use_cache=True)
            self._prefix = prefix, made.past_key_values
        state = copy.deepcopy(self._prefix[1])
        state.batch_repeat_interleave(len(ids))
        shared = torch.tensor([prefix] * len(ids), device=self._device)
        given["input_ids"] = torch.cat([shared, given["input_ids"]], dim=1)
        given["attention_mask"] = torch.cat([torch.ones_like(shared), given["attention_mask"]], dim=1)
        return given | {"past_key_values": state}

    @torch.inference_mode()
    def _can_share(self, dtype: torch.dtype) -> bool:
        """Whether a state that prompts share gives the logits of prompts without one, tried on a few tokens."""
        count = self._model.get_input_embeddings().num_embeddings
        trial = [[token % count for token in range(SHARED + more)] for more in (2, 5)]
        if self._longest is not None and self._longest <= max(map(len, trial)):
            return False
        logits = []
        for self._shares in (False, True):
            try:
                with torch.random.fork_rng(enabled=self._samples):
                    made = self._model.generate(**self._lay_out(trial), generation_config=self._configure(1, True))
            except (RuntimeError, ValueError, TypeError, AttributeError, IndexError):  # as architectures refuse a state
                return False
            logits.append(made.logits[0])
        return agree(logits[1], logits[0], dtype)

    def _has_word(self, start: int, sequences: Tensor, _: Any) -> Tensor:
        """Which rows of a batch have a token from `start` on with a letter or digit: bool [batch]."""
        made = sequences[:, start:].tolist()
        return torch.tensor([any(map(self._is_word, row)) for row in made], device=sequences.device)

    def _has_line(self, start: int, sequences: Tensor, _: Any) -> Tensor:
        """Which rows of a batch have ended a line from `start` on that is not blank: bool [batch]."""
        made = self._tokenizer.batch_decode(sequences[:, start:])
        return torch.tensor(["\n" in text.lstrip() for text in made], device=sequences.device)

    def _list_edges(self) -> frozenset[int]:
        """Ids of the tokens that start, end and fill an answer."""
        edges = [self._tokenizer.pad_token_id, self._tokenizer.bos_token_id, self._tokenizer.eos_token_id]
        for name in _TOKENS:
            value = getattr(self._model.generation_config, name)
            edges += value if isinstance(value, list) else [value]
        return frozenset(token for token in edges if token is not None)

    def _configure(self, most: int, logits: bool) -> Any:
        config = copy.deepcopy(self._model.generation_config)
        config.update(
            max_new_tokens=most,
            max_length=None,
            num_beams=1,
            do_sample=self._samples,
            temperature=self._options.temperature if self._samples else None,
            pad_token_id=self._tokenizer.pad_token_id,
            return_dict_in_generate=True,
            output_logits=logits,
        )
        return config

    def _spells_word(self, token: int) -> bool:
        """Whether a token is no special one and has a letter or digit."""
        text = self._tokenizer.decode([token])
        return not self._special.fullmatch(text.strip()) and any(map(str.isalnum, text))

    def _list_spellings(self, word: str) -> list[int]:
        """Ids of the tokens that alone spell `word`, in any case."""
        vocabulary: dict[str, int] = self._tokenizer.get_vocab()
        return [
            number
            for token, number in vocabulary.items()
            if word in token.lower() and self._tokenizer.convert_tokens_to_string([token]).strip().lower() == word
        ]
