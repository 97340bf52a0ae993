"""Neurons on each token: against the model's own weights, and pooled what the pass over the corpus kept."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import ByT5Tokenizer

from descry.activations.extraction import extract
from descry.activations.tokens import locate_tokens, pool_tokens, read_exemplar_tokens, read_tokens
from descry.models.pooling import POOLINGS
from descry.models.target import Target
from tests.activations.test_extraction import TEXTS, slow_activations
from tests.support.families import FAMILIES

EXEMPLARS = np.array([[0, 4], [5, -1], [-1, -1], [3, 0]])


def test_every_value_is_that_of_the_layers_own_weights(tiny_bert: Path) -> None:
    target = Target(tiny_bert)
    exemplars = np.tile(EXEMPLARS, (36, 1))
    values = {row: np.concatenate(slow_activations(tiny_bert, TEXTS[row]), axis=1) for row in {*EXEMPLARS.flat} - {-1}}
    expected = [values[row][:, neuron] for neuron, rows in enumerate(exemplars) for row in rows if row >= 0]
    for batch_tokens in (12, 1024):
        found = read_exemplar_tokens(target, TEXTS, exemplars, batch_tokens=batch_tokens)
        np.testing.assert_allclose(found, np.concatenate(expected), atol=2e-3)


def test_all_neurons_of_one_sentence(tiny_bert: Path) -> None:
    expected = np.concatenate(slow_activations(tiny_bert, TEXTS[1]), axis=1)
    np.testing.assert_allclose(read_tokens(Target(tiny_bert), TEXTS[1]), expected, atol=2e-6)


@pytest.mark.parametrize("pooling", sorted(POOLINGS))
def test_tokens_pool_to_what_the_pass_kept(tiny_bert: Path, pooling: str) -> None:
    target = Target(tiny_bert)
    kept = extract(target, TEXTS, np.arange(len(TEXTS)), pooling=pooling, top_k=3)
    lengths = locate_tokens(target, TEXTS).lengths
    values = read_exemplar_tokens(target, TEXTS, kept.rows)
    starts = np.concatenate([[0], np.cumsum(lengths[kept.rows.ravel()])])
    reduced = [
        pool_tokens(values[start:stop].astype(np.float32)[:, None], pooling)[0] for start, stop in pairwise(starts)
    ]
    np.testing.assert_allclose(np.reshape(reduced, kept.rows.shape), kept.values, atol=2e-3)


def test_tokens_lie_where_their_letters_are(tiny_bert: Path) -> None:
    texts = ["the  battery, died", "loud 😀 é box", "x"]
    found = locate_tokens(Target(tiny_bert), texts)
    places = np.split(np.stack([found.start, found.stop], 1), np.cumsum(found.lengths)[:-1])
    words = [[text[start:stop] for start, stop in own] for text, own in zip(texts, places, strict=True)]
    assert words == [["the", "battery", ",", "died"], ["loud", "😀", "é", "box"], ["x"]]


@pytest.mark.parametrize("stack", ["encoder", "both"])
@pytest.mark.parametrize("family", ["gpt2", "llama", "t5", "modernbert"])
def test_any_architecture(family: str, stack: Any, tmp_path: Path) -> None:
    made = FAMILIES[family]
    target = Target(made.save(tmp_path), stack=stack)
    layers = made.slow(target.model, TEXTS[1])
    if family == "t5" and stack == "both":
        layers += made.slow(target.model, TEXTS[1], decoder=True)
    expected = np.concatenate([layer["ffn"].numpy() for layer in layers], axis=1)
    np.testing.assert_allclose(read_tokens(target, TEXTS[1]), expected, atol=1e-4)
    exemplars = np.tile([[2, 1]], (expected.shape[1], 1))
    found = read_exemplar_tokens(target, TEXTS, exemplars).reshape(expected.shape[1], -1)
    np.testing.assert_allclose(found[:, 3:], expected.T, atol=2e-3, rtol=1e-3)
    assert len(expected) == locate_tokens(target, [TEXTS[1]]).lengths[0]


def test_a_tokenizer_that_tells_no_places(tiny_bert: Path) -> None:
    target = Target(tiny_bert)
    target.tokenizer = ByT5Tokenizer()
    found = locate_tokens(target, ["abc", "d"])
    assert found.lengths.tolist() == [3, 1]
    assert not found.start.any()
    assert not found.stop.any()
