"""What an answer says, without the wrapping that models and servers put around it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from descry.llm.client import Answer

NOTHING = "none"
"""What an empty JSON answer says."""
_ROUNDS = 3
"""How deep JSON may be written as a string of JSON."""
_LONGEST_VALUE = 20_000
"""Most characters that are tried as JSON."""

_MIND = r"(?:\w+:)?(?:think|thinking|thoughts?|reasoning|reflection|analysis|scratchpad|inner_monologue)"
_OPENS = re.compile(
    rf"<\|?{_MIND}\|?>|\[{_MIND}\]|◁{_MIND}▷|<\|(?:begin_of_thought|START_THINKING|inner_prefix)\|>|<unused94>"
    r"|<\|channel>",
    re.IGNORECASE,
)
_CLOSES = re.compile(
    rf"<\|?/\|?{_MIND}\|?>|\[/{_MIND}\]|◁/{_MIND}▷|<\|(?:end_of_thought|END_THINKING|inner_suffix)\|>|<unused95>"
    r"|<channel\|>",
    re.IGNORECASE,
)
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)[^<]*(?:<\|\w+\|>[^<]*)??<\|message\|>")
_BARE_CHANNELS = re.compile(r"\A\s*(?:assistant\s*)?analysis(?=[A-Z\s]).*assistant\s*final", re.DOTALL)
_FINAL = re.compile(
    r"<(answer|final|final_answer|response|output|result|solution)>(.*?)(?:</\1>|\Z)", re.DOTALL | re.IGNORECASE
)

_TOKEN = re.compile(
    r"<[|｜][^<>|｜\n]{1,40}[|｜]>|<\|[a-z_]{1,20}>|<[a-z_]{1,20}\|>|</?s>|<(?:pad|bos|eos|eot|eod|unk|mask)>"
    r"|<(?:start|end)_of_turn>|<extra_id_\d+>|<unused\d+>|\[/?INST\]|<</?SYS>>|\[(?:CLS|SEP|PAD|MASK|EOS)\]"
)
_ROLE = re.compile(r"\s*(assistant|model|bot|user|human|system|tool)[ \t]*(?::|\n|\Z)", re.IGNORECASE)
_OURS = ("assistant", "model", "bot")
_FENCE = re.compile(
    r"(`{3,}|~{3,})[ \t]*(?:[\w+.#-]*[ \t]*\n|(?:json|text|txt|plaintext|csv|yaml|markdown|md|python|xml)\b)?(.*?)"
    r"(?:\1|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_TAGS = re.compile(r"(?:\s*</?[a-z][a-z0-9_-]*/?>)+\s*", re.IGNORECASE)
_BOXED = re.compile(r"\\(?:boxed|text|textbf)\{([^{}]*)\}")
_AT_LAST = re.compile(
    r"^\W*(?:the final answer(?: is)?|final answer|here is my response)\W*?:\W*", re.MULTILINE | re.IGNORECASE
)
_NEXT_EXAMPLE = re.compile(r"^\W*sentence\s*:", re.MULTILINE | re.IGNORECASE)

_ASIDE = re.compile(
    r"(?:reason(?:s|ing)?|explanations?|thoughts?|thinking|analysis|rationale|justification|evidence|quotes?|sentence"
    r"|text|review|input|comments?|notes?|confidence|scores?|probability|sentiment|polarity|opinion|index|id|rank"
    r"|language|description)",
    re.IGNORECASE,
)
_WRAPPER = re.compile(
    r"(?:final|matching|relevant|applicable)?[ _-]?(?:answers?|aspects?|descriptors?|labels?|topics?|keywords?"
    r"|features?|tags?|themes?|categor(?:y|ies)|names?|items?|results?|outputs?|lists?|responses?|values?)[ _-]?\d*",
    re.IGNORECASE,
)
_SEVERAL = (list, tuple, set, dict)
_BRACKET = re.compile(r"[\[{]")
_DECODER = json.JSONDecoder()
_VERDICTS = {"positive": True, "negative": True, "neutral": True, "mixed": True}
_VERDICTS |= {"yes": True, "true": True, "applies": True, "no": False, "false": False}


def unwrap(text: str) -> str:
    """Reduce an answer to what it says; "" if that is nothing.

    Reasoning is removed up to its end, or the last channel of a chat format; so are a chat template's tokens, with the
    turns that follow, the marks of code fences and tags around the answer, and further examples that the model makes
    up. Of JSON (or a Python literal) every string that it names is left, on a line of its own behind "- ", or NOTHING
    if it names none.
    """
    text = _cut_turns(_cut_thoughts(text))
    if answers := [inner for _, inner in _FINAL.findall(text) if inner.strip()]:
        text = answers[-1]
    if fenced := next((inner for _, inner in _FENCE.findall(text) if inner.strip(" \t\r\n`~")), None):
        text = fenced
    text = _decode_string(_NEXT_EXAMPLE.split(text)[0].strip())
    values = _find_values(text)
    if not values:
        text = _TAGS.sub("\n", _BOXED.sub(r"\1", text)).replace("▁", " ")
        return _AT_LAST.split(text)[-1].strip()
    names = [" ".join(name.split()) for value in values for name in _list_names(value)]
    return "\n".join(f"- {name}" for name in names if name) or NOTHING


def is_whole(answer: Answer) -> bool:
    """Whether an answer ended by itself; one that went on to an example of its own did, before that."""
    return answer.finished or bool(_NEXT_EXAMPLE.search(_cut_turns(_cut_thoughts(answer.text)).strip()))


def has_thoughts(text: str) -> bool:
    """Whether an answer's text has reasoning in it, so that its first token is not the answer's."""
    return any(pattern.search(text) for pattern in (_OPENS, _CLOSES, _CHANNEL))


def marks_thoughts(token: str) -> bool:
    """Whether a special token tells reasoning from the answer."""
    return has_thoughts(token) or token in ("<|channel|>", "<|message|>")


def is_token(text: str) -> bool:
    """Whether a text is one of a chat template's tokens."""
    return bool(_TOKEN.fullmatch(text.strip()))


def _cut_thoughts(text: str) -> str:
    """Cut all up to the end of the last thoughts or the last channel, and thoughts that do not end."""
    if channels := list(_CHANNEL.finditer(text)):
        text = text[channels[-1].end() :] if channels[-1][1].lower() == "final" else ""
    text = _BARE_CHANNELS.sub("", text)
    closes = list(_CLOSES.finditer(text))
    if closes and not text[closes[-1].end() :].strip():  # the answer stands before the thoughts, if anywhere
        opens = _OPENS.search(text)
        return text[: opens.start()] if opens else ""
    text = text[closes[-1].end() :] if closes else text
    opens = _OPENS.search(text)
    return text[: opens.start()] if opens else text


def _cut_turns(text: str) -> str:
    """The model's own turn: what stands before, between or after a template's tokens, the first that is not empty."""
    first, *others = _TOKEN.split(text)
    if first.strip():
        return first
    for part in others:
        role = _ROLE.match(part)
        if role and role[1].lower() not in _OURS:
            return ""
        if (said := part[role.end() :] if role else part).strip():
            return said
    return ""


def _decode_string(text: str) -> str:
    """What a JSON string holds, which may be JSON again; any other text as it is."""
    for _ in range(_ROUNDS):
        if not isinstance(value := _parse(text), str):
            break
        text = value.strip()
    return text


def _find_values(text: str) -> list[Any]:
    """The JSON lists and objects, or Python literals, of a text; none if it is prose."""
    if isinstance(value := _parse(text), _SEVERAL) or text == "null":
        return [value]
    values, start = [], 0
    while len(text) <= _LONGEST_VALUE and (bracket := _BRACKET.search(text, start)):
        start = bracket.end()
        with suppress(ValueError, RecursionError):
            value, start = _DECODER.raw_decode(text, bracket.start())
            values.append(value)
    return [value for value in values if any(map(str.isalpha, "".join(_list_names(value))))]


def _parse(text: str) -> Any:
    if len(text) > _LONGEST_VALUE or not text.startswith(("[", "{", '"')):
        return None
    with suppress(ValueError, RecursionError):
        return json.loads(text)
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        return ast.literal_eval(text) if "\\" not in text else None
    return None


def _list_names(value: Any) -> list[str]:
    """The names in a JSON value: strings of lists, values of objects, or their keys if the values are verdicts on
    them."""
    if isinstance(value, Mapping):
        return _list_named(value)
    if isinstance(value, _SEVERAL):
        return [name for one in value for name in _list_names(one)]
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    return [] if value is None else [str(value)]


def _list_named(value: Mapping[Any, Any]) -> list[str]:
    entries = {str(key): entry for key, entry in value.items()}
    entries = {key: entry for key, entry in entries.items() if not _ASIDE.fullmatch(key)} or entries
    if any(isinstance(entry, _SEVERAL) for entry in entries.values()):
        lists = [e for key, e in entries.items() if isinstance(e, _SEVERAL) or _WRAPPER.fullmatch(key)]
        return [name for entry in lists for name in _list_names(entry)]
    if len(entries) == 1 and _WRAPPER.fullmatch(next(iter(entries))):
        return _list_names(*entries.values())
    verdicts = {key: _judge(entry) for key, entry in entries.items()}
    if None not in verdicts.values():
        return [key for key, applies in verdicts.items() if applies]
    if False in verdicts.values():  # an object that names what does not apply
        return []
    return [name for key, entry in entries.items() if verdicts[key] is None for name in _list_names(entry)]


def _judge(entry: Any) -> bool | None:
    """Whether a value says of its key that it applies; None if it is no verdict."""
    if isinstance(entry, int | float):
        return entry >= 0.5
    return _VERDICTS.get(entry.strip().lower()) if isinstance(entry, str) else None
