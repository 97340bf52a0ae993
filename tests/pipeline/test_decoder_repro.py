"""A decoder through the whole pipeline by changing the target: a tiny one, trained here for seconds on the reviews, so
that its neurons are about something."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from torch.nn.utils.rnn import pad_sequence
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

import descry
from descry.__main__ import main
from descry.results.changes import compare_runs
from descry.results.columns import Folder
from tests.conftest import ROOT
from tests.support.projects import change, default_run, shell

LENGTH, BATCH, STEPS, LAYERS, WIDTH = 32, 64, 850, 2, 64
END, PAD = "<|endoftext|>", 1
CHANGES = {
    "extract.pooling": "max",
    "extract.also": "[]",
    "controls.kinds": "[]",
    "consistency.repeats": "5",
    "evaluate.repeats": "2",
    "associate.repeats": "10",
    "sweep.thresholds": "[0.1]",
    "sweep.exemplars": "[50]",
    "resplit.splits": "2",
    "triggers.repeats": "2",
    "relations.repeats": "2",
    "ablate.sentences": "40",
}
"""Beside the target: how a decoder is read, and less of what takes long and is not looked at here."""


def sentences() -> Iterator[str]:
    for line in (ROOT / "data/reviews.jsonl").read_text(encoding="utf-8").splitlines():
        yield from (sentence["text"] for sentence in json.loads(line)["sentences"])


def tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    """Words of the texts, in lower case; each text follows a start token."""
    words = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    words.normalizer = normalizers.BertNormalizer()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    words.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=3000, special_tokens=["[UNK]", END]))
    words.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", special_tokens=[(END, words.token_to_id(END))]
    )
    names = dict.fromkeys(("bos_token", "eos_token", "pad_token"), END)
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", **names)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """A folder with a GPT-2 that has read the reviews a dozen times, and its loss from batch to batch."""
    torch.manual_seed(0)
    generator, texts = random.Random(0), list(sentences())
    own = tokenizer(texts)
    ids = sorted(map(torch.tensor, own(texts, truncation=True, max_length=LENGTH)["input_ids"]), key=len)
    batches = [ids[start : start + BATCH] for start in range(0, len(ids), BATCH)]
    dropped = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    sizes = {"n_positions": 2 * LENGTH, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": 4}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(own), **sizes, **dropped, bos_token_id=PAD, eos_token_id=PAD))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=STEPS)
    losses: list[float] = []
    while len(losses) < STEPS:
        for batch in generator.sample(batches, len(batches))[: STEPS - len(losses)]:
            tokens, wanted = (pad_sequence(batch, batch_first=True, padding_value=filler) for filler in (PAD, -100))
            loss = model(input_ids=tokens, labels=wanted).loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    folder = tmp_path_factory.mktemp("tiny") / "decoder"
    model.eval().save_pretrained(folder)
    own.save_pretrained(folder)
    return folder, losses


@pytest.fixture(scope="module")
def runs(trained: tuple[Path, list[float]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A run on the embedded default, and the same with the decoder as its target."""
    encoder, site = tmp_path_factory.mktemp("encoder"), tmp_path_factory.mktemp("site")
    run = default_run(encoder, site)
    decoder = tmp_path_factory.mktemp("copy") / "decoder"
    run("cp", "-r", str(encoder), str(decoder))
    for path, value in CHANGES.items():
        change(decoder, path, value)
    change(decoder, "models.target.source", str(trained[0]))
    change(decoder, "models.target.sha256", '""')
    said = shell(decoder, site)("dvc", "repro").stdout
    assert "Running stage 'models@target'" in said
    for stage in ("split", "generate", "cluster", "label@first", "label@second"):
        assert f"Running stage '{stage}'" not in said
    return encoder, decoder


def test_the_decoder_has_learned_something(trained: tuple[Path, list[float]]) -> None:
    assert np.mean(trained[1][-50:]) < 0.6 * trained[1][0]


def test_its_neurons_are_about_something(runs: tuple[Path, Path]) -> None:
    folder = runs[1]
    run = descry.load(folder)
    assert np.bincount(run.neurons["layer"]).tolist() == [0, *[4 * WIDTH] * LAYERS]
    found = json.loads((folder / "metrics/detail/consistency.json").read_text())
    assert found["pairs"] >= 10
    assert found["replication"] > 5 * found["replication_unassigned"]
    assert found["replication"] > 3 * found["null"]["permuted_neurons"]["replication"]
    beyond = json.loads((folder / "metrics/detail/beyond.json").read_text())
    assert beyond["transfer"]["replication"] > 3 * beyond["transfer"]["chance"]
    described = run.triggers.merge(run.neurons.query("descriptors > 0")[["layer", "index"]])
    assert (described["class"] != "contextual").mean() > 0.5  # a maximum over tokens is one token's


def test_its_words_are_asked_for_with_its_neurons_off(runs: tuple[Path, Path]) -> None:
    encoder, decoder = (descry.load(folder).ablation for folder in runs)
    assert (decoder["words"] > 0).mean() > 0.8
    asked = decoder[decoder["words"] > 0]
    assert asked.filter(like="word_").notna().all().all()
    assert (asked["word_own"].abs() > 1e-4).mean() > 0.5
    assert (asked["word_above_low"] <= asked["word_above"]).all()
    assert not encoder["words"].any()
    assert encoder.filter(like="word_").isna().all().all()


def test_two_targets_are_compared_on_the_same_vocabulary(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    found = compare_runs(*map(Folder.of, runs))
    names = descry.load(runs[0]).descriptors["name"].tolist()
    assert found["descriptors"]["kept"] == names
    assert not found["descriptors"]["lost"] + found["descriptors"]["gained"]
    assert not found["neurons"]["matched"]
    depths = [descry.load(folder).depth.set_index("descriptor") for folder in runs]
    for row in found["descriptors"]["carried"]:
        for where, depth in zip(("here", "there"), depths, strict=True):
            lives = row["descriptor"] in depth.index
            assert (row[f"neurons_{where}"] > 0) == lives
            told = [row[f"{name}_{where}"] for name in ("depth", "depth_low", "depth_high")]
            expected = depth.loc[row["descriptor"], ["depth", "low", "high"]].tolist() if lives else [None] * 3
            assert told == pytest.approx(expected) if lives else told == expected
    assert main(["compare", str(runs[1]), "--run", str(runs[0])]) == 0
    said = capsys.readouterr().out
    assert "which cannot be matched" in said
    assert "models.target.source" in said
