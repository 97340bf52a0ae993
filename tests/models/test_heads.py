"""What is read off a head: beside passes of the whole model, on tiny ones with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertConfig,
    Gemma2Config,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    OPTConfig,
)

from descry.models.heads import Unembedding, find_unembedding, list_written
from descry.models.target import Target
from tests.support.families import FAMILIES, FFN, GROUPED, HEADS, WORDS
from tests.support.families import WIDTH as HIDDEN

TOKENS = torch.arange(5, 15)[None]
SIZES: dict[str, Any] = {"vocab_size": len(WORDS), "n_embd": HIDDEN, "n_layer": 2, "n_head": HEADS, "n_positions": 32}
READ: dict[str, Callable[[], Any]] = {
    "llama": lambda: LlamaConfig(**GROUPED),
    "gpt2": lambda: GPT2Config(**SIZES, n_inner=FFN),
    "neox": lambda: GPTNeoXConfig(
        vocab_size=len(WORDS), hidden_size=HIDDEN, num_hidden_layers=2, num_attention_heads=HEADS, intermediate_size=FFN
    ),
}
"""Models whose head reads the stream through a norm: with a scale alone, with a mean too, side by side."""
NOT_READ: dict[str, Callable[[], Any]] = {
    "bert": lambda: BertConfig(
        vocab_size=len(WORDS), hidden_size=HIDDEN, num_hidden_layers=2, num_attention_heads=HEADS, intermediate_size=FFN
    ),
    "opt": lambda: OPTConfig(
        vocab_size=len(WORDS),
        hidden_size=HIDDEN,
        word_embed_proj_dim=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        ffn_dim=FFN,
        do_layer_norm_before=False,
    ),
    "gemma2": lambda: Gemma2Config(**GROUPED),
}
"""Models whose head has layers of its own, and models whose layers normalise what is written."""


def made(config: Any, folder: Path) -> Target:
    """A target with its head and random weights, those of its norms too."""
    FAMILIES["llama"].save(folder)
    torch.manual_seed(7)
    auto: Any = AutoModelForMaskedLM if isinstance(config, BertConfig) else AutoModelForCausalLM
    model = auto.from_config(config)
    for weights in model.parameters():
        weights.data += 0.3 * torch.randn(weights.shape)
    model.eval().save_pretrained(folder)
    return Target(folder).replace_model(model)


@torch.no_grad()
def driven(target: Target, unit: int, size: float) -> torch.Tensor:
    """The logits of the last token with a unit of the last layer far above or below all others, by a whole pass."""

    def drive(_: nn.Module, inputs: Any) -> Any:
        values = inputs[0].clone()
        values[..., unit] = size
        return (values,)

    handle = target.sites[-1].module.register_forward_pre_hook(drive)
    logits: torch.Tensor = target.model(input_ids=TOKENS).logits[0, -1]
    handle.remove()
    return logits


@pytest.mark.parametrize("name", READ)
def test_logits_are_those_of_a_pass_with_that_unit_far_above_all_else(name: str, tmp_path: Path) -> None:
    target = made(READ[name](), tmp_path)
    unembedding = find_unembedding(target)
    assert unembedding is not None
    written = list_written(target.sites[-1])
    assert written.shape == (target.sites[-1].width, HIDDEN)
    logits = unembedding.logits(written)
    for unit in (0, 3, len(written) - 1):
        expected = (driven(target, unit, 1e5) - driven(target, unit, -1e5)) / 2
        torch.testing.assert_close(logits[unit], expected, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("name", READ)
def test_an_opposite_direction_writes_the_opposite_and_none_writes_nothing(name: str, tmp_path: Path) -> None:
    unembedding = find_unembedding(made(READ[name](), tmp_path))
    assert unembedding is not None
    directions = torch.randn(5, HIDDEN)
    logits = unembedding.logits(directions)
    assert torch.equal(unembedding.logits(-directions), -logits)
    torch.testing.assert_close(unembedding.logits(1e-3 * directions), logits, atol=1e-4, rtol=1e-4)
    assert not unembedding.logits(torch.zeros(2, HIDDEN)).any()


@pytest.mark.parametrize("name", NOT_READ)
def test_a_head_that_does_not_read_what_units_write_is_told(name: str, tmp_path: Path) -> None:
    assert find_unembedding(made(NOT_READ[name](), tmp_path)) is None


def test_only_units_whose_layer_changes_nothing_of_what_they_write_are_read(tmp_path: Path) -> None:
    folder = tmp_path
    whole = made(READ["llama"](), folder)
    for site, reads in (("attention", False), ("hidden", False), ("ffn", True)):
        target = Target(folder, site=site).replace_model(whole.model)  # type: ignore[arg-type]
        assert (find_unembedding(target) is not None) == reads, site
    chosen = Target(folder, layers=[2]).replace_model(whole.model)
    assert find_unembedding(chosen) is not None


def test_without_a_norm_the_head_reads_the_stream_itself() -> None:
    weight = torch.eye(3)
    assert Unembedding(nn.Identity(), weight).logits(torch.tensor([[0.0, 2.0, 0.0]])).argmax() == 1
