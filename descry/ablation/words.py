"""What a language model expects of words in their sentences, and how switching neurons off changes it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

from descry.ablation.switching import switch_off
from descry.compute.batching import batch_by_tokens
from descry.models.forward import forward
from descry.models.loading import SAFE, explain_loading, load_weights
from descry.models.target import Target

Head = Literal["masked", "causal"]
_HEADS: dict[str, Head] = {"ForMaskedLM": "masked", "ForCausalLM": "causal", "LMHeadModel": "causal"}
"""How the architectures that predict words end, and how they do it."""


def find_head(folder: Path) -> Head | None:
    """How the model of a folder predicts words; None where its weights have no head for it."""
    with explain_loading(f"{folder}: the target model does not load"):
        names = getattr(AutoConfig.from_pretrained(folder, **SAFE), "architectures", None) or [""]
    return next((found for ending, found in _HEADS.items() if names[0].endswith(ending)), None)


def load_with_head(target: Target, folder: Path, dtype: str, how: Head) -> Target:
    """The target with the head that predicts words. Errors: InputError where it cannot load."""
    auto: Any = AutoModelForMaskedLM if how == "masked" else AutoModelForCausalLM
    with explain_loading(f"{folder}: the target model does not load as a {how} language model"):
        return target.replaced(load_weights(auto, folder, dtype))


@dataclass(frozen=True)
class Occurrence:
    """A word in a sentence: the sentence's place among the texts, the column of the descriptor whose word it is, token
    ids and special-token mask as the model reads them, where the word is predicted, and the ids that stand there."""

    text: int
    column: int
    ids: list[int]
    special: list[int]
    positions: list[int]
    wanted: list[int]


def find_occurrences(
    target: Target, how: Head, texts: Sequence[str], phrases: Sequence[Sequence[str]], most: int
) -> list[Occurrence]:
    """Where the words of every descriptor stand in some texts, the first `most` of each; a text counts once for each.

    phrases: of every descriptor, the words that are its own. Masked: all tokens of the word are masked together;
    causal: each is predicted from what stands before it. Without a fast tokenizer there are none.
    """
    if not target.tokenizer.is_fast or (how == "masked" and target.tokenizer.mask_token_id is None):
        return []
    encoded, offsets = target.encode(texts), target.offsets(texts)
    found: list[Occurrence] = []
    for column, own in enumerate(phrases):
        pattern = re.compile("|".join(rf"\b{re.escape(one.lower())}\b" for one in sorted(own, key=len, reverse=True)))
        taken = 0
        for text, given in enumerate(texts):
            match = pattern.search(given.lower()) if own and taken < most else None
            if match and len(given.lower()) == len(given):
                made = _occurrence(target, how, (encoded[0][text], encoded[1][text], offsets[text]), match.span())
                if made:
                    found.append(Occurrence(text, column, *made))
                    taken += 1
    return found


def _occurrence(
    target: Target, how: Head, given: tuple[list[int], list[int], list[tuple[int, int]]], span: tuple[int, int]
) -> tuple[list[int], list[int], list[int], list[int]] | None:
    ids, special, offsets = given
    inside = [at for at, (start, stop) in enumerate(offsets) if start < span[1] and stop > span[0] and not special[at]]
    if not inside or (how == "causal" and inside[0] == 0):
        return None
    read = list(ids)
    if how == "masked":
        for at in inside:
            read[at] = target.tokenizer.mask_token_id
    return read, special, inside if how == "masked" else [at - 1 for at in inside], [ids[at] for at in inside]


@torch.inference_mode()
def measure_log_probabilities(
    target: Target,
    found: Sequence[Occurrence],
    *,
    batch_tokens: int = 1024,
    off: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """The mean log-probability of the tokens of every word: float64 [occurrences]. target: `with_head`; off: neurons
    that are switched off, as `switched_off` takes them."""
    out = np.zeros(len(found))
    with switch_off(target, *(off or (np.zeros(0, np.int64), np.zeros(0, np.float32)))) as begin:
        for batch in batch_by_tokens([len(one.ids) for one in found], batch_tokens):
            begin()
            some = [found[at] for at in batch]
            tokens, attention, _ = target.batch([one.ids for one in some], [one.special for one in some])
            logits = forward(target.model, target.stack, tokens, attention)[0]
            for row, (at, one) in enumerate(zip(batch, some, strict=True)):
                chosen = logits[row, one.positions].to(torch.float32).log_softmax(-1)
                out[at] = float(chosen[torch.arange(len(one.wanted)), one.wanted].mean())
    return out


def select_phrases(descriptors: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """Every descriptor's words that are no other's. descriptors: name and members of each."""
    lowered = [{one.lower() for one in own} for own in descriptors]
    for column, own in enumerate(lowered):
        yield sorted(own - set().union(*(other for place, other in enumerate(lowered) if place != column)))
