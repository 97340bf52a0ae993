"""What the neurons say beside what other neurons say: the controls, and whether the neurons are ahead of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from descry.report.content import Content
from descry.report.measures import CONTROL_TEXTS, Level, Score, compare_levels
from descry.report.words import format_count, format_measure

VERDICTS = {1: "neurons more", 0: "level", -1: "neurons less"}
ABOUT_SENTENCES = {
    "precision_at_1": "first guess right",
    "recall_at_2": "found with two guesses",
}
ABOUT_NEURONS = {
    "jaccard": "same set on both halves (Jaccard)",
    "replication": "found again on other reviews",
    "pairs": "pairs found",
    "neuron.described": "with a description",
}


class Compared(NamedTuple):
    """A measure of the target's neurons beside the controls': verdict, of the neurons against random directions."""

    title: str
    measure: Score
    levels: Mapping[str, Level]
    verdict: str


def _row(title: str, found: Score) -> Compared:
    levels = found.among(CONTROL_TEXTS)
    against = levels.get("random_directions")
    return Compared(title, found, levels, "" if against is None else VERDICTS[compare_levels(found.value, against)])


def compare_controls(run: Content) -> list[Compared]:
    """What neurons say beside what the controls say, about sentences and about neurons; empty without controls."""
    sentences = {f"{run.reference}.{name}": f"Sentences: {title}" for name, title in ABOUT_SENTENCES.items()}
    neurons = {name: f"Neurons: {title}" for name, title in ABOUT_NEURONS.items()}
    found = [(title, run.figures[name]) for name, title in (sentences | neurons).items() if name in run.figures]
    return [row for title, one in found if (row := _row(title, one)).levels]


def _told(rows: list[Compared], start: str) -> str:
    rows = [row for row in rows if row.title.startswith(start) and row.verdict]
    if not rows:
        return ""
    verdicts = {row.verdict for row in rows}
    if verdicts == {VERDICTS[0]}:
        word = "level with random directions"
    elif len(verdicts - {VERDICTS[0]}) == 1:
        ahead = VERDICTS[1] in verdicts
        word = f"{'ahead of' if ahead else 'behind'} random directions{' in part' if len(verdicts) > 1 else ''}"
    else:
        word = "ahead of random directions in part, behind in part"
    details = []
    for row in rows:
        value, mean = (
            format_count(number) if row.measure.counts else format_measure(number)
            for number in (row.measure.value, row.levels["random_directions"].mean)
        )
        details.append(f"{row.title.partition(': ')[2]} {value} against {mean}")
    return f"{word} ({'; '.join(details)})"


def describe_directions(rows: list[Compared]) -> str:
    """What the comparison with random directions says, in words; empty where it did not run."""
    sentences, neurons = _told(rows, "Sentences"), _told(rows, "Neurons")
    parts = []
    if sentences:
        parts.append(f"About sentences, the neurons together are {sentences}.")
    if sentences.startswith("level"):
        parts.append(
            "So what they say of sentences is in the representation as a whole: any directions read it as well."
        )
    if neurons:
        parts.append(f"One by one, the neurons are {neurons}.")
    return " ".join(parts)
