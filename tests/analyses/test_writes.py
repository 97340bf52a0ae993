"""What neurons write: planted heads and rows whose answer is known, laws, and slow references."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from descry.analyses.writes import (
    Vocabulary,
    Written,
    measure_auroc,
    measure_writing,
    read_written,
    score_pairs,
    tabulate_written,
)
from descry.evaluation.chance import Draws
from descry.models.heads import find_unembedding, load_with_head
from descry.models.target import Target
from tests.support.families import FAMILIES, FFN, GROUPED, SPECIAL, WORDS
from tests.support.families import WIDTH as HIDDEN

DRAWS = Draws(50, 0)
PLAIN = len(WORDS) - len(SPECIAL)


@pytest.fixture
def target(tmp_path: Path) -> Target:
    FAMILIES["llama"].save(tmp_path)
    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(LlamaConfig(**GROUPED)).save_pretrained(tmp_path)
    return load_with_head(Target(tmp_path), tmp_path, "float32", "causal")


def plant(target: Target) -> list[list[int]]:
    """A head that reads one token off each channel of the stream, and neurons that write one channel each: of every
    layer, which token each neuron writes."""
    head = target.model.get_output_embeddings().weight.data
    head.zero_()
    head[len(SPECIAL) : len(SPECIAL) + HIDDEN] = torch.eye(HIDDEN)
    tokens = []
    for site in target.sites:
        channel = torch.randperm(FFN) % HIDDEN
        down = site.module.get_parameter("weight").data
        down.zero_()
        down[channel, torch.arange(FFN)] = 0.1
        tokens.append(channel.tolist())
    return tokens


def read(target: Target, words: list[np.ndarray], shown: int = 3) -> tuple[Written, Vocabulary]:
    unembedding, vocabulary = find_unembedding(target), Vocabulary.of(target.tokenizer)
    assert unembedding is not None
    return read_written(target, unembedding, vocabulary, words, shown), vocabulary


def test_a_planted_neuron_writes_its_token(target: Target) -> None:
    planted = np.concatenate(plant(target))
    written, vocabulary = read(target, [np.array([token]) for token in range(HIDDEN)])
    assert vocabulary.ids.tolist() == list(range(len(SPECIAL), len(WORDS)))
    assert written.promoted[:, 0].tolist() == planted.tolist()
    np.testing.assert_allclose(written.promoted_logits[:, 0], HIDDEN**0.5, rtol=1e-5)
    own = written.auroc[np.arange(len(planted)), planted]
    assert own.tolist() == [1.0] * len(planted)
    others = np.delete(written.auroc[0], planted[0])
    np.testing.assert_allclose(others, 0.5 * (PLAIN - 2) / (PLAIN - 1), rtol=1e-6)  # below one, level with the rest
    table = tabulate_written(written, vocabulary, *target.neurons)
    assert [row[0].strip() for row in table["promoted"]] == [WORDS[len(SPECIAL) + token] for token in planted]
    assert table["layer"].tolist() == np.repeat([1, 2, 3], FFN).tolist()


def test_negated_output_weights_swap_what_is_promoted_and_suppressed(target: Target) -> None:
    words = [np.array([0, 4]), np.array([2])]
    before, _ = read(target, words)
    for site in target.sites:
        site.module.get_parameter("weight").data.neg_()
    after, _ = read(target, words)
    np.testing.assert_array_equal(after.promoted, before.suppressed)
    np.testing.assert_array_equal(after.suppressed_logits, -before.promoted_logits)
    np.testing.assert_allclose(after.auroc, 1 - before.auroc, atol=1e-6)


def test_permuted_rows_permute_the_result_and_their_size_does_not_matter(target: Target) -> None:
    words = [np.array([0, 4]), np.array([2])]
    before, _ = read(target, words)
    order = torch.randperm(FFN)
    for site in target.sites:
        down = site.module.get_parameter("weight")
        down.data = 7.0 * down.data[:, order]
    after, _ = read(target, words)
    moved = (np.arange(len(target.sites))[:, None] * FFN + order.numpy()).ravel()
    np.testing.assert_array_equal(after.promoted, before.promoted[moved])
    np.testing.assert_allclose(after.promoted_logits, before.promoted_logits[moved], rtol=1e-4)
    np.testing.assert_allclose(after.auroc, before.auroc[moved], atol=1e-6)


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_equals_scikit_learns(ties: bool) -> None:
    generator = np.random.default_rng(0)
    values = generator.normal(size=(6, 40)).astype(np.float32)
    values = np.round(values) if ties else values
    sets = [np.array([3]), np.array([0, 5, 39]), np.arange(30), np.zeros(0, np.int64), np.arange(40)]
    found = measure_auroc(values, sets)
    for row, own in zip(values, found, strict=True):
        for members, auroc in zip(sets[:3], own, strict=False):
            assert auroc == pytest.approx(roc_auc_score(np.isin(np.arange(40), members), row), abs=1e-6)
    assert np.isnan(found[:, 3:]).all()


def test_tokens_are_words_where_they_begin_one() -> None:
    tokens = ["<s>", "a", "b", "Ġbattery", "ĠBattery", "battery", "Ġbat", "tery", "Ġlater"]
    model = models.BPE({token: n for n, token in enumerate(tokens)}, merges=[])
    made = Tokenizer(model)
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    vocabulary = Vocabulary.of(PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>"))
    assert vocabulary.ids.tolist() == list(range(1, 9))
    assert list(vocabulary.texts) == ["a", "b", " battery", " Battery", "battery", " bat", "tery", " later"]
    assert vocabulary.find_words(["Battery", "minutes later"]).tolist() == [2, 3, 7]
    assert not len(vocabulary.find_words(["tery", "batte", ""]))


def test_agreement_is_the_mean_of_the_pairs_and_falls_to_chance_when_rows_are_permuted() -> None:
    generator = np.random.default_rng(2)
    layer = np.repeat([1, 2], 200)
    auroc = generator.uniform(0.3, 0.7, (400, 3)).astype(np.float32)
    auroc[:, 2] = np.nan
    neurons, columns = np.arange(0, 400, 4), generator.integers(0, 2, 100)
    auroc[neurons, columns] = 0.9
    pairs = {
        "positive": (np.append(neurons, 1), np.append(columns, 2)),
        "negative": (neurons, columns),
    }
    measures, chance = measure_writing(auroc, layer, pairs, DRAWS)
    assert measures["writes"]["agreement"] == pytest.approx(0.9)
    assert measures["writes"]["negative_agreement"] == pytest.approx(0.1)
    assert measures["writes"]["extremity"] == pytest.approx(0.8)
    assert measures["writes"]["negative_extremity"] == pytest.approx(0.8)
    assert (chance["permuted_rows"]["writes.extremity"] < 0.4).all()
    drawn = chance["permuted_rows"]["writes.agreement"]
    expected = np.mean([auroc[layer == number][:, columns[layer[neurons] == number]].mean() for number in (1, 2)])
    assert drawn.mean() == pytest.approx(expected, abs=0.005)
    assert drawn.std() > 0
    scores = score_pairs(auroc, pairs)
    assert np.isnan(scores["positive"][-1])
    np.testing.assert_allclose(scores["negative"], 0.1, atol=1e-6)


def test_rows_are_permuted_within_layers_alone() -> None:
    layer = np.repeat([1, 2], 50)
    auroc = np.repeat([[0.2], [0.8]], 50, axis=0).astype(np.float32)
    first = np.arange(50), np.zeros(50, np.int64)
    _, chance = measure_writing(auroc, layer, {"positive": first}, DRAWS)
    np.testing.assert_allclose(chance["permuted_rows"]["writes.agreement"], 0.2, rtol=1e-6)


def test_without_pairs_there_is_no_measure() -> None:
    nothing = np.zeros(0, np.int64), np.zeros(0, np.int64)
    measures, chance = measure_writing(np.ones((4, 1), np.float32), np.ones(4), {"positive": nothing}, DRAWS)
    assert measures == {"writes": {}}
    assert chance == {"permuted_rows": {}}
