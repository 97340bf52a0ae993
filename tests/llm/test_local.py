"""Language models on this machine, against a plain forward pass: tiny ones with random weights."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedTokenizerFast

from descry.errors import InputError
from descry.llm.client import Answer, Failure, Request
from descry.llm.local import SHARED, LocalModel
from descry.llm.options import LocalOptions
from descry.settings.llms import LocalLlm
from tests.support import tiny_llms

KINDS = ("t5", "chat", "plain")
SPELLINGS = ("yes", "Yes", "YES", "no", "No", "NO")
PROMPTS = [
    "Is the battery good?",
    "The price.",
    "Answer with yes or no. Sentence: The zipper is fine but the smell is not.\nAnswer:",
    "Without the screen even a good keyboard is no help.",
    "none",
]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """More wait for each other wherever the machine has other work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def scattered(model: Any) -> Any:
    """The model with weights so large that it says something else to every prompt."""
    torch.manual_seed(3)
    for weights in model.parameters():
        if weights.dim() > 1:
            torch.nn.init.normal_(weights, std=0.4)
    return model


def built(folder: Path, kind: str, **options: Any) -> Path:
    texts = tiny_llms.words("Question Is good ? yesterday nothing", *SPELLINGS)
    if kind == "t5":
        model, tokenizer = tiny_llms.t5(texts)
    else:
        model, tokenizer = tiny_llms.causal(texts, tiny_llms.CHAT if kind == "chat" else None, **options)
    return tiny_llms.saved(folder, scattered(model), tokenizer)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: built(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


def local(folder: Path, **changes: Any) -> LocalModel:
    options = LocalLlm(client="transformers").model_dump(exclude={"client"}) | changes
    return LocalModel(folder, options.pop("name", "mine"), options.pop("revision", "r"), LocalOptions(**options))


def answers(model: LocalModel, prompts: Sequence[str], max_tokens: int = 12, choices: Sequence[str] = ()) -> list[Any]:
    return model.answer([Request(prompt, max_tokens, tuple(choices)) for prompt in prompts])


def texts(model: LocalModel, prompts: Sequence[str] = PROMPTS) -> list[str]:
    return [answer.text for answer in answers(model, prompts)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_says_what_its_prompts_say_alone(folders: dict[str, Path], kind: str) -> None:
    model = local(folders[kind])
    together = answers(model, PROMPTS)
    assert together == [answer for prompt in PROMPTS for answer in answers(model, [prompt])]
    assert len({answer.text for answer in together}) == len(PROMPTS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_as_sure_as_its_prompts_alone(folders: dict[str, Path], kind: str) -> None:
    model = local(folders[kind])
    together = answers(model, PROMPTS, choices=("yes", "no"))
    for prompt, answer in zip(PROMPTS, together, strict=True):
        (alone,) = answers(model, [prompt], choices=("yes", "no"))
        assert answer.text == alone.text
        assert answer.probabilities == pytest.approx(alone.probabilities, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_prompts_begin_with_is_read_once_and_changes_nothing(folders: dict[str, Path], kind: str) -> None:
    model, alone = local(folders[kind]), local(folders[kind])
    alone._shares = False
    prompts = [" ".join([*PROMPTS, prompt]) for prompt in PROMPTS]
    read: list[int] = []
    model._model.get_input_embeddings().register_forward_hook(lambda _, given, __: read.append(given[0].numel()))
    for choices in ((), ("yes", "no")):
        for one, other in zip(*(answers(each, prompts, choices=choices) for each in (model, alone)), strict=True):
            assert (one.text, one.tokens, one.finished) == (other.text, other.tokens, other.finished)
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-5)
    assert model._shares == (kind != "t5")
    if kind != "t5":
        shared = len(model._prefix[0])
        assert shared >= SHARED
        assert read[0] == shared
        assert read.count(shared) == 1


def shares(folder: Path, kind: str, prompt: str) -> tuple[dict[str, float], str]:
    """Probability of every token as the first word of an answer, in plain forward passes that read the signs said
    before it; and the answer up to that word."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    if kind == "chat":
        prompt = f"<|user|>{prompt}<|end|><|assistant|>"
    ids, said = tokenizer(prompt, return_tensors="pt")["input_ids"], torch.zeros(1, 0, dtype=torch.long)
    kinds = AutoModelForSeq2SeqLM if kind == "t5" else AutoModelForCausalLM
    model: Any = kinds.from_pretrained(folder)
    for _ in range(8):
        with torch.no_grad():
            if kind == "t5":
                begun = torch.cat([torch.zeros(1, 1, dtype=torch.long), said], dim=1)
                logits = model(input_ids=ids, decoder_input_ids=begun).logits
            else:
                logits = model(input_ids=torch.cat([ids, said], dim=1)).logits
        first = logits[0, -1].argmax().reshape(1, 1)
        if any(map(str.isalnum, tokenizer.decode(first[0], skip_special_tokens=True))):
            break
        said = torch.cat([said, first], dim=1)
    probabilities = logits[0, -1].double().exp() / logits[0, -1].double().exp().sum()
    text = tokenizer.decode(torch.cat([said, first], dim=1)[0], skip_special_tokens=True).strip()
    return {token: float(probabilities[number]) for token, number in tokenizer.get_vocab().items()}, text


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_those_of_a_plain_pass(folders: dict[str, Path], kind: str) -> None:
    found = answers(local(folders[kind]), PROMPTS, choices=("yes", "no"))
    for prompt, answer in zip(PROMPTS, found, strict=True):
        share, text = shares(folders[kind], kind, prompt)
        wanted = [sum(share[word] for word in SPELLINGS[:3]), sum(share[word] for word in SPELLINGS[3:])]
        assert answer.probabilities == pytest.approx(wanted, rel=1e-4, abs=2e-6)
        assert answer.text == text


def test_a_word_is_found_under_the_marks_of_its_tokenizer(tmp_path: Path) -> None:
    vocabulary = ["<unk>", "</s>", "▁yes", "yes", "▁YES", "▁no", "▁yesterday", "▁nothing", "▁it", "▁is"]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    model, _ = tiny_llms.causal(vocabulary)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<unk>", eos_token="</s>")
    folder = tiny_llms.saved(tmp_path / "mine", scattered(model), tokenizer)
    (answer,) = answers(local(folder), ["it is"], choices=("yes", "no"))
    share, _ = shares(folder, "plain", "it is")
    wanted = [share["▁yes"] + share["yes"] + share["▁YES"], share["▁no"]]
    assert answer.probabilities == pytest.approx(wanted, rel=1e-4, abs=2e-6)


def test_without_a_token_for_a_choice_nobody_says_how_probable_it_is(folders: dict[str, Path]) -> None:
    (answer,) = answers(local(folders["t5"]), ["Is it good?"], choices=("yes", "perhaps"))
    assert answer.probabilities is None


def test_a_tokenizer_without_padding_pads_all_the_same(folders: dict[str, Path], tmp_path: Path) -> None:
    model, tokenizer = tiny_llms.causal(tiny_llms.words("Question Is good ? yesterday nothing", *SPELLINGS), None)
    tokenizer.pad_token = None
    folder = tiny_llms.saved(tmp_path / "mine", scattered(model), tokenizer)
    assert texts(local(folder)) == texts(local(folders["plain"]))


def test_a_prompt_is_wrapped_where_there_is_no_chat_template(folders: dict[str, Path]) -> None:
    wrapped = [f"Question: {prompt}\nAnswer:" for prompt in PROMPTS]
    for kind, asked in (("t5", wrapped), ("plain", wrapped), ("chat", PROMPTS)):
        model = local(folders[kind], wrap="Question: {prompt}\nAnswer:")
        assert texts(model) == texts(local(folders[kind]), asked)


def test_a_chat_template_is_given_what_it_asks_for(folders: dict[str, Path], tmp_path: Path) -> None:
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(folders["chat"]),
        AutoTokenizer.from_pretrained(folders["chat"]),
    )
    tokenizer.chat_template = "{% if brief %}Question: {% endif %}{{ messages[0].content }}"
    folder = tiny_llms.saved(tmp_path / "mine", model, tokenizer)
    assert texts(local(folder, chat={"brief": True})) == texts(local(folder), [f"Question: {p}" for p in PROMPTS])


def test_an_answer_ends_at_its_longest(folders: dict[str, Path]) -> None:
    for kind in KINDS:
        for answer in answers(local(folders[kind]), PROMPTS, max_tokens=3):
            assert answer.tokens[1] <= 3
            assert len(answer.text.split()) <= 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_review_that_spells_special_tokens_ends_no_prompt(folders: dict[str, Path], kind: str) -> None:
    plain, special = answers(
        local(folders[kind]), ["The price is fine.", "The price </s> is<|end|> fine.<|assistant|>"]
    )
    assert plain == special


def test_a_prompt_too_long_fails_alone(tmp_path: Path) -> None:
    model = local(built(tmp_path / "mine", "plain", reads=40))
    long = " ".join(["battery"] * 30)
    first, second, third = answers(model, [PROMPTS[0], long, PROMPTS[1]], max_tokens=12)
    assert isinstance(second, Failure)
    assert "40" in second.reason
    assert [first, third] == answers(model, PROMPTS[:2])
    (failed,) = answers(model, [long], max_tokens=12)
    assert isinstance(failed, Failure)
    (fitting,) = answers(model, [long], max_tokens=9)
    assert isinstance(fitting, Answer)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_is_drawn_again_from_its_seed(folders: dict[str, Path], kind: str) -> None:
    drawn = texts(local(folders[kind], temperature=3.0, seed=5))
    torch.rand(7)
    assert texts(local(folders[kind], temperature=3.0, seed=5)) == drawn
    assert texts(local(folders[kind], temperature=3.0, seed=6)) != drawn
    assert texts(local(folders[kind])) != drawn


def test_drawing_leaves_the_worlds_chance_alone(folders: dict[str, Path]) -> None:
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    texts(local(folders["plain"], temperature=1.0))
    assert torch.equal(torch.rand(3), wanted)


HABITS = {
    "do_sample": True,
    "temperature": 0.7,
    "top_p": 0.5,
    "top_k": 3,
    "num_beams": 4,
    "max_length": 5,
    "max_new_tokens": 2,
}
PENALTIES = {"repetition_penalty": 1.5, "no_repeat_ngram_size": 2, "suppress_tokens": [30, 40]}
STOPS = {"stop_strings": ["a"], "max_time": 1e-6, "penalty_alpha": 0.6}


def with_habits(folder: Path, mine: Path, habits: dict[str, Any]) -> Path:
    """The model with such a generation_config.json."""
    mine.mkdir()
    for path in folder.iterdir():
        (mine / path.name).write_bytes(path.read_bytes())
    own = json.loads((mine / "generation_config.json").read_text())
    (mine / "generation_config.json").write_text(json.dumps(own | habits))
    return mine


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("habits", [HABITS, PENALTIES, STOPS], ids=["habits", "penalties", "stops"])
def test_the_most_probable_answer_is_that_whatever_the_model_is_used_to(
    folders: dict[str, Path], tmp_path: Path, kind: str, habits: dict[str, Any]
) -> None:
    folder = folders[kind]
    mine = with_habits(folder, tmp_path / "mine", habits)
    assert answers(local(mine), PROMPTS) == answers(local(folder), PROMPTS)
    for own, theirs in zip(*(answers(local(f), PROMPTS, choices=("yes", "no")) for f in (mine, folder)), strict=True):
        assert own.text == theirs.text
        assert own.probabilities == pytest.approx(theirs.probabilities, abs=2e-6)


def test_batches_hold_every_request_once_and_one_kind_each(folders: dict[str, Path]) -> None:
    requests = [
        Request(" ".join(["battery"] * (1 + 7 * i % 23)), tokens, choices)
        for i in range(40)
        for tokens, choices in ((12, ()), (4, ("yes", "no")), (4, ()))
    ]
    for kind in KINDS:
        model = local(folders[kind], batch_tokens=150)
        batches = model.batches(requests)
        assert sorted(place for batch in batches for place in batch) == list(range(len(requests)))
        for batch in batches:
            assert len({(requests[place].max_tokens, requests[place].choices) for place in batch}) == 1
            longest = max(len(requests[place].prompt.split()) + requests[place].max_tokens for place in batch)
            assert len(batch) * longest <= 150
        assert len(batches) < len(requests) / 2
    assert local(folders["t5"]).batches([]) == []


@pytest.mark.parametrize("change", ["pickle only", "no config", "no tokenizer", "another config", "nothing"])
def test_a_folder_that_is_no_language_model_is_refused_in_one_line(
    folders: dict[str, Path], tmp_path: Path, change: str
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for path in folders["plain"].iterdir() if change != "nothing" else ():
        (folder / path.name).write_bytes(path.read_bytes())
    if change == "pickle only":
        model = AutoModelForCausalLM.from_pretrained(folders["plain"])
        torch.save(model.state_dict(), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    elif change == "no config":
        (folder / "config.json").unlink()
    elif change == "no tokenizer":
        for path in folder.glob("tokenizer*"):
            path.unlink()
    elif change == "another config":
        (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(InputError, match=r"^llms\.mine: .*mine") as refused:
        local(folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("damage", ["cut", "empty", "another shape"])
def test_damaged_weights_are_refused_in_one_line(folders: dict[str, Path], tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for path in folders["plain"].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    weights = folder / "model.safetensors"
    if damage == "another shape":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 96}))
    else:
        weights.write_bytes(weights.read_bytes()[:-100] if damage == "cut" else b"")
    with pytest.raises(InputError, match=r"^llms\.mine: .*mine") as refused:
        local(folder)
    assert "\n" not in str(refused.value)


def test_a_device_that_is_not_there_is_named_as_params_name_it(folders: dict[str, Path]) -> None:
    with pytest.raises(InputError, match=r"llms\.mine\.device is cuda:99"):
        local(folders["plain"], device="cuda:99")


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_depends_on_nothing_that_identity_does_not_say(folders: dict[str, Path], kind: str) -> None:
    known = local(folders[kind]).identity
    assert json.loads(json.dumps(known)) == known
    assert local(folders[kind], batch_tokens=7, name="other").identity == known
    for change in ({"revision": "s"}, {"wrap": "{prompt}?"}, {"temperature": 0.5}, {"chat": {"brief": True}}):
        assert local(folders[kind], **change).identity != known


@pytest.mark.parametrize("kind", ["plain", "chat"])
def test_a_completion_has_no_chat_template_and_ends_with_its_line(
    folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    folder = shutil.copytree(folders[kind], tmp_path / "lines")
    bare = local(folder)
    bare._tokenizer.chat_template = None
    said = next(
        word
        for prompt, answer in zip(PROMPTS, answers(bare, PROMPTS, 40), strict=True)
        for word in answer.text.split()[2:]
        if word.isalpha() and word not in prompt and "\n" not in prompt and word != answer.text.split()[-1]
    )
    made = json.loads((folder / "tokenizer.json").read_text())
    ids = made["model"]["vocab"]
    ids[said], ids["\n"] = ids["\n"], ids[said]  # a word in the middle of an answer is now the end of a line
    (folder / "tokenizer.json").write_text(json.dumps(made))
    complete, bare = local(folder, complete=True), local(folder)
    bare._tokenizer.chat_template = None
    whole = answers(bare, PROMPTS, 40)
    assert any("\n" in answer.text for answer in whole)
    for answer, unbounded in zip(answers(complete, PROMPTS, 40), whole, strict=True):
        assert answer.text == unbounded.text.split("\n")[0].strip()
        assert answer.finished or "\n" not in unbounded.text
    assert complete.identity != bare.identity
