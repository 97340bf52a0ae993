"""The neurons' measures beside those of the controls, and whether the neurons are ahead of random directions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from descry.report.content import Content
from descry.report.measures import Level, Score
from descry.report.words import format_count, format_measure
from descry.results.noise import Verdict, judge_gap

OF_SENTENCES = ("precision_at_1", "recall_at_2")
OF_NEURONS = ("jaccard", "replication", "pairs", "neuron.described")


class Compared(NamedTuple):
    """A measure of the target's neurons beside the controls'. verdict: against random directions, see `judge`."""

    measure: Score
    levels: Mapping[str, Level]
    verdict: Verdict | None


def judge(score: Score) -> Verdict | None:
    """How the neurons' value compares with random directions; None where these, or other splits, were not measured."""
    level = score.levels.get("random_directions")
    return judge_gap(score.value, level and level.mean, score.std)


def compare_controls(run: Content) -> list[Compared]:
    """The measures of sentences, then of neurons, that any control has; empty without controls."""
    names = [*(f"{run.reference}.{name}" for name in OF_SENTENCES), *OF_NEURONS]
    scores = [run.scores[name] for name in names if name in run.scores]
    return [Compared(score, score.controls, judge(score)) for score in scores if score.controls]


def format_term(name: str) -> str:
    """What the field calls a measure, from its dotted name: `sentence.gold.precision_at_1` is precision@1."""
    return name.rpartition(".")[2].replace("_at_", "@").replace("_", " ")


def _describe_rows(rows: list[Compared]) -> str:
    rows = [row for row in rows if row.verdict]
    if not rows:
        return ""
    verdicts = {row.verdict for row in rows}
    if verdicts == {"tied"}:
        text = "tied with random directions"
    elif verdicts <= {"ahead", "tied"} or verdicts <= {"behind", "tied"}:
        text = f"{'ahead of' if 'ahead' in verdicts else 'behind'} random directions{' in part' * (len(verdicts) > 1)}"
    else:
        text = "ahead of random directions in part, behind in part"
    details = []
    for row in rows:
        value, mean = (
            format_count(number) if row.measure.counts else format_measure(number)
            for number in (row.measure.value, row.levels["random_directions"].mean)
        )
        details.append(f"{format_term(row.measure.name)} {value} against {mean}")
    return f"{text} ({'; '.join(details)})"


def describe_directions(rows: list[Compared]) -> str:
    """What the comparison with random directions shows, in words; empty where it did not run."""
    sentences = _describe_rows([row for row in rows if row.measure.name not in OF_NEURONS])
    neurons = _describe_rows([row for row in rows if row.measure.name in OF_NEURONS])
    parts = []
    if sentences:
        parts.append(f"On sentences, where all neurons vote together, the neurons are {sentences}.")
    if sentences.startswith("tied"):
        parts.append("What they encode about a sentence is in the representation as a whole: any directions will do.")
    if neurons:
        parts.append(f"Taken one by one, the neurons are {neurons}.")
    return " ".join(parts)
