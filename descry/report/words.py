"""Numbers as people read them, and the rule in words."""

from __future__ import annotations

from collections.abc import Callable

from descry.assignment.rules import Rule

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def format_count(number: float) -> str:
    """A count with thousands separators."""
    return f"{round(number):,}"


def format_percent(share: float) -> str:
    """A share in [0, 1] as a percentage: no decimals from 10 % on, one below."""
    hundredths = 100 * share
    if 0 < hundredths < 0.05:
        return "< 0.1 %"
    return f"{hundredths:.0f} %" if hundredths >= 9.95 else f"{round(hundredths, 1):g} %"


def format_p(p: float) -> str:
    """A p or q value: three decimals, or a power of ten where they do not suffice."""
    if p >= 0.001:
        return f"{p:.3f}"
    if p < 1e-300:
        return "< 10" + "-300".translate(_RAISED)
    digits, power = f"{p:.0e}".split("e")
    return f"{digits} × 10{str(int(power)).translate(_RAISED)}"


def format_ratio(lift: float) -> str:
    """A ratio: one decimal below 10."""
    return f"{lift:.1f} ×" if lift < 9.95 else f"{lift:,.0f} ×"


def format_measure(value: float | None, count: bool = False) -> str:
    """A measure: three decimals, or a first digit that they would hide; counts whole; a dash for None."""
    if value is None:
        return "–"
    if count:
        return format_count(value)
    return f"{value:.1g}" if 0 < abs(value) < 0.0005 else f"{value:.3f}"


def format_interval(low: float, high: float, form: Callable[[float], str]) -> str:
    """A 95 % interval as `form` shows its bounds; empty where they look alike."""
    bounds = form(low), form(high)
    return "" if bounds[0] == bounds[1] else f"[{bounds[0]}, {bounds[1]}]"


def format_signed(value: float) -> str:
    """A number in [-1, 1] such as a correlation: two decimals."""
    return f"{value:.2f}".replace("-", "−").replace("−0.00", "0.00")


def describe_rule(rule: Rule, pooling: str) -> str:
    """When a neuron has a descriptor, in words. pooling: of its values over a sentence."""
    sentences = f"its {format_count(rule.exemplars)} strongest sentences ({pooling} over tokens)"
    if rule.name == "composition":
        return f"at least {format_percent(rule.tau)} of {sentences} bear it"
    return (
        f"it is enriched among {sentences}: FDR {format_percent(rule.alpha)}, "
        f"lift ≥ {rule.min_lift:g}, count ≥ {rule.min_count}"
    )


LABELLERS = {
    "embedding": "sentence embeddings",
    "lexical": "words alone, without a network",
    "list": "a language model, one prompt a sentence",
    "each": "a language model, one prompt a sentence and descriptor",
    "likelihood": "a language model, by the likelihood of the descriptors' names",
    "distil": "a linear model that a language model taught",
}
"""The labellers in words, by name."""


def describe_labeller(name: str) -> str:
    """A labeller in words."""
    return LABELLERS.get(name, name)
