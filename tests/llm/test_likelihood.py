"""The likelihood of continuations, against plain passes over every prompt with every continuation: tiny models."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    MambaConfig,
    MambaForCausalLM,
)

from descry.errors import InputError
from descry.llm import likelihood
from descry.llm.asking import score
from descry.llm.cache import AnswerCache
from descry.llm.client import Failure, Request
from descry.llm.likelihood import LikelihoodModel
from descry.llm.options import LocalOptions
from descry.settings.llms import LocalLlm
from tests.llm.test_local import built, scattered
from tests.support import tiny_llms

PREFIX = "Is the battery good?\nSentence: "
MIDDLES = [
    "The zipper is fine but the smell is not.\nAnswer:",
    "Would buy again.\nAnswer:",
    "Without the screen even a good keyboard is no help.\nAnswer:",
    "You get what you see.\nAnswer:",
]
SUFFIXES = [" battery\n", " the price of the battery\n", " smell\n", " keyboard and screen\n"]
KINDS = ("t5", "plain", "chat", "gpt2")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """More wait for each other wherever the machine has other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {kind: built(tmp_path_factory.mktemp(kind), kind) for kind in ("t5", "plain", "chat")}
    tokenizer = tiny_llms.tokenizer(tiny_llms.words(PREFIX), tiny_llms.CHAT)
    sizes = {"vocab_size": len(tokenizer), "pad_token_id": 0, "bos_token_id": None, "eos_token_id": 2}
    gpt2 = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=128, **sizes))
    mamba = MambaForCausalLM(MambaConfig(hidden_size=32, state_size=8, num_hidden_layers=2, **sizes))
    for kind, model in (("gpt2", gpt2), ("mamba", mamba)):
        made[kind] = tiny_llms.saved(tmp_path_factory.mktemp(kind), scattered(model.eval()), tokenizer)
    return made


def scorer(folder: Path, *, cached: bool = True, **changes: Any) -> LikelihoodModel:
    options = LocalLlm(client="transformers").model_dump(exclude={"client"}) | changes
    return LikelihoodModel(folder, "mine", "r", LocalOptions(**options), cached=cached)


def scores(model: LikelihoodModel, folder: Path, suffixes: list[str] = SUFFIXES) -> np.ndarray:
    """A fresh cache's scores."""
    return score(model, PREFIX, MIDDLES, suffixes, AnswerCache(folder), "scoring")


@torch.inference_mode()
def plain(folder: Path, kind: str) -> np.ndarray:
    """Scores by a pass each, in plain transformers."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    found = np.zeros((len(MIDDLES), len(SUFFIXES)))
    model: Any = (AutoModelForSeq2SeqLM if kind == "t5" else AutoModelForCausalLM).from_pretrained(folder).eval()
    for row, middle in enumerate(MIDDLES):
        for column, suffix in enumerate(SUFFIXES):
            if kind == "t5":
                target = tokenizer(suffix.strip(), return_tensors="pt")["input_ids"]
                read = tokenizer(PREFIX + middle, return_tensors="pt")["input_ids"]
                logits = model(input_ids=read, labels=target).logits[0]
            else:
                start, whole = (
                    tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
                    for text in (PREFIX + middle, PREFIX + middle + suffix)
                )
                target = whole[:, start.shape[1] :]
                logits = model(input_ids=whole).logits[0, start.shape[1] - 1 : -1]
            likely = logits.double().log_softmax(-1)
            found[row, column] = float(likely[torch.arange(target.shape[1]), target[0]].sum())
    return found


@pytest.mark.parametrize("kind", [*KINDS, "mamba"])
@pytest.mark.parametrize("cached", [True, False])
def test_scores_are_those_of_plain_passes(folders: dict[str, Path], tmp_path: Path, kind: str, cached: bool) -> None:
    found = scores(scorer(folders[kind], cached=cached), tmp_path)
    wanted = plain(folders[kind], kind)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    assert (np.ptp(wanted, axis=0) > 20 * 1e-4 * abs(wanted).max(axis=0)).all()  # the sentence counts


@pytest.mark.parametrize("kind", KINDS)
def test_states_are_shared_where_the_architecture_can(folders: dict[str, Path], kind: str) -> None:
    assert scorer(folders[kind])._cached


def test_an_architecture_without_positions_does_without_shared_states(folders: dict[str, Path]) -> None:
    assert not scorer(folders["mamba"])._cached


@pytest.mark.parametrize("kind", ["t5", "plain"])
@pytest.mark.parametrize(("packed", "tokens"), [(1, 8), (6, 80), (256, 4096)])
def test_groups_and_batches_change_nothing(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, packed: int, tokens: int
) -> None:
    monkeypatch.setattr(likelihood, "PACKED", packed)
    monkeypatch.setattr(likelihood, "LOGITS", 300 * packed)
    found = scores(scorer(folders[kind], batch_tokens=tokens), tmp_path)
    np.testing.assert_allclose(found, plain(folders[kind], kind), rtol=1e-4)


def test_the_prefix_is_read_once(folders: dict[str, Path], tmp_path: Path) -> None:
    model = scorer(folders["plain"], batch_tokens=64)
    passes: list[int] = []
    model._model.get_input_embeddings().register_forward_hook(lambda _, given, __: passes.append(given[0].numel()))
    prompts = [f"The battery is good, and so is the {name}. Sentence: {name}\n" for name in tiny_llms.ASPECTS]
    requests = [Request(prompt, 0, (" battery\n",)) for prompt in prompts]
    shared = model._encode(["The battery is good, and so is the"])[0]
    for batch in model.batches(requests):
        model.answer([requests[place] for place in batch])
    own = sum(len(ids) - len(shared) + 1 for ids in model._encode(prompts))
    assert sum(passes) == len(shared) + own
    assert passes.count(len(shared)) == 1


def test_the_same_scores_come_from_the_cache(folders: dict[str, Path], tmp_path: Path) -> None:
    first = scores(scorer(folders["plain"]), tmp_path)
    model = scorer(folders["plain"])
    model._score = None  # type: ignore[method-assign, assignment]
    np.testing.assert_array_equal(scores(model, tmp_path), first)


def test_a_prompt_that_the_model_cannot_read_has_no_score(tmp_path: Path) -> None:
    model = scorer(built(tmp_path / "model", "plain", reads=20))
    long = Request("The battery is good. " * 10, 0, (" battery\n",))
    fits = Request("The battery is", 0, (" battery\n",))
    missing, present = model.answer([long, fits])
    assert isinstance(missing, Failure)
    assert "reads 20" in missing.reason
    assert not isinstance(present, Failure)
    found = score(model, "", [long.prompt, fits.prompt], [" battery\n"], AnswerCache(tmp_path), "scoring")
    assert np.isnan(found[:, 0]).tolist() == [True, False]


def test_probabilities_of_all_words_sum_to_one(folders: dict[str, Path]) -> None:
    model = scorer(folders["plain"])
    tokenizer = model._tokenizer
    everything = tuple(f" {word}" for word in tokenizer.get_vocab() if word.isalpha())
    (answer,) = model.answer([Request("The battery", 0, everything)])
    assert not isinstance(answer, Failure)
    rest = 1 - sum(answer.probabilities or ())
    assert 0 <= rest < 1
    assert min(answer.probabilities or (0,)) > 0


def test_a_device_that_is_not_there(folders: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"llms\.mine\.device is cuda:7"):
        scorer(folders["plain"], device="cuda:7")
