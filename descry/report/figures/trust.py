"""How far to trust a run, in four figures: are the descriptions right, do they hold on other reviews, does a neuron get
the same ones on both halves, do they depend on the labeller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from descry.report.content import Content
from descry.report.figures.controls import judge
from descry.report.figures.headline import Headline, make_headline
from descry.report.measures import compare_levels
from descry.results.noise import Verdict

QUESTIONS: Sequence[Sequence[tuple[str, str, str]]] = (
    (
        (
            "sentence.gold.precision_at_1",
            "Precision@1, unseen sentences",
            "of unseen sentences have the aspect that their neurons vote for first",
        ),
        (
            "sentence.labels.precision_at_1",
            "Precision@1, unseen sentences",
            "of unseen sentences have the label that their neurons vote for first",
        ),
    ),
    (
        (
            "replication",
            "Replication",
            "of neuron-descriptor pairs hold on other reviews (p ≤ 0.05)",
        ),
    ),
    (
        (
            "jaccard",
            "Jaccard index of both halves",
            "overlap (shared / all) of a neuron's descriptors on the two halves, on average",
        ),
        (
            "neuron.precision_at_1",
            "Precision@1 of neurons",
            "of the neurons have their first descriptor confirmed on the other half of the reviews",
        ),
    ),
    (
        (
            "second_opinion.survival",
            "Second labeller",
            "of the pairs are assigned again when a second labeller labels the sentences",
        ),
        (
            "transfer.replication",
            "Transfer",
            "of the pairs hold on another corpus, on which nothing was learned or chosen (p ≤ 0.05)",
        ),
    ),
)
"""For each of four questions the measures that answer it: name, term, and what the value is a share of. The first one
that was measured is shown."""

CLAUSES: dict[Verdict, str] = {
    "ahead": "ahead of random directions",
    "tied": "tied with random directions",
    "behind": "behind random directions",
}
COUNTS = ("none", "one", "two", "three", "four")


class Trusted(NamedTuple):
    """A figure of the first screen. verdict: against random directions, as `judge` has it; clause: the same in words,
    empty without."""

    figure: Headline
    verdict: Verdict | None
    clause: str


def select_trusted(run: Content) -> list[Trusted]:
    """A figure for each of QUESTIONS that some measure answers, beside random directions alone of all controls."""
    chosen = []
    for answers in QUESTIONS:
        headlines = [headline for answer in answers for headline in make_headline(run, *answer)]
        if headlines:
            figure = headlines[0]
            verdict = judge(run.scores[figure.name])
            controls = {name: level for name, level in figure.controls.items() if name == "random_directions"}
            chosen.append(Trusted(replace(figure, controls=controls), verdict, CLAUSES[verdict] if verdict else ""))
    return chosen


def summarize_trust(trusted: Sequence[Trusted]) -> str:
    """How many of the figures are above chance and ahead of random directions, in a sentence; empty without figures."""
    with_chance = [t.figure for t in trusted if t.figure.chance is not None]
    above = sum(f.chance is not None and compare_levels(f.value, f.chance) > 0 for f in with_chance)
    judged = [t for t in trusted if t.verdict]
    ahead = sum(t.verdict == "ahead" for t in judged)
    parts = []
    if with_chance:
        parts.append(f"{_count(above, len(with_chance))} above chance")
    if judged:
        parts.append(f"{_count(ahead, len(judged))} ahead of random directions")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _count(number: int, of: int) -> str:
    if number == of:
        return "all " + COUNTS[of] if of > 1 else "the only one measured is"
    return f"{COUNTS[number]} of {COUNTS[of]}"
