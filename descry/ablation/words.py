"""Log-probabilities of words in their sentences, and how switching neurons off changes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from descry.ablation.switching import switch_off
from descry.models.forward import forward
from descry.models.heads import Head
from descry.models.target import Target


@dataclass(frozen=True)
class Occurrence:
    """A descriptor's word in a sentence.

    text: position among the texts; column: the descriptor's; ids, special: token ids and special-token mask of the
    model's input; positions: where the word's tokens are predicted; wanted: their ids.
    """

    text: int
    column: int
    ids: list[int]
    special: list[int]
    positions: list[int]
    wanted: list[int]


def find_occurrences(
    target: Target, how: Head, texts: Sequence[str], phrases: Sequence[Sequence[str]], most: int
) -> list[Occurrence]:
    """Find the words of every descriptor in some texts: at most `most` occurrences a descriptor, one per text.

    phrases: of every descriptor, the words that belong to it alone. Masked: all tokens of the word are masked together;
    causal: each is predicted from the tokens before it. Without a fast tokenizer, nothing is found.
    """
    if not target.tokenizer.is_fast or (how == "masked" and target.tokenizer.mask_token_id is None):
        return []
    encoded, offsets = target.encode(texts), target.offsets(texts)
    occurrences: list[Occurrence] = []
    for column, words in enumerate(phrases):
        longest_first = sorted(words, key=len, reverse=True)
        pattern = re.compile("|".join(rf"\b{re.escape(word.lower())}\b" for word in longest_first))
        count = 0
        for place, text in enumerate(texts):
            match = pattern.search(text.lower()) if words and count < most else None
            if match and len(text.lower()) == len(text):
                tokens = encoded[0][place], encoded[1][place], offsets[place]
                prepared = _prepare_occurrence(target, how, tokens, match.span())
                if prepared:
                    occurrences.append(Occurrence(place, column, *prepared))
                    count += 1
    return occurrences


def _prepare_occurrence(
    target: Target, how: Head, tokens: tuple[list[int], list[int], list[tuple[int, int]]], span: tuple[int, int]
) -> tuple[list[int], list[int], list[int], list[int]] | None:
    """ids, special, positions and wanted of an `Occurrence`; None if the word cannot be predicted. tokens: ids, special
    and offsets of the text; span: of the word."""
    ids, special, offsets = tokens
    inside = [at for at, (start, stop) in enumerate(offsets) if start < span[1] and stop > span[0] and not special[at]]
    if not inside or (how == "causal" and inside[0] == 0):
        return None
    model_input = list(ids)
    if how == "masked":
        for at in inside:
            model_input[at] = target.tokenizer.mask_token_id
    return model_input, special, inside if how == "masked" else [at - 1 for at in inside], [ids[at] for at in inside]


@torch.inference_mode()
def measure_log_probabilities(
    target: Target,
    occurrences: Sequence[Occurrence],
    *,
    batch_tokens: int = 1024,
    off: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """The mean log-probability of the tokens of every word: float64 [occurrences]. target: from `load_with_head`; off:
    the neurons that are switched off and their constants, see `switch_off`."""
    means = np.zeros(len(occurrences))
    with switch_off(target, *(off or (np.zeros(0, np.int64), np.zeros(0, np.float32)))) as begin:
        for batch in target.make_batches([word.ids for word in occurrences], batch_tokens):
            begin()
            words = [occurrences[at] for at in batch]
            tokens, attention, _ = target.batch([word.ids for word in words], [word.special for word in words])
            logits = forward(target.model, target.stack, tokens, attention)[0]
            for row, (at, word) in enumerate(zip(batch, words, strict=True)):
                log_probabilities = logits[row, word.positions].to(torch.float32).log_softmax(-1)
                means[at] = float(log_probabilities[torch.arange(len(word.wanted)), word.wanted].mean())
    return means


def select_phrases(descriptors: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    """The words of every descriptor that no other descriptor has. descriptors: name and members of each."""
    lowered = [{word.lower() for word in words} for words in descriptors]
    for column, words in enumerate(lowered):
        yield sorted(words - set().union(*(other for place, other in enumerate(lowered) if place != column)))
