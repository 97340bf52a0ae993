"""A headline figure: a value, what chance gives, what other neurons give, and a sentence about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

from descry.report.content import Content
from descry.report.measures import CONTROL_TEXTS, NULL_TEXTS, Level
from descry.report.words import format_count, format_interval, format_measure, format_percent

NAMES = {name: called for name, (called, _) in (NULL_TEXTS | CONTROL_TEXTS).items()}
NAMES |= {"most_common": "always the most common", "definition": "by definition"}
DEFINITION = {"definition": Level(0.05, 0.05, 0.05)}
"""What p <= 0.05 gives where there is nothing to find."""


class ChanceShown(NamedTuple):
    """Levels that look alike: how they are shown, whose they are, and their intervals."""

    shown: str
    names: str
    intervals: str


class ControlShown(NamedTuple):
    """What a control gives: its name, what it is called, how it is shown, its interval, what it is a share of."""

    name: str
    called: str
    shown: str
    interval: str
    basis: str


@dataclass(frozen=True)
class Headline:
    """A figure in [0, 1], a sentence about it, what chance gives and what the controls give, by name.

    detail: what the value is a share of; bases: the same of the controls.
    """

    title: str
    sentence: str
    value: float
    chances: Mapping[str, Level]
    yardsticks: Mapping[str, Level] = field(default_factory=dict)
    detail: str = ""
    bases: Mapping[str, str] = field(default_factory=dict)

    @property
    def chance(self) -> float | None:
        """The highest of the chance values."""
        return max((level.mean for level in self.chances.values()), default=None)

    @property
    def beside(self) -> list[ChanceShown]:
        """The chance values as they are shown, the highest first, each with its names; those that look alike
        together."""
        alike: dict[str, list[str]] = {}
        for name, level in self.chances.items():
            alike.setdefault(format_percent(level.mean), []).append(name)
        highest = sorted(alike.items(), key=lambda group: -max(self.chances[name].mean for name in group[1]))
        return [
            ChanceShown(shown, ", ".join(NAMES[name] for name in names), "; ".join(map(self._interval, names)))
            for shown, names in highest
        ]

    def _interval(self, name: str) -> str:
        level = self.chances[name]
        bounds = format_interval(level.low, level.high, format_measure)
        return f"{NAMES[name]}: {format_measure(level.mean)} {bounds}".rstrip()

    @property
    def others(self) -> list[ControlShown]:
        """What the controls give as it is shown."""
        return [self._other(name, level) for name, level in self.yardsticks.items()]

    def _other(self, name: str, level: Level) -> ControlShown:
        bounds = format_interval(level.low, level.high, format_percent).replace(" %", "")
        return ControlShown(name, NAMES[name], format_percent(level.mean), bounds, self.bases.get(name, ""))


@dataclass(frozen=True)
class Group:
    """Headline figures that belong together."""

    title: str
    note: str
    figures: list[Headline]
    remark: str = ""


def make_headline(
    run: Content, key: str, title: str, sentence: str, known: Mapping[str, Level] = MappingProxyType({})
) -> list[Headline]:
    """The headline of a measure, in a list that is empty where it was not measured. known: further chance levels."""
    found = run.figures.get(key)
    if found is None:
        return []
    return [Headline(title, sentence, found.value, {**known, **found.among(NULL_TEXTS)}, found.among(CONTROL_TEXTS))]


def add_basis(run: Content, headlines: list[Headline], key: str, form: str) -> list[Headline]:
    """Headlines that say what they are shares of: key, the measure that tells; form: with {} for it."""
    basis = run.figures.get(key)
    if basis is None:
        return headlines
    show = format_count if basis.counts else format_percent
    bases = {name: form.format(show(level.mean)) for name, level in basis.among(CONTROL_TEXTS).items()}
    detail = form.format(show(basis.value))
    return [replace(one, detail=detail, bases=bases) for one in headlines]
