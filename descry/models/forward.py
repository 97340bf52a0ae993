"""How a model of any architecture is run over token ids, and how a pass is watched."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import signature
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

Stack = Literal["encoder", "decoder", "both"]
"""Which layers of an encoder-decoder: `encoder` runs the encoder alone. Any other model has one stack."""


class Finished(Exception):
    """Raised in a hook to end a pass of which nothing more is wanted."""


def is_encoder_decoder(model: Any) -> bool:
    """Whether a model reads with an encoder and writes with a decoder."""
    return bool(getattr(model.config, "is_encoder_decoder", False))


def shift_right(model: Any, tokens: Tensor) -> Tensor:
    """What the decoder reads for int64 tokens [batch, tokens]: its start token, then the same; [batch, tokens + 1]."""
    names = ("decoder_start_token_id", "pad_token_id", "bos_token_id")
    given = [value for name in names if (value := getattr(model.config, name, None)) is not None]
    return torch.cat([tokens.new_full((len(tokens), 1), given[0] if given else 0), tokens], dim=1)


def forward(model: Any, stack: Stack, tokens: Tensor, attention: Tensor) -> Any:
    """The model's output for token ids and attention mask, int64 [batch, tokens]. An encoder-decoder's decoder reads
    the same sentence as its encoder; nothing is cached for further tokens."""
    inputs = {"input_ids": tokens, "attention_mask": attention}
    if is_encoder_decoder(model):
        if stack == "encoder":
            return model.get_encoder()(**inputs)
        inputs["decoder_input_ids"] = shift_right(model, tokens)
    options = {"use_cache": False} if "use_cache" in signature(model.forward).parameters else {}
    return model(**inputs, **options)


def run_watched(model: Any, stack: Stack, tokens: Tensor, attention: Tensor, hooks: Iterable[RemovableHandle]) -> None:
    """A pass with hooks, which are gone after it; one of them may end it (`Finished`)."""
    registered = list(hooks)
    try:
        forward(model, stack, tokens, attention)
    except Finished:
        pass
    finally:
        for hook in registered:
            hook.remove()


def first_tensor(values: Any) -> Tensor | None:
    """The values of a module's input or output: the tensor, or the first of several; None where there is none."""
    value = values[0] if isinstance(values, tuple) and values else values
    return value if isinstance(value, Tensor) else None
