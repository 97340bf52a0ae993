"""Answers that repeat what a language model was given instead of saying what a sentence is about.

A short phrase may stand in the prompt and be right all the same: "packaging" of a crushed box. It is taken for a copy
only where the model gives it to many sentences that do not say it, and hardly more often to those that do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from descry.vocabulary.candidates import TOKEN

COPIED = 0.05
"""Least share of the sentences that do not say a phrase of the prompt for which it is answered, if it is copied."""
FEWEST = 3
"""Least number of those sentences."""
TIMES = 5.0
"""A phrase that is answered so many times as often for sentences that say it is no copy."""
REPEATED = 0.8
"""Least share of a sentence that an answer holds in one piece, if it repeats the sentence."""
_STEM = 5
"""First letters of a word that count: delivered says delivery."""


def drop_echoes(
    read: Sequence[Sequence[str]], answers: Sequence[str], sentences: Sequence[str], prompt: str, words: int
) -> list[list[str]]:
    """Drop the phrases that are echoes: [answers], each a list.

    read: the phrases of each answer; answers: their texts; sentences: what each is about; prompt: the task and its
    examples, without a sentence. An answer of more than `words` words echoes if it stands in the prompt as it is, or
    repeats most of the sentence. A phrase that stands in the prompt echoes if it is copied (COPIED, FEWEST, TIMES) and
    the sentence does not say it.
    """
    given, stems = _join(prompt), [_list_stems(sentence) for sentence in sentences]
    listed = {phrase for phrases in read for phrase in phrases if _join(phrase) in given}
    copied = {phrase for phrase in listed if _is_copied(phrase, read, stems)}
    kept: list[list[str]] = []
    for phrases, answer, sentence, said in zip(read, answers, sentences, stems, strict=True):
        unsaid = [phrase for phrase in phrases if not _says(said, phrase)]
        text, whole = _join(answer), _join(sentence)
        longer = len(answer.split()) > words
        if longer and ((unsaid and text in given) or _repeats(text, whole)):
            kept.append([])
        else:
            kept.append([phrase for phrase in phrases if phrase not in copied or phrase not in unsaid])
    return kept


def count_dropped(read: Sequence[Sequence[str]], kept: Sequence[Sequence[str]]) -> Counter[str]:
    """Count by phrase how often it is in `read` and not in `kept`."""
    return Counter(phrase for before, after in zip(read, kept, strict=True) for phrase in before if phrase not in after)


def _is_copied(phrase: str, read: Sequence[Sequence[str]], stems: Sequence[frozenset[str]]) -> bool:
    says = [_says(said, phrase) for said in stems]
    answered = [phrase in phrases for phrases in read]
    unsaid = sum(hit and not said for hit, said in zip(answered, says, strict=True))
    rate = unsaid / max(1, len(says) - sum(says))
    rate_said = (sum(answered) - unsaid) / max(1, sum(says))
    return unsaid >= FEWEST and rate >= COPIED and rate_said < TIMES * rate


def _join(text: str) -> str:
    """A text's words, numbers and signs between blanks, in lower case, without signs at its ends."""
    tokens = TOKEN.findall(text.lower().replace("’", "'"))
    while tokens and not tokens[-1][0].isalnum():
        tokens.pop()
    while tokens and not tokens[0][0].isalnum():
        tokens.pop(0)
    return f" {' '.join(tokens)} "


def _list_stems(text: str) -> frozenset[str]:
    """The first letters of the words of a text; of those with more than three letters, if there are any."""
    words = [token for token in TOKEN.findall(text.lower()) if token[0].isalnum()]
    return frozenset(word[:_STEM] for word in [word for word in words if len(word) > 3] or words)


def _says(stems: frozenset[str], phrase: str) -> bool:
    return bool(stems & _list_stems(phrase))


def _repeats(answer: str, sentence: str) -> bool:
    """Whether an answer holds most of a sentence in one piece, as `_join` writes both."""
    return sentence in answer or (answer in sentence and len(answer) >= REPEATED * len(sentence))
