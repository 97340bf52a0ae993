"""A headline figure: a value beside chance and controls, and a sentence that says what it means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from descry.report.content import Content
from descry.report.measures import CONTROL_TEXTS, NULL_TEXTS, Level, Score
from descry.report.words import format_count, format_interval, format_percent
from descry.results.measures import find_measure


@dataclass(frozen=True)
class Headline:
    """A figure in [0, 1].

    name: of the measure; term: what the field calls it; sentence: what it means; chance: what the null gives that is
    chance for the measure, None where it was not measured; controls: what these give, by name; detail: what the value
    is a share of; bases: what the controls' values are shares of.
    """

    name: str
    term: str
    sentence: str
    value: float
    chance: Level | None
    controls: Mapping[str, Level]
    detail: str = ""
    bases: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The measure in plain words."""
        return find_measure(self.name).title

    @property
    def null(self) -> str:
        """What the null is called that is chance for the measure."""
        return NULL_TEXTS[find_measure(self.name).chance][0]


@dataclass(frozen=True)
class Group:
    """Headline figures that belong together."""

    title: str
    note: str
    figures: Sequence[Headline]
    remark: str = ""


def make_headline(run: Content, name: str, term: str, sentence: str) -> list[Headline]:
    """The headline of a measure, in a list that is empty where it was not measured."""
    score = run.scores.get(name)
    if score is None:
        return []
    return [Headline(name, term, sentence, score.value, score.chance, score.controls)]


def make_share(score: Score, size: float, term: str, sentence: str) -> Headline:
    """The headline of a count as a share of `size`."""
    chance = None if score.chance is None else score.chance.divide(size)
    controls = {name: level.divide(size) for name, level in score.controls.items()}
    detail = f"{format_count(score.value)} of {format_count(size)}"
    return Headline(score.name, term, sentence, score.value / size, chance, controls, detail)


def add_basis(run: Content, headlines: list[Headline], name: str, form: str) -> list[Headline]:
    """Headlines that say what they are shares of: name, of the measure that counts it; form: with {} for its value."""
    basis = run.scores.get(name)
    if basis is None:
        return headlines
    show = format_count if basis.counts else format_percent
    bases = {control: form.format(show(level.mean)) for control, level in basis.controls.items()}
    return [replace(headline, detail=form.format(show(basis.value)), bases=bases) for headline in headlines]


def format_bounds(level: Level) -> str:
    """The 95 % interval of a share, empty where its ends look alike."""
    return format_interval(level.low, level.high, format_percent).replace(" %", "")


def list_controls(run: Content) -> dict[str, tuple[str, str]]:
    """The controls that any measure has: what each is called, and what it is."""
    measured = {name for score in run.scores.values() for name in score.levels}
    return {name: text for name, text in CONTROL_TEXTS.items() if name in measured}
