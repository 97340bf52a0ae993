"""What answers of language models say, whatever is wrapped around it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from descry.llm.answers import NOTHING, is_whole, unwrap
from descry.llm.client import Answer

PLAIN = "battery life, sound"
LISTED = "- battery life\n- sound"
NAMES = ["battery life", "sound"]

FENCES = {
    "json": "```json\n{}\n```",
    "no language": "```\n{}\n```",
    "tildes": "~~~text\n{}\n~~~",
    "four marks": "````json\n{}\n````",
    "one line": "```json {} ```",
    "one line without a language": "```{}```",
    "never closed": "```json\n{}",
    "an introduction and a courtesy": "Here it is:\n\n```json\n{}\n```\n\nLet me know if you need more!",
    "two": "```json\n{}\n```\nRead it with:\n```python\njson.loads(answer)\n```",
    "CRLF": "```json\r\n{}\r\n```\r\n",
}
THOUGHTS = {
    "think": "<think>price, returns</think>\n\n{}",
    "empty": "<think>\n\n</think>\n\n{}",
    "think without an opening": "Okay, the list has price, returns,\nand others.\n</think>\n\n{}",
    "think twice": "<think>price</think> Hm.\n<think>returns</think>{}",
    "think nested": "<think>a <think>b</think> price</think>{}",
    "think in capitals": "<THINK>price</THINK>{}",
    "thinking": "<thinking>price\n</thinking>\n{}",
    "thought": "<thought>price</thought>{}",
    "reasoning": "<reasoning>price</reasoning>\n{}",
    "Seed": "<seed:think>price</seed:think>{}",
    "Magistral": "[THINK]price[/THINK]{}",
    "Kimi": "◁think▷price◁/think▷{}",
    "Command": "<|START_THINKING|>price<|END_THINKING|><|START_RESPONSE|>{}<|END_RESPONSE|>",
    "OpenThinker": "<|begin_of_thought|>price<|end_of_thought|>\n\n<|begin_of_solution|>{}<|end_of_solution|>",
    "MedGemma": "<unused94>thought\nprice<unused95>{}",
    "Gemma": "<|channel>thought\nprice<channel|>{}",
    "harmony": "<|channel|>analysis<|message|>price, returns.<|end|><|start|>assistant<|channel|>final<|message|>{}",
    "harmony with a call": "<|channel|>commentary to=x <|constrain|>json<|message|>price<|end|><|start|>assistant"
    "<|channel|>final <|constrain|>json<|message|>{}<|return|>",
    "harmony without its tokens": "analysisWe need price, returns.assistantfinal{}",
    "answer": "The price comes first.\n<answer>{}</answer>",
    "think and answer": "<think>price</think><answer>\n{}\n</answer>",
    "answer never closed": "<think>price</think><answer>{}",
    "box": "<think>price</think><|begin_of_box|>{}<|end_of_box|>",
}
TOKENS = {
    "ChatML": "{}<|im_end|>",
    "ChatML from its start": "<|im_start|>assistant\n{}<|im_end|>",
    "ChatML, another turn": "{}<|im_end|>\n<|im_start|>user\nprice<|im_end|>",
    "end of sentence": "{}</s>",
    "both edges": "<s> {} </s>",
    "Llama": "<|start_header_id|>assistant<|end_header_id|>\n\n{}<|eot_id|>",
    "Gemma": "{}<end_of_turn>\n<start_of_turn>user\nprice",
    "Mistral": "{} [/INST] price",
    "DeepSeek": "{}<｜end▁of▁sentence｜>",
    "text": "{}<|endoftext|>price",
    "Zephyr": "<|assistant|>\n{}\n<|user|>\nprice",
    "Granite": "<|start_of_role|>assistant<|end_of_role|>{}<|end_of_text|>",
    "T5": "<pad> {}</s>",
    "Command": "{}<|END_OF_TURN_TOKEN|>",
}


@pytest.mark.parametrize("wrapping", [*FENCES.values(), *THOUGHTS.values(), *TOKENS.values()])
@pytest.mark.parametrize(("inner", "says"), [(PLAIN, PLAIN), (json.dumps(NAMES), LISTED)])
def test_what_is_wrapped_around_an_answer_is_removed(wrapping: str, inner: str, says: str) -> None:
    assert unwrap(wrapping.replace("{}", inner)) == says


@pytest.mark.parametrize("thoughts", THOUGHTS.values(), ids=THOUGHTS)
def test_wrappings_nest(thoughts: str) -> None:
    inner = "```json\n" + json.dumps({"descriptors": NAMES}) + "\n```<|im_end|>"
    assert unwrap(thoughts.replace("{}", inner)) == LISTED


@pytest.mark.parametrize(
    "value",
    [
        NAMES,
        {"descriptors": NAMES},
        {"themes_found": NAMES},
        {"result": {"labels": NAMES}},
        {"aspect1": "battery life", "aspect2": "sound"},
        {"sentence": "The price is low.", "reasoning": "price, returns", "aspects": NAMES},
        {"battery life": True, "price": False, "sound": True},
        {"battery life": "yes", "price": "no", "sound": "yes"},
        {"battery life": 1, "price": 0, "sound": 1},
        {"battery life": "negative", "sound": "positive"},
        [{"name": "battery life", "reason": "price"}, {"name": "sound", "score": 0.4}],
        [{"descriptor": "battery life", "applies": True}, {"descriptor": "price", "applies": False}, "sound"],
        {"aspect": "battery life", "others": ["sound"]},
        json.dumps(NAMES),
        json.dumps(json.dumps({"descriptors": NAMES})),
    ],
)
def test_json_leaves_the_names_in_it(value: object) -> None:
    assert unwrap(json.dumps(value)) == LISTED
    assert unwrap(json.dumps(value, indent=2)) == LISTED
    assert unwrap(f"The aspects are:\n\n{json.dumps(value)}") in (LISTED, f"The aspects are:\n\n{json.dumps(value)}")
    if isinstance(value, list | dict):
        assert unwrap(repr(value)) == LISTED
        assert unwrap(f"The aspects are:\n\n{json.dumps(value)}\n\nHope this helps!") == LISTED


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ('{"aspect": "battery life"}\n{"aspect": "sound"}', LISTED),
        ('["battery life"]\n["sound"]', LISTED),
        ('"battery life", "sound"', LISTED),
        ('["battery life", "sound",]', LISTED),
        ('"battery life, sound"', PLAIN),
        ('["Size, weight"]', "- Size, weight"),
        ("[]", NOTHING),
        ("{}", NOTHING),
        ('{"aspects": []}', NOTHING),
        ('{"price": false}', NOTHING),
        ("null", NOTHING),
        ("[1, 3]", "- 1\n- 3"),
        ("battery life [1], sound [2]", "battery life [1], sound [2]"),
        ("{battery life}, {sound}", "{battery life}, {sound}"),
        ("<aspects>\n<aspect>battery life</aspect>\n<aspect>sound</aspect>\n</aspects>", "battery life\nsound"),
        ("\\boxed{battery life, sound}", PLAIN),
        ("The price comes first.\n\n**Final answer:** battery life, sound", PLAIN),
        (f"{PLAIN}\n\nSentence: It is cheap.\nAspects: price", PLAIN),
        ("<think>The sentence says battery, or", ""),
        ("<|channel|>analysis<|message|>battery, or", ""),
        ("<|im_end|>\n<|im_start|>user\nprice", ""),
        (f"{PLAIN}\n<think>or price</think>", PLAIN),
        ("", ""),
    ],
)
def test_other_answers(answer: str, says: str) -> None:
    assert unwrap(answer) == says


@given(st.text() | st.lists(st.sampled_from([*FENCES.values(), *THOUGHTS.values(), *TOKENS.values()])).map("".join))
def test_whatever_is_answered_is_a_text_without_edges(answer: str) -> None:
    assert unwrap(answer) == unwrap(answer).strip()


def test_an_answer_is_whole_unless_it_was_cut_off_before_an_example_of_its_own() -> None:
    assert is_whole(Answer("battery, pri"))
    assert not is_whole(Answer("battery, pri", finished=False))
    assert is_whole(Answer("battery\n\nSentence: It is lou", finished=False))
    assert not is_whole(Answer("Sentence: it says\n</think>battery", finished=False))
