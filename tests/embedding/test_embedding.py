"""The encoder against its model; words and batches by law; residuals against a loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from descry.corpus.sampling import sample_sentences
from descry.embedding.encoder import SentenceEncoder, batch_by_characters, select_whole_words
from descry.embedding.vectors import scale_to_unit, subtract_review_means
from descry.errors import InputError
from tests.models.test_padding import LEAKS, saved


def test_residuals_equal_a_loop_and_keep_the_order() -> None:
    rng = np.random.default_rng(0)
    vectors, reviews = rng.normal(size=(30, 5)).astype(np.float32), [f"r{row % 7}" for row in range(30)]
    for share in (0.0, 0.5, 1.0):
        expected = vectors.astype(np.float64).copy()
        for row, review in enumerate(reviews):
            others = [other for other, of in enumerate(reviews) if of == review and other != row]
            expected[row] -= share * vectors[others].mean(axis=0)
        np.testing.assert_allclose(subtract_review_means(vectors, reviews, share), expected, atol=1e-6)
    whole = subtract_review_means(vectors, reviews, 1.0)
    for review in set(reviews):
        own = [row for row, other in enumerate(reviews) if other == review]
        np.testing.assert_allclose(whole[own].mean(axis=0), 0.0, atol=1e-6)


def test_a_review_of_one_sentence_keeps_its_vector() -> None:
    vectors = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    found = subtract_review_means(vectors, ["a", "b", "c", "c"], 1.0)
    np.testing.assert_allclose(found, [*vectors[:2], vectors[2] - vectors[3], vectors[3] - vectors[2]], atol=1e-6)


def test_residuals_take_no_share_outside_its_bounds_and_bear_no_sentences() -> None:
    with pytest.raises(ValueError, match=r"share is 1\.5"):
        subtract_review_means(np.ones((2, 2)), ["a", "b"], 1.5)
    assert subtract_review_means(np.zeros((0, 4)), [], 0.5).shape == (0, 4)


def test_unit_scales_rows_and_leaves_zeros() -> None:
    np.testing.assert_allclose(scale_to_unit(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0.0, 0.0]])


@pytest.mark.parametrize(
    ("vocabulary", "words"),
    [
        (["[PAD]", "##ing", "the", "a", "battery", "b2", "the!"], ["the", "battery"]),
        (["<s>", "ing", "Ġthe", "Battery", "ĠBattery", "Ġbattery", "Ġb2"], ["the", "battery"]),
        (["<s>", "▁sound", "ound", "▁"], ["sound"]),
        (["sound</w>", "sou"], ["sound"]),
        (["<unk>", "loud", "sound"], ["loud", "sound"]),
        (["<0x41>", "##", "é1"], []),
    ],
)
def test_whole_words_of_each_kind_of_tokenizer(vocabulary: list[str], words: list[str]) -> None:
    assert select_whole_words({piece: index for index, piece in enumerate(vocabulary)}) == words


@pytest.mark.parametrize("budget", [1, 7, 20, 1000])
def test_batches_hold_every_position_once_within_the_budget(budget: int) -> None:
    lengths = [3, 9, 1, 9, 4, 2, 7]
    cut = list(batch_by_characters(lengths, budget))
    assert sorted(np.concatenate(cut).tolist()) == list(range(len(lengths)))
    for rows in cut:
        assert len(rows) == 1 or len(rows) * max(lengths[row] for row in rows) <= budget
    assert [lengths[row] for row in np.concatenate(cut)] == sorted(lengths, reverse=True)


def test_a_sample_is_bounded_and_follows_the_sentence_not_its_row() -> None:
    sentences = pd.DataFrame({"review_id": [f"r{row}" for row in range(40)], "text": [f"t{row}" for row in range(40)]})
    assert sample_sentences(sentences, 40).tolist() == list(range(40))
    rows = sample_sentences(sentences, 10)
    assert len(rows) == 10
    assert rows.tolist() == sorted(set(rows.tolist()))
    turned = sentences.iloc[::-1].reset_index(drop=True)
    assert {*sentences["text"].iloc[rows]} == {*turned["text"].iloc[sample_sentences(turned, 10)]}


def test_the_embedded_model_encodes_alike_alone_and_in_batches(embedded_model: Path) -> None:
    embedder = SentenceEncoder(embedded_model)
    texts = ["Loud.", "The battery died after a week of light use in the kitchen.", "", "The box was torn."]
    together = embedder.encode(texts)
    assert together.dtype == np.float32
    assert together.shape == (4, 384)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    alone = np.vstack([embedder.encode([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert embedder.encode([]).shape == (0, 384)
    words = embedder.words()
    assert words[0] == "the"
    assert {"battery", "packaging", "noise"} <= set(words)
    assert len(words) == len(set(words))


def test_a_plain_transformer_is_read_with_mean_pooling(tiny_bert: Path) -> None:
    vectors = SentenceEncoder(tiny_bert).encode(["the battery died", "loud sound"])
    assert vectors.shape == (2, 24)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_a_folder_that_holds_no_model_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no config\.json"):
        SentenceEncoder(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="safetensors"):
        SentenceEncoder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(InputError) as caught:
        SentenceEncoder(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_encoder_that_padding_reaches_encodes_texts_of_one_length_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_folder = saved(LEAKS["convbert"][0], tmp_path)
    texts = ["box was torn", "loud", "the small speaker", "it is very very loud and the battery died after a week"]
    encoder = SentenceEncoder(save_folder)
    assert "only texts of equal length share a batch" in capsys.readouterr().out
    together = encoder.encode(texts)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(encoder.encode([text])[0], vector, atol=1e-5)
