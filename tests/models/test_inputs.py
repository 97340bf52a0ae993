"""Texts at the edges of what a target reads: without a token of their own, longer than its longest input."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoModel, BertConfig, PreTrainedTokenizerFast

from descry.errors import InputError
from descry.models.target import Target

SPECIAL = ["[PAD]", "[CLS]", "[SEP]"]
LONGEST = 12


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Target:
    """A model whose tokenizer drops letters that it does not know."""
    folder = tmp_path_factory.mktemp("target")
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(["It died after a week"], trainers.BpeTrainer(vocab_size=200, special_tokens=SPECIAL))
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=made.get_vocab_size(), max_position_embeddings=LONGEST, **sizes)
    AutoModel.from_config(config).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]", cls_token="[CLS]").save_pretrained(folder)
    return Target(folder)


def test_sentences_without_a_token_are_shown(target: Target) -> None:
    empty = ["Отлично спасибо", "Да", "Нет", "Хорошо"]
    with pytest.raises(InputError) as stopped:
        target.encode(["It died", *empty])
    message = str(stopped.value)
    assert message.startswith("models.target: 4 of 5 sentences have no token of their own")
    assert "('Отлично спасибо', 'Да', 'Нет', ...)" in message
    assert "\n" not in message


def test_texts_longer_than_the_longest_input_are_counted(target: Target) -> None:
    texts = [" ".join(["week"] * words) for words in range(1, 3 * LONGEST)]
    whole = [len(ids) for ids in target.tokenizer(texts, truncation=False, verbose=False)["input_ids"]]
    expected = sum(length > LONGEST for length in whole)
    assert 0 < expected < len(texts)
    assert target.count_cut(texts) == expected
    assert max(map(len, target.encode(texts)[0])) == LONGEST
    assert target.count_cut(["It died"]) == target.count_cut([]) == 0
