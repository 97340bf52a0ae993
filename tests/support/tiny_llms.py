"""Language models so small that a test trains them, and the made-up reviews that they can read."""

from __future__ import annotations

import hashlib
import itertools
import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from descry.labelling.prompted import EACH_FIELDS, LIST_FIELDS, EachTeacher, ListTeacher
from descry.llm.prompts import Prompt
from descry.vocabulary.prompted import FIELDS, Example, Prompted
from tests.conftest import ROOT

ASPECTS = "battery price screen delivery keyboard warranty manual camera zipper smell colour handle".split()
ONE = (
    "The {} died after a week.",
    "I love the {} of this one.",
    "Sadly the {} is a let down.",
    "We had no trouble with the {} at all.",
    "My sister praised the {} twice.",
    "After a month the {} still looks new.",
    "Nobody told me that the {} was so bad.",
    "For me the {} alone is worth five stars.",
    "Their {} could be far better.",
)
TWO = (
    "The {} is fine but the {} is not.",
    "I like the {} and also the {}.",
    "Without the {} even a good {} is no help.",
)
NO = (
    "I bought it for my son last month.",
    "It was raining on that day.",
    "We use it every morning in the kitchen.",
    "You get what you see.",
    "My old one is in the attic now.",
    "Would buy again.",
)
EXAMPLE = Example("The lid fell off and the wheels squeak.", "lid, wheels")
"""For the prompt of `generate`: what it is about is in no review."""

CHAT = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SPECIAL = ["<pad>", "<unk>", "</s>", "<|user|>", "<|assistant|>", "<|end|>"]
_PAD, _EOS = 0, 2
_IGNORED = -100

Read = tuple[str, tuple[str, ...]]
"""A sentence, and the aspects that it is about."""


def sentences() -> list[Read]:
    """All that a review may say."""
    one = [(text.format(aspect), (aspect,)) for text in ONE for aspect in ASPECTS]
    two = [(text.format(*pair), pair) for text in TWO for pair in itertools.permutations(ASPECTS, 2)]
    return [*one, *two, *((text, ()) for text in NO)]


def held_out(sentence: str) -> bool:
    """One sentence in five, which no training sees; never one without aspects."""
    return sentence not in NO and hashlib.blake2b(sentence.encode()).digest()[0] % 5 == 0


def reviews(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Reviews of three sentences as the project's data files hold them; another seed, others."""
    chance = random.Random(seed)
    by_aspects = [[one for one in sentences() if len(one[1]) == count] for count in range(3)]
    return [
        {
            "review_id": f"s{seed}r{number}",
            "product": "thing",
            "sentences": [
                {"text": text, "aspects": list(aspects)}
                for kind in (1, 2, chance.choice([0, 1]))
                for text, aspects in [chance.choice(by_aspects[kind])]
            ],
        }
        for number in range(count)
    ]


def words(*extra: str) -> list[str]:
    """Texts with every word of the project's prompts and of the reviews."""
    prompts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "prompts").glob("*.txt"))]
    return [*prompts, *(text for text, _ in sentences()), EXAMPLE.sentence, EXAMPLE.answer, "none, yes, no", *extra]


def tokenizer(texts: Iterable[str], template: str | None = None) -> Any:
    """A token for every word, mark and line end of `texts`. Without a chat template it ends every text."""
    found = sorted(set(re.findall(r"\n|[\w'’]+|[^\w\s]", "\n".join(texts))))
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate([*_SPECIAL, *found])}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.Split(Regex(r"\n|[^\w\s'’]"), "isolated")]
    )
    made.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    if template is None:
        made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", _EOS)])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="</s>",
        additional_special_tokens=_SPECIAL[3:],
    )
    wrapped.chat_template = template
    return wrapped


def t5(texts: Iterable[str]) -> tuple[Any, Any]:
    """An untrained sequence-to-sequence model and its tokenizer."""
    made = tokenizer(texts)
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=len(made),
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=2,
        num_decoder_layers=1,
        num_heads=4,
        dropout_rate=0.0,
        decoder_start_token_id=_PAD,
        pad_token_id=_PAD,
        eos_token_id=_EOS,
    )
    return T5ForConditionalGeneration(config).eval(), made


def causal(texts: Iterable[str], template: str | None = CHAT, reads: int = 512) -> tuple[Any, Any]:
    """An untrained causal model that reads so many tokens, and its tokenizer; a chat model where it has a template."""
    made = tokenizer(texts, template)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(made),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=reads,
        tie_word_embeddings=True,
        pad_token_id=_PAD,
        bos_token_id=None,
        eos_token_id=_EOS,
    )
    return LlamaForCausalLM(config).eval(), made


def saved(folder: Path, model: Any, tokenizer: Any) -> Path:
    """The folder, with the model in it."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def trained(
    model: Any,
    tokenizer: Any,
    asked: Sequence[tuple[str, str]],
    *,
    steps: tuple[int, int],
    batch: int = 32,
    rate: float = 3e-3,
) -> Any:
    """The model, trained on pairs of a prompt and its answer; the same every time.

    steps: on the last sentence of the prompts and what follows it, then on the whole prompts, which are slow.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more threads wait for each other wherever the machine has other work
    torch.manual_seed(0)
    chance = random.Random(0)
    brief = [_ids(tokenizer, prompt[prompt.rindex("Sentence:") :]) for prompt, _ in asked]
    whole = [_ids(tokenizer, prompt) for prompt, _ in asked]
    wanted = [[*tokenizer(answer, add_special_tokens=False)["input_ids"], _EOS] for _, answer in asked]
    learner = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98))
    model.train()
    for given, count in zip((brief, whole), steps, strict=True):
        schedule = torch.optim.lr_scheduler.OneCycleLR(learner, rate, total_steps=count, pct_start=0.1)
        for _ in range(count):
            rows = [chance.randrange(len(asked)) for _ in range(batch)]
            if model.config.is_encoder_decoder:
                read, answers = [given[row] for row in rows], [wanted[row] for row in rows]
            else:
                read = [given[row] + wanted[row] for row in rows]
                answers = [[_IGNORED] * len(given[row]) + wanted[row] for row in rows]
            mask = _padded([[1] * len(ids) for ids in read], 0)
            loss = model(input_ids=_padded(read, _PAD), attention_mask=mask, labels=_padded(answers, _IGNORED)).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            learner.step()
            schedule.step()
            learner.zero_grad()
    torch.set_num_threads(threads)
    return model.eval()


def _ids(tokenizer: Any, prompt: str) -> list[int]:
    if tokenizer.chat_template is None:
        return list(tokenizer(prompt)["input_ids"])
    chat = [{"role": "user", "content": prompt}]
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])


def _prompt(name: str, fields: tuple[str, ...]) -> Prompt:
    return Prompt.parse((ROOT / "prompts" / f"{name}.txt").read_text(encoding="utf-8"), fields, name)


_NOBODY = cast(Any, None)
"""Stands for who is asked, where only the prompts are wanted."""


def generating(sentence: str) -> str:
    """The project's prompt for the candidates of a sentence."""
    prompt = _prompt("generate", FIELDS)
    return (
        Prompted(_NOBODY, _NOBODY, prompt, EXAMPLE, per_sentence=3, sample=2, words=4, max_tokens=16)
        .request(sentence)
        .prompt
    )


def listing(sentence: str, names: Sequence[str]) -> str:
    """The project's prompt for all labels of a sentence."""
    return ListTeacher(_NOBODY, _prompt("label_list", LIST_FIELDS), 16).requests([sentence], names)[0].prompt


def judging(sentence: str, name: str) -> str:
    """The project's prompt for one label of a sentence."""
    return EachTeacher(_NOBODY, _prompt("label_each", EACH_FIELDS), 0.5).requests([sentence], [name])[0].prompt


def _known() -> list[Read]:
    return [(text, aspects) for text, aspects in sentences() if not held_out(text)]


def answer(aspects: Sequence[str]) -> str:
    """How a model says what a sentence is about."""
    return ", ".join(aspects) or "none"


def writer(folder: Path) -> Path:
    """A sequence-to-sequence model that answers `generating`."""
    model, made = t5(words())
    asked = [(generating(text), answer(aspects)) for text, aspects in _known()]
    return saved(folder, trained(model, made, asked, steps=(200, 50)), made)


def lister(folder: Path, names: Sequence[str]) -> Path:
    """A chat model that answers `listing` of these names, in any order."""
    model, made = causal(words(*names))
    chance = random.Random(0)
    asked = [
        (listing(text, order), answer([name for name in aspects if name in names]))
        for text, aspects in _known()
        for order in (names, chance.sample(list(names), len(names)))
    ]
    return saved(folder, trained(model, made, asked, steps=(200, 60)), made)


def judge(folder: Path, names: Sequence[str]) -> Path:
    """A sequence-to-sequence model that answers `judging` of these names by yes or no."""
    model, made = t5(words(*names))
    chance = random.Random(0)
    asked = []
    for text, aspects in _known():
        applying = [name for name in names if name in aspects]
        others = chance.sample([name for name in names if name not in aspects], min(5, len(names) - len(applying)))
        asked += [(judging(text, name), "yes") for name in applying for _ in range(2)]
        asked += [(judging(text, name), "no") for name in others]
    return saved(folder, trained(model, made, asked, steps=(300, 300)), made)
