"""Load a language model and its tokenizer from a local folder, for whatever is asked of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from descry.llm.options import LocalOptions
from descry.models.loading import SAFE, check_tokenizer, explain_loading, find_device, load_weights


@dataclass(frozen=True)
class LoadedLlm:
    """A language model in evaluation mode on its device, and its tokenizer.

    seq2seq: whether an encoder reads the prompt. longest: most tokens that a causal model reads; None if unbounded.
    special: matches the tokenizer's special tokens in a text.
    """

    model: Any
    tokenizer: Any
    seq2seq: bool
    longest: int | None
    special: re.Pattern[str]


def load_llm(folder: Path, name: str, options: LocalOptions) -> LoadedLlm:
    """Load the language model `name`. Errors: InputError if the folder does not load or the device does not exist."""
    device = find_device(options.device, f"llms.{name}.device")
    with explain_loading(f"llms.{name}: {folder} does not load as a language model"):
        config = AutoConfig.from_pretrained(folder, **SAFE)
        kind: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, **SAFE)
        model = load_weights(kind, folder, options.dtype)
        check_tokenizer(tokenizer, model)
    special = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    return LoadedLlm(
        model.to(device),
        tokenizer,
        bool(config.is_encoder_decoder),
        None if config.is_encoder_decoder else getattr(config, "max_position_embeddings", None),
        re.compile("|".join(map(re.escape, special)) or r"(?!)"),
    )
