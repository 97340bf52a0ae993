"""Echoes: what a model copies is no answer, and what it found itself is one, even if it is in the prompt."""

from __future__ import annotations

import pytest

from descry.vocabulary.echoes import count_dropped, drop_echoes
from descry.vocabulary.prompted import read_phrases

PROMPT = """\
Name the aspects of the product that the sentence is about.

Sentence: Box held shut with one strip of tape, charger loose.
Aspects: packaging, charger, damage in transit

Sentence:
Aspects:"""
WORDS = 4


def keep(pairs: list[tuple[str, str]]) -> list[list[str]]:
    sentences, answers = [sentence for sentence, _ in pairs], [answer for _, answer in pairs]
    return drop_echoes([read_phrases(answer, WORDS) for answer in answers], answers, sentences, PROMPT, WORDS)


OTHERS = [(f"The colour is number {number}.", "colour") for number in range(40)]


@pytest.mark.parametrize(
    ("sentence", "answer", "kept"),
    [
        ("It died after a week.", "packaging, charger, damage in transit", []),
        ("It died after a week.", " Packaging, charger, damage in transit.", []),
        ("The lid fell off, and the wheels squeak.", "The lid fell off, and the wheels squeak", []),
        ("The lid fell off, and the wheels squeak.", "Sentence: The lid fell off, and the wheels squeak. lid", []),
        ("The lid fell off, and the wheels squeak.", "lid, wheels", ["lid", "wheels"]),
        ("The battery, the screen and the sound are great.", "battery, screen, sound", ["battery", "screen", "sound"]),
        ("Great price.", "great price", ["great price"]),
        ("Chargers, packaging, damages!", "packaging, charger, damage in transit",
         ["packaging", "charger", "damage in transit"]),
        ("The crate came crushed.", "packaging, delivery", ["packaging", "delivery"]),
    ],
)  # fmt: skip
def test_one_answer_echoes_if_it_repeats_the_prompt_or_the_sentence(
    sentence: str, answer: str, kept: list[str]
) -> None:
    assert keep([(sentence, answer), *OTHERS])[0] == kept


def test_a_phrase_that_is_given_to_any_sentence_is_copied_and_stays_where_the_sentence_says_it() -> None:
    pairs = [*OTHERS, ("The packaging was torn.", "packaging"), ("It came in good packages.", "packaging")]
    copying = [
        (sentence, "packaging, colour" if row % 8 == 0 else "colour") for row, (sentence, _) in enumerate(OTHERS)
    ]
    kept = keep([*copying, ("The packaging was torn.", "colour"), ("It came in good packages.", "packaging")])
    assert kept == [["colour"]] * 41 + [["packaging"]]
    assert keep(pairs) == [["colour"]] * 40 + [["packaging"]] * 2
    assert count_dropped([["packaging", "colour"], ["packaging"]], [["colour"], ["packaging"]]) == {"packaging": 1}


def test_a_model_that_finds_the_examples_aspect_in_other_words_is_not_punished() -> None:
    crushed = [(f"The crate number {number} came crushed.", "packaging") for number in range(5)]
    named = [(f"The packaging number {number} was torn.", "packaging") for number in range(5)]
    assert keep([*OTHERS, *crushed, *named])[40:] == [["packaging"]] * 10
    rarely = [(sentence, answer if row < 2 else "tear") for row, (sentence, answer) in enumerate(named)]
    assert keep([*OTHERS, *crushed, *rarely])[40:45] == [[]] * 5


def test_two_of_a_few_sentences_do_not_show_that_a_phrase_is_copied() -> None:
    assert keep([("The crate came crushed.", "packaging"), ("It arrived open.", "packaging"), *OTHERS[:5]])[:2] == [
        ["packaging"],
        ["packaging"],
    ]
