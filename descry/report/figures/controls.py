"""The target's measures beside those of the controls, and whether its units are ahead of random directions, and of its
neurons where they are latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from descry.report.content import Content
from descry.report.measures import CONTROL_TEXTS, Level, Score
from descry.report.words import format_count, format_measure
from descry.results.noise import Verdict, judge_gap

OF_SENTENCES = ("precision_at_1", "recall_at_2")
OF_NEURONS = ("jaccard", "replication", "pairs", "neuron.described")
JUDGED = ("random_directions", "target_neurons")
"""The controls against which there are verdicts."""


class Compared(NamedTuple):
    """A measure of the target's units beside the controls'. verdicts: against those of JUDGED, see `judge`."""

    measure: Score
    levels: Mapping[str, Level]
    verdicts: Mapping[str, Verdict]


def judge(score: Score, control: str = "random_directions") -> Verdict | None:
    """How the target's value compares with a control's; None where this, or other splits, were not measured."""
    level = score.levels.get(control)
    return judge_gap(score.value, level and level.mean, score.std)


def _judge_all(score: Score) -> dict[str, Verdict]:
    return {control: verdict for control in JUDGED if (verdict := judge(score, control))}


def compare_controls(run: Content) -> list[Compared]:
    """The measures of sentences, then of neurons, that any control has; empty without controls."""
    names = [*(f"{run.reference}.{name}" for name in OF_SENTENCES), *OF_NEURONS]
    scores = [run.scores[name] for name in names if name in run.scores]
    return [Compared(score, score.controls, _judge_all(score)) for score in scores if score.controls]


def format_term(name: str) -> str:
    """What the field calls a measure, from its dotted name: `sentence.gold.precision_at_1` is precision@1."""
    return name.rpartition(".")[2].replace("_at_", "@").replace("_", " ")


def _describe_rows(rows: list[Compared], control: str) -> str:
    rows = [row for row in rows if control in row.verdicts]
    if not rows:
        return ""
    verdicts, title = {row.verdicts[control] for row in rows}, CONTROL_TEXTS[control][0]
    if verdicts == {"tied"}:
        text = f"tied with {title}"
    elif verdicts <= {"ahead", "tied"} or verdicts <= {"behind", "tied"}:
        text = f"{'ahead of' if 'ahead' in verdicts else 'behind'} {title}{' in part' * (len(verdicts) > 1)}"
    else:
        text = f"ahead of {title} in part, behind in part"
    details = []
    for row in rows:
        value, mean = (
            format_count(number) if row.measure.counts else format_measure(number)
            for number in (row.measure.value, row.levels[control].mean)
        )
        details.append(f"{format_term(row.measure.name)} {value} against {mean}")
    return f"{text} ({'; '.join(details)})"


def describe_controls(rows: list[Compared]) -> list[str]:
    """What the comparison with each control of JUDGED shows, in words; none of one that did not run."""
    latents = any("target_neurons" in row.levels for row in rows)
    return [
        text for control in JUDGED if (text := _describe_control(rows, control, "latents" if latents else "neurons"))
    ]


def _describe_control(rows: list[Compared], control: str, units: str) -> str:
    sentences = _describe_rows([row for row in rows if row.measure.name not in OF_NEURONS], control)
    neurons = _describe_rows([row for row in rows if row.measure.name in OF_NEURONS], control)
    parts = []
    if sentences:
        parts.append(f"On sentences, where all {units} vote together, the {units} are {sentences}.")
    if sentences.startswith("tied with random"):
        parts.append("What they encode about a sentence is in the representation as a whole: any directions will do.")
    if neurons:
        parts.append(f"Taken one by one, the {units} are {neurons}.")
    return " ".join(parts)
