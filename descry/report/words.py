"""Numbers as people read them, and the sentences that go with the headline figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from descry.report.content import Run, block

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def whole(number: float) -> str:
    """A count with thousands separators."""
    return f"{round(number):,}"


def percent(share: float) -> str:
    """A share in [0, 1] as a percentage: no decimals from 10 % on, one below."""
    hundredths = 100 * share
    if 0 < hundredths < 0.05:
        return "< 0.1 %"
    return f"{hundredths:.0f} %" if hundredths >= 9.95 else f"{round(hundredths, 1):g} %"


def chance(p: float) -> str:
    """A p or q value: three decimals, or a power of ten where they do not suffice."""
    if p >= 0.001:
        return f"{p:.3f}"
    if p < 1e-300:
        return "< 10" + "-300".translate(_RAISED)
    digits, power = f"{p:.0e}".split("e")
    return f"{digits} × 10{str(int(power)).translate(_RAISED)}"


def times(lift: float) -> str:
    """A ratio: one decimal below 10."""
    return f"{lift:.1f} ×" if lift < 9.95 else f"{lift:,.0f} ×"


def measure(value: float | None, count: bool = False) -> str:
    """A measure: three decimals, or a first digit that they would hide; counts whole; a dash for None."""
    if value is None:
        return "–"
    if count:
        return whole(value)
    return f"{value:.1g}" if 0 < abs(value) < 0.0005 else f"{value:.3f}"


@dataclass(frozen=True)
class Headline:
    """A figure in [0, 1], a sentence about it, and what chance gives (name -> value)."""

    title: str
    sentence: str
    value: float
    chances: Mapping[str, float]
    detail: str = ""

    @property
    def chance(self) -> float | None:
        """The highest of the chance values."""
        return max(self.chances.values(), default=None)

    @property
    def beside(self) -> list[tuple[str, str]]:
        """The chance values as they are shown, each with its names; those that look alike together."""
        names: dict[str, list[str]] = {}
        for name, value in self.chances.items():
            names.setdefault(percent(value), []).append(name)
        return [(value, ", ".join(alike)) for value, alike in names.items()]


@dataclass(frozen=True)
class Group:
    """Headline figures that belong together."""

    title: str
    note: str
    figures: list[Headline]


def _chances(evaluation: Mapping[str, Any], path: str, name: str) -> dict[str, float]:
    nulls = {
        "always the most common": block(evaluation, f"null.most_common.{path}").get(name),
        "random exemplars": block(evaluation, f"null.random_exemplars.{path}").get(name),
    }
    return {label: float(value) for label, value in nulls.items() if value is not None}


def _from(evaluation: Mapping[str, Any], key: str, title: str, sentence: str) -> list[Headline]:
    path, name = key.rsplit(".", 1)
    own = block(evaluation, path)
    if name not in own:
        return []
    return [Headline(title, sentence, own[name], _chances(evaluation, path, name))]


def _gold(evaluation: Mapping[str, Any]) -> Group:
    return Group(
        "Against what the sentences really speak of",
        "The corpus comes with annotated aspects, which are used for measuring alone: these are the figures "
        "to trust. “Annotated aspects” takes them in place of the pipeline's labels, which tells what the "
        "neurons know apart from how good the labels are.",
        [
            *_from(
                evaluation,
                "sentence.gold.precision_at_1",
                "First guess: descriptors found",
                "Of an unseen sentence, the aspect that its active neurons name first is right this often.",
            ),
            *_from(
                evaluation,
                "sentence.gold.recall_at_2",
                "Two guesses: descriptors found",
                "Of an unseen sentence's aspects, the neurons' first two guesses find this share.",
            ),
            *_from(
                evaluation,
                "oracle.sentence.precision_at_1",
                "First guess: annotated aspects",
                "The same with annotated aspects as descriptors: what neurons know, were all labels right.",
            ),
            *_from(
                evaluation,
                "oracle.sentence.recall_at_2",
                "Two guesses: annotated aspects",
                "With right labels, the first two guesses find this share of an unseen sentence's aspects.",
            ),
        ],
    )


def _stability(run: Run) -> Group:
    agreed, own = run.consistency, block(run.evaluation, "neuron")
    size = len(run.layer)
    figures = []
    if "described" in own:
        by_chance = block(run.evaluation, "null.random_exemplars.neuron").get("described")
        figures.append(
            Headline(
                "Neurons with a description",
                "This share of all neurons has at least one descriptor.",
                own["described"] / size,
                {} if by_chance is None else {"random exemplars": by_chance / size},
                detail=f"{whole(own['described'])} of {whole(size)}",
            )
        )
    if "replication" in agreed:
        levels = {
            "by definition": 0.05,
            "pairs not assigned": agreed.get("replication_unassigned"),
            "neurons shuffled": agreed.get("replication_null"),
        }
        figures.append(
            Headline(
                "Found again on other reviews",
                "Of the neuron-descriptor pairs found on calibration, this share shows on validation too.",
                agreed["replication"],
                {name: level for name, level in levels.items() if level is not None},
            )
        )
    if "replication" in block(run.evaluation, "oracle"):
        figures.append(
            Headline(
                "Found again, annotated aspects",
                "The same share with the annotated aspects in place of the labels.",
                run.evaluation["oracle"]["replication"],
                {"by definition": 0.05},
            )
        )
    if "jaccard" in agreed:
        figures.append(
            Headline(
                "Same set of descriptors (Jaccard)",
                "How much of a neuron's set of descriptors the two halves share. Sets differ mostly because "
                "a threshold cuts differently on each half; whether the findings themselves return, "
                "“found again” says.",
                agreed["jaccard"],
                {"neurons shuffled": agreed["jaccard_null"]} if "jaccard_null" in agreed else {},
            )
        )
    note = "Everything is found on calibration and looked for again on validation, other reviews altogether."
    if run.labeller_is_target:
        note += " The labels on both are the pipeline's own, so the caution below holds here too."
    return Group("Does it hold on reviews it has not seen", note, figures)


def _own(run: Run) -> Group:
    flatters = (
        "The encoder behind these labels is the target model itself, so these figures flatter: labels and "
        "neurons come out of the same network."
    )
    opinion = "The labels are another model's opinion, not the truth."
    return Group(
        "Against the pipeline's own labels",
        flatters if run.labeller_is_target else opinion,
        [
            *_from(
                run.evaluation,
                "neuron.precision_at_1",
                "A neuron's first descriptor",
                "Of the neurons described on both halves, this share has it confirmed on validation.",
            ),
            *_from(
                run.evaluation,
                "sentence.labels.precision_at_1",
                "First guess: own labels",
                "What an unseen sentence's active neurons name first is among its labels this often.",
            ),
            *_from(
                run.evaluation,
                "sentence.labels.recall_at_2",
                "Two guesses: own labels",
                "Of an unseen sentence's labels, the neurons' first two guesses find this share.",
            ),
        ],
    )


def headlines(run: Run) -> list[Group]:
    """The headline figures, those against gold first; groups without a figure are left out."""
    return [group for group in (_gold(run.evaluation), _stability(run), _own(run)) if group.figures]


def assigned_when(rule: Mapping[str, Any]) -> str:
    """The rule in words."""
    if rule["rule"] == "composition":
        return f"at least {percent(rule['tau'])} of those sentences bear it"
    return (
        f"those sentences bear it more often than chance explains "
        f"(false discovery rate {percent(rule['alpha'])}; at least {rule['min_lift']:g} "
        f"times as often as all sentences, and {rule['min_count']} of them)"
    )
