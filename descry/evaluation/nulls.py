"""Null models: the same measures for findings in which one relation is destroyed and all else is kept.

Definitions: docs/method.md, section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from descry.activations.record import Activations
from descry.assignment.evidence import gather_evidence
from descry.assignment.false_discovery import randomised_p
from descry.assignment.rules import Findings, Rule, assign_splits, rank
from descry.evaluation.chance import Draw, Draws, repeat
from descry.evaluation.measures import Reference
from descry.evaluation.metrics import at_k
from descry.splits import Pair


def draw_subsets(generator: np.random.Generator, sets: int, population: int, k: int) -> np.ndarray:
    """Draw uniform k-subsets of range(population): int32 [sets, k].

    Each shuffle of the population is cut into as many disjoint subsets as it holds: every subset is uniform, but those
    of one shuffle are not independent. Cost: sets x k, whatever the population.
    """
    each = population // k
    shuffles = np.tile(np.arange(population, dtype=np.int32), (-(-sets // each), 1))
    cut = generator.permuted(shuffles, axis=1)[:, : each * k]
    return cut.reshape(-1, k)[:sets]


def draw_random_exemplars(
    exemplars: Pair[np.ndarray], labels: Pair[np.ndarray], rule: Rule, generator: np.random.Generator
) -> Pair[Findings]:
    """Assign descriptors to as many neurons with random exemplars: subsets of each split, each of the neuron's size.

    exemplars: int [neurons, k], -1 for none, of which only the sizes are used; labels: int8 [sentences, descriptors].
    """

    def draw(rows: np.ndarray, sentences: int) -> np.ndarray:
        drawn = draw_subsets(generator, len(rows), sentences, rows.shape[1])
        return np.where(np.arange(rows.shape[1]) < (rows >= 0).sum(axis=1)[:, None], drawn, -1)

    drawn = Pair(*(draw(rows, len(given)) for rows, given in zip(exemplars, labels, strict=True)))
    return assign_splits(drawn, labels, rule)


def shuffle_reviews(reviews: Sequence[str], generator: np.random.Generator) -> np.ndarray:
    """Draw an order of the sentences in which whole reviews are shuffled: int64 [sentences].

    reviews: of each sentence. Relations within a review and among a sentence's labels are kept; the relation between
    labels and text is lost.
    """
    codes, _ = pd.factorize(np.asarray(reviews))
    place = generator.permutation(codes.max() + 1)
    return np.argsort(place[codes], kind="stable")


Move = Callable[[Pair[np.ndarray]], Pair[np.ndarray]]
"""Reorders the rows of both splits, one row per sentence."""


def draw_move(reviews: Pair[Sequence[str]], generator: np.random.Generator) -> Move:
    """Draw one order by `shuffle_reviews` for each split, to be applied to any arrays with a row per sentence."""
    orders = [shuffle_reviews(ids, generator) for ids in (reviews.calibration, reviews.validation)]
    return lambda rows: Pair(rows.calibration[orders[0]], rows.validation[orders[1]])


def permute_neurons(found: Pair[Findings], generator: np.random.Generator) -> Pair[Findings]:
    """Pair the neurons of calibration with those of validation at random.

    How often each descriptor is assigned and how many descriptors neurons have are kept; which neuron is which is lost.
    """
    return Pair(found.calibration, found.validation.take(generator.permutation(len(found.validation.assigned))))


def resample_neurons(layer: np.ndarray, like: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw neurons with replacement, of every layer as many as `like` has: int64 [neurons].

    layer, like: int [neurons], ascending, of the neurons drawn from and of others in the same layers. This is the
    bootstrap of a control, whose neurons are random draws themselves, and makes its counts those of as many units.
    """
    starts, sizes = np.unique(layer, return_index=True, return_counts=True)[1:]
    drawn = np.unique(like, return_counts=True)[1]
    return np.asarray(np.repeat(starts, drawn) + generator.integers(np.repeat(sizes, drawn)))


def measure_most_common(
    found: Pair[Findings], references: Mapping[str, Reference], ks: Sequence[int]
) -> dict[str, Any]:
    """Measure the baseline that always names the most prevalent descriptors: `neuron`, `sentence.<reference>`."""
    prevalence = found.calibration.evidence.prevalence[None]
    relevant = found.validation.assigned[found.calibration.described]
    return {
        "neuron": at_k(np.broadcast_to(rank(prevalence), relevant.shape), relevant, ks),
        "sentence": {name: reference.measure(prevalence, ks) for name, reference in references.items()},
    }


def _sort_candidates(found: Findings, rule: Rule) -> np.ndarray:
    """Sort the log p of the pairs with enough lift and count for `enrichment`: float64 [pairs], ascending."""
    enough = (found.evidence.lift >= rule.min_lift) & (found.evidence.counts >= rule.min_count)
    return np.sort(found.log_p[enough])


def measure_attained_error(found: Findings, shuffled: Iterable[Findings], rule: Rule) -> tuple[np.ndarray, float]:
    """Estimate how many of the assigned pairs are false, and the alpha at which the false discovery rate is as stated.

    shuffled: findings under shuffled labels, one per repeat. Returns first, for each of them, the number of its pairs
    below the p threshold of `found`, float64 [repeats]: an upper estimate of the false discoveries (Tusher, Tibshirani
    and Chu 2001). The threshold is kept, whereas Benjamini-Hochberg over the shuffled labels would move it. Second, the
    largest q up to which the mean of that number is at most the share alpha of the pairs found, to be used as alpha for
    `enrichment`; 0.0 if there is none, and for `composition`, which has no alpha.
    """
    if rule.name == "composition":
        return np.array([findings.assigned.sum() for findings in shuffled], dtype=np.float64), 0.0
    null = [_sort_candidates(findings, rule) for findings in shuffled]
    threshold = found.log_p[found.assigned].max(initial=-np.inf)
    false = np.array([np.searchsorted(drawn, threshold, side="right") for drawn in null], dtype=np.float64)
    log_p = _sort_candidates(found, rule)
    by_chance = np.searchsorted(np.sort(np.concatenate(null)), log_p, side="right") / len(null)
    right = np.flatnonzero(by_chance <= rule.alpha * np.arange(1, len(log_p) + 1))
    if not len(right):
        return false, 0.0
    return false, float(np.exp(found.log_q[found.log_p <= log_p[right[-1]]].max()))


Scorer = Callable[[Pair[Findings], np.ndarray, np.ndarray | None], Mapping[str, Any]]
"""Measures findings. The first array holds calibration's labels that they come from, the second gives, for each of
their neurons, its place in the activations (None: the same)."""


def measure_beside_chance(
    active: Pair[Activations],
    controls: Mapping[str, Callable[[], Pair[Activations]]],
    labels: Pair[np.ndarray],
    reviews: Pair[Sequence[str]],
    measuring: Callable[[Pair[Activations]], Scorer],
    *,
    rule: Rule,
    draws: Draws,
) -> tuple[Pair[Findings], Mapping[str, Any], dict[str, dict[str, np.ndarray]]]:
    """Assign descriptors, and measure the findings and those under each null.

    controls: by name, a function that reads the control's activations; its neurons are resampled, of every layer as
    many as the target has. labels: int8 [sentences, descriptors]; reviews: of every sentence; measuring: makes the
    `Scorer` for given activations. Returns the findings, their measures, and null -> the same measures as `repeat`
    returns them.
    """

    def assign_all(to: Pair[Activations]) -> tuple[Pair[np.ndarray], Pair[Findings]]:
        sets = to.map(lambda split: split.exemplars(rule.exemplars))
        return sets, assign_splits(sets, labels, rule)

    sets, found = assign_all(active)
    measure = measuring(active)

    def draw_exemplars(generator: np.random.Generator) -> Mapping[str, Any]:
        return measure(draw_random_exemplars(sets, labels, rule, generator), labels.calibration, None)

    def shuffle_labels(generator: np.random.Generator) -> Mapping[str, Any]:
        shuffled = draw_move(reviews, generator)(labels)
        return measure(assign_splits(sets, shuffled, rule), shuffled.calibration, None)

    chance = {"random_exemplars": repeat(draw_exemplars, draws), "shuffled_labels": repeat(shuffle_labels, draws)}
    for name, read in controls.items():
        control = read()
        findings, layers = assign_all(control)[1], (control.calibration.layer, active.calibration.layer)
        resampled = _resample_and_measure(findings, labels.calibration, layers, measuring(control))
        chance[name] = repeat(resampled, draws)
    return found, measure(found, labels.calibration, None), chance


def _resample_and_measure(
    found: Pair[Findings], labels: np.ndarray, layers: tuple[np.ndarray, np.ndarray], measure: Scorer
) -> Draw:
    """Make the draw that measures a control's findings for neurons resampled within layers. layers: of the control's
    and the target's neurons."""

    def draw(generator: np.random.Generator) -> Mapping[str, Any]:
        neurons = resample_neurons(*layers, generator)
        return measure(found.map(lambda split: split.take(neurons)), labels, neurons)

    return draw


def tabulate_p_values(
    exemplars: np.ndarray, labels: np.ndarray, reviews: Sequence[str], draws: Draws, bins: int = 20
) -> pd.DataFrame:
    """Tabulate the histogram of one split's `randomised_p`, under the observed labels and under shuffled ones.

    exemplars: int [neurons, k]; labels: int8 [sentences, descriptors]; reviews: of each sentence. Columns: labels
    (`observed`, or `shuffled_labels`: the mean over the repeats), p (a bin's lower edge), share (of the pairs in it;
    1 / bins if labels and neurons are independent).
    """

    def histogram(shown: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        values = randomised_p(gather_evidence(exemplars, shown), generator)
        return np.histogram(values, bins, (0.0, 1.0))[0] / values.size

    generator = np.random.default_rng(draws.seed)
    shuffled = [histogram(labels[shuffle_reviews(reviews, generator)], generator) for _ in range(draws.repeats)]
    shares = {"observed": histogram(labels, generator), "shuffled_labels": np.mean(shuffled, axis=0)}
    lower = np.arange(bins) / bins
    return pd.concat([pd.DataFrame({"labels": name, "p": lower, "share": share}) for name, share in shares.items()])
