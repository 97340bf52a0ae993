"""What language models expect of words: sentence by sentence, without batches, masks written out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    BertForMaskedLM,
    ByT5Tokenizer,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from descry.ablation.words import find_occurrences, measure_log_probabilities, select_phrases
from descry.errors import InputError
from descry.models.heads import Head, find_head, load_with_head
from descry.models.target import Target
from tests.support.families import END, FAMILIES, START, WORDS

TEXTS = [
    "the battery died after a week",
    "Battery sound loud box",
    "box was torn and the box is small",
    "love the sound of this small speaker",
    "batterys died",
    "small box battery",
]
PHRASES = [["battery", "small speaker"], ["box", "boxes"], []]
FOUND = [(0, 0, ["battery"]), (1, 0, ["Battery"]), (3, 0, ["small", "speaker"]), (5, 0, ["battery"])]
FOUND += [(1, 1, ["box"]), (2, 1, ["box"]), (5, 1, ["box"])]
ARCHITECTURES: dict[str, tuple[str, type, Head]] = {
    "bert": ("bert", BertForMaskedLM, "masked"),
    "gpt2": ("gpt2", GPT2LMHeadModel, "causal"),
    "llama": ("llama", LlamaForCausalLM, "causal"),
}
KNOWN = {word: number for number, word in enumerate([*WORDS, "Battery", "batterys"])}


def saved(name: str, folder: Path) -> tuple[Path, Head]:
    """A language model with random weights, and how it predicts words."""
    family, made, how = ARCHITECTURES[name]
    own = FAMILIES[family]
    torch.manual_seed(3)
    config = own.config()
    config.vocab_size = len(KNOWN)
    made(config).eval().save_pretrained(folder)
    word = Tokenizer(models.WordLevel(KNOWN, unk_token="<unk>"))
    word.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    specials = [("<s>", START), ("</s>", END)]
    word.post_processor = processors.TemplateProcessing(single=own.template, special_tokens=specials)
    names = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "mask_token": "<mask>"}
    PreTrainedTokenizerFast(tokenizer_object=word, bos_token=own.bos, **names).save_pretrained(folder)
    return folder, how


def slow(folder: Path, how: Head, text: int, words: list[str]) -> float:
    """Of some words of a text: the mean log-probability, by a model of its own."""
    model = (AutoModelForMaskedLM if how == "masked" else AutoModelForCausalLM).from_pretrained(folder).eval()
    split = TEXTS[text].split()
    ids = [START, *(KNOWN[word] for word in split), *([END] if how == "masked" else [])]
    places = [1 + split.index(word) for word in words]
    read = [KNOWN["<mask>"] if how == "masked" and at in places else token for at, token in enumerate(ids)]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([read])).logits[0].log_softmax(-1)
    return float(np.mean([logits[at - (how == "causal"), ids[at]] for at in places]))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_word_is_expected_as_the_model_expects_it(name: str, tmp_path: Path) -> None:
    folder, how = saved(name, tmp_path)
    assert find_head(folder) == how
    target = load_with_head(Target(folder), folder, "float32", how)
    found = find_occurrences(target, how, TEXTS, PHRASES, 10)
    assert [(one.text, one.column) for one in found] == [(text, column) for text, column, _ in FOUND]
    values = measure_log_probabilities(target, found, batch_tokens=20)
    np.testing.assert_allclose(values, [slow(folder, how, text, words) for text, _, words in FOUND], atol=1e-5)
    few = find_occurrences(target, how, TEXTS, PHRASES, 2)
    assert [(one.text, one.column) for one in few] == [(0, 0), (1, 0), (1, 1), (2, 1)]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_neurons_that_are_off_change_what_is_expected(name: str, tmp_path: Path) -> None:
    folder, how = saved(name, tmp_path)
    target = load_with_head(Target(folder), folder, "float32", how)
    found = find_occurrences(target, how, TEXTS, PHRASES, 10)
    before = measure_log_probabilities(target, found)
    neurons = np.arange(sum(target.widths))
    off = measure_log_probabilities(target, found, off=(neurons, np.zeros(len(neurons), np.float32)))
    assert np.abs(off - before).min() > 1e-6
    np.testing.assert_array_equal(measure_log_probabilities(target, found), before)
    maps = [site.module for site in target.sites]
    for module in maps:
        module.weight.data[:] = 0
    np.testing.assert_allclose(measure_log_probabilities(target, found), off, atol=1e-6)


def test_a_word_that_nothing_stands_before_is_not_predicted(tmp_path: Path) -> None:
    """A causal model without a start token cannot predict the first word of a sentence."""
    folder, how = saved("gpt2", tmp_path)
    target = load_with_head(Target(folder), folder, "float32", how)
    assert {one.text for one in find_occurrences(target, how, TEXTS, PHRASES[:1], 10)} == {0, 1, 3, 5}
    target._bos = []
    assert {one.text for one in find_occurrences(target, how, TEXTS, PHRASES[:1], 10)} == {0, 3, 5}


def test_without_a_head_or_places_nothing_is_asked(tiny_bert: Path, tmp_path: Path) -> None:
    assert find_head(tiny_bert) is None
    folder, how = saved("bert", tmp_path)
    target = load_with_head(Target(folder), folder, "float32", how)
    target.tokenizer = ByT5Tokenizer()
    assert find_occurrences(target, how, TEXTS, PHRASES, 10) == []
    assert len(measure_log_probabilities(target, [])) == 0
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="the target model does not load"):
        find_head(folder)


def test_words_that_two_descriptors_have_are_neithers() -> None:
    found = list(select_phrases([["Refund", "money back"], ["price", "Money Back", "cost"], ["refunds"]]))
    assert found == [["refund"], ["cost", "price"], ["refunds"]]
