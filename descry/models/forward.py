"""Run a model of any architecture over token ids, with or without hooks."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import signature
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle
from transformers.utils.generic import ModelOutput

Stack = Literal["encoder", "decoder", "both"]
"""Which layers of an encoder-decoder are read; `encoder` runs the encoder alone. Other models have one stack."""


class Finished(Exception):
    """Raised in a hook to end a forward pass once all that is wanted has been read."""


def is_encoder_decoder(model: Any) -> bool:
    """Whether a model has both an encoder and a decoder."""
    return bool(getattr(model.config, "is_encoder_decoder", False))


def find_block(model: Any) -> int:
    """The number of whose multiples a model reads tokens: Longformer and LED pad to their attention window."""
    window = getattr(model.config, "attention_window", 1) or 1
    return int(max(window)) if isinstance(window, list | tuple) else int(window)


def shift_right(model: Any, tokens: Tensor) -> Tensor:
    """The decoder's input for int64 tokens [batch, tokens]: its start token, then the same; [batch, tokens + 1]."""
    names = ("decoder_start_token_id", "pad_token_id", "bos_token_id")
    starts = [value for name in names if (value := getattr(model.config, name, None)) is not None]
    return torch.cat([tokens.new_full((len(tokens), 1), starts[0] if starts else 0), tokens], dim=1)


def forward(model: Any, stack: Stack, tokens: Tensor, attention: Tensor) -> Any:
    """Run a model over token ids and attention mask, int64 [batch, tokens]; returns its output. An encoder-decoder's
    decoder reads the same sentence as its encoder; no key-value cache is kept."""
    inputs = {"input_ids": tokens, "attention_mask": attention}
    if is_encoder_decoder(model):
        if stack == "encoder":
            return model.get_encoder()(**inputs)
        inputs["decoder_input_ids"] = shift_right(model, tokens)
    options = {"use_cache": False} if "use_cache" in signature(model.forward).parameters else {}
    return model(**inputs, **options)


def run_watched(model: Any, stack: Stack, tokens: Tensor, attention: Tensor, hooks: Iterable[RemovableHandle]) -> None:
    """Run a forward pass with hooks, which are removed after it; a hook may end it early (`Finished`)."""
    registered = list(hooks)
    try:
        forward(model, stack, tokens, attention)
    except Finished:
        pass
    finally:
        for hook in registered:
            hook.remove()


def first_tensor(values: Any) -> Tensor | None:
    """The values of a module's input or output: the tensor, or the first of several; None if there is none."""
    value = values[0] if isinstance(values, tuple | ModelOutput) and values else values
    return value if isinstance(value, Tensor) else None
