"""Controls: what neurons that know nothing would score, and how a score stands beside that.

Each null draws findings in which one thing is lost and all else stays. Definitions: docs/method.md, section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from descry.activations.record import Activations
from descry.assignment import Findings, Rule, assign_splits, gather_evidence, randomised_p
from descry.evaluation.chance import Draw, Draws, repeat
from descry.evaluation.measures import Reference
from descry.evaluation.metrics import at_k
from descry.splits import Pair


def draw_subsets(generator: np.random.Generator, sets: int, population: int, k: int) -> np.ndarray:
    """Uniform k-subsets of range(population): int32 [sets, k].

    Each shuffle of the population is cut into as many disjoint subsets as it holds: every one of them is uniform,
    those of one shuffle are not independent. Cost: sets x k, whatever the population.
    """
    each = population // k
    shuffles = np.tile(np.arange(population, dtype=np.int32), (-(-sets // each), 1))
    cut = generator.permuted(shuffles, axis=1)[:, : each * k]
    return cut.reshape(-1, k)[:sets]


def draw_random_exemplars(
    exemplars: Pair[np.ndarray], labels: Pair[np.ndarray], rule: Rule, generator: np.random.Generator
) -> Pair[Findings]:
    """Findings of as many neurons whose exemplars are random subsets of each split, of the same size."""
    (neurons, k), sizes = exemplars.calibration.shape, (len(labels.calibration), len(labels.validation))
    drawn = Pair(*(draw_subsets(generator, neurons, size, k) for size in sizes))
    return assign_splits(drawn, labels, rule)


def shuffle_reviews(reviews: Sequence[str], generator: np.random.Generator) -> np.ndarray:
    """An order of the sentences in which whole reviews change places: int64 [sentences].

    What holds within a review, and among a sentence's labels, stays; what ties them to a text is lost.
    """
    codes, _ = pd.factorize(np.asarray(reviews))
    place = generator.permutation(codes.max() + 1)
    return np.argsort(place[codes], kind="stable")


Move = Callable[[Pair[np.ndarray]], Pair[np.ndarray]]
"""Gives the rows of both splits, one a sentence, another order."""


def draw_move(reviews: Pair[Sequence[str]], generator: np.random.Generator) -> Move:
    """One change of places `between_reviews` for each split, for any rows of its sentences."""
    orders = [shuffle_reviews(ids, generator) for ids in (reviews.calibration, reviews.validation)]
    return lambda rows: Pair(rows.calibration[orders[0]], rows.validation[orders[1]])


def draw_shuffled_labels(
    exemplars: Pair[np.ndarray],
    labels: Pair[np.ndarray],
    reviews: Pair[Sequence[str]],
    rule: Rule,
    generator: np.random.Generator,
) -> Pair[Findings]:
    """Findings under labels whose rows have changed places `between_reviews`, on each split."""
    return assign_splits(exemplars, draw_move(reviews, generator)(labels), rule)


def permute_neurons(found: Pair[Findings], generator: np.random.Generator) -> Pair[Findings]:
    """Findings whose neurons are paired at random across the splits: how often each descriptor is assigned and
    how many a neuron carries stay as they are, only which neuron is which is lost."""
    return Pair(found.calibration, found.validation.take(generator.permutation(len(found.validation.assigned))))


def resample_neurons(layer: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """As many neurons of every layer, drawn with replacement: int64 [neurons]. layer: int [neurons], ascending.

    The bootstrap of a control whose neurons are random draws themselves.
    """
    starts, sizes = np.unique(layer, return_index=True, return_counts=True)[1:]
    return np.asarray(np.repeat(starts, sizes) + generator.integers(np.repeat(sizes, sizes)))


def measure_most_common(
    found: Pair[Findings], references: Mapping[str, Reference], ks: Sequence[int]
) -> dict[str, Any]:
    """`neuron` and `sentence.<reference>` measures of always naming the most prevalent descriptors."""
    order = np.argsort(-found.calibration.evidence.prevalence, kind="stable")[None, :]
    relevant = found.validation.assigned[found.calibration.described]
    return {
        "neuron": at_k(np.broadcast_to(order, relevant.shape), relevant, ks),
        "sentence": {name: reference.measure(order, ks) for name, reference in references.items()},
    }


def _passing(found: Findings, rule: Rule) -> np.ndarray:
    """log p, ascending, of the pairs with enough lift and count for `enrichment`."""
    enough = (found.evidence.lift >= rule.min_lift) & (found.evidence.counts >= rule.min_count)
    return np.sort(found.log_p[enough])


def measure_attained_error(found: Findings, shuffled: Iterable[Findings], rule: Rule) -> tuple[np.ndarray, float]:
    """How many pairs pass by chance, and the alpha for which it would be as many as alpha says.

    shuffled: findings under shuffled labels, one after the other. Returns, for each of
    them, its pairs beyond the threshold that the findings came to, float64: so many of the findings are false, at most
    (Tusher, Tibshirani and Chu 2001); Benjamini-Hochberg over shuffled labels would move the threshold, here it
    stays. And the largest q up to which the mean of that is at most the share alpha of the pairs found, as a new
    alpha for `enrichment`; 0.0 where there is none, and for `composition`, which has no alpha.
    """
    if rule.name == "composition":
        return np.array([one.assigned.sum() for one in shuffled], dtype=np.float64), 0.0
    null = [_passing(one, rule) for one in shuffled]
    threshold = found.log_p[found.assigned].max(initial=-np.inf)
    false = np.array([np.searchsorted(one, threshold, side="right") for one in null], dtype=np.float64)
    log_p = _passing(found, rule)
    by_chance = np.searchsorted(np.sort(np.concatenate(null)), log_p, side="right") / len(null)
    right = np.flatnonzero(by_chance <= rule.alpha * np.arange(1, len(log_p) + 1))
    if not len(right):
        return false, 0.0
    return false, float(np.exp(found.log_q[found.log_p <= log_p[right[-1]]].max()))


Scorer = Callable[[Pair[Findings], np.ndarray | None], Mapping[str, Any]]
"""Measures of findings, given which neuron of the activations each of theirs is (None: as they stand)."""


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
    """Findings under some labels, their measures, and the same measures under each null, as `repeat` gives them.

    controls: what reads the activations of each model that should know less, by name; its neurons are resampled.
    labels: int8 [sentences, descriptors]; reviews: of every sentence; measuring: activations -> what measures
    findings on them.
    """

    def said(by: Pair[Activations]) -> tuple[Pair[np.ndarray], Pair[Findings]]:
        sets = by.map(lambda split: split.exemplars(rule.exemplars))
        return sets, assign_splits(sets, labels, rule)

    def drawn(draw: Draw) -> dict[str, np.ndarray]:
        return repeat(draw, draws)

    sets, found = said(active)
    measure = measuring(active)
    chance = {
        "random_exemplars": drawn(
            lambda generator: measure(draw_random_exemplars(sets, labels, rule, generator), None)
        ),
        "shuffled_labels": drawn(
            lambda generator: measure(draw_shuffled_labels(sets, labels, reviews, rule, generator), None)
        ),
    }
    for name, read in controls.items():
        control = read()
        chance[name] = drawn(_resampling(said(control)[1], control.calibration.layer, measuring(control)))
    return found, measure(found, None), chance


def _resampling(found: Pair[Findings], layer: np.ndarray, measure: Scorer) -> Draw:
    def draw(generator: np.random.Generator) -> Mapping[str, Any]:
        neurons = resample_neurons(layer, generator)
        return measure(found.map(lambda split: split.take(neurons)), neurons)

    return draw


def tabulate_p_values(
    exemplars: np.ndarray, labels: np.ndarray, reviews: Sequence[str], draws: Draws, bins: int = 20
) -> pd.DataFrame:
    """Histogram of the p values of one split, made exactly uniform under chance (`randomised_p`): labels (observed,
    or shuffled_labels: the mean of `repeats`), p (a bin's lower edge), share of the pairs in it; 1 / bins each
    where labels and neurons have nothing to do with each other."""

    def histogram(shown: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        values = randomised_p(gather_evidence(exemplars, shown), generator)
        return np.histogram(values, bins, (0.0, 1.0))[0] / values.size

    generator = np.random.default_rng(draws.seed)
    shuffled = [histogram(labels[shuffle_reviews(reviews, generator)], generator) for _ in range(draws.repeats)]
    shares = {"observed": histogram(labels, generator), "shuffled_labels": np.mean(shuffled, axis=0)}
    lower = np.arange(bins) / bins
    return pd.concat([pd.DataFrame({"labels": name, "p": lower, "share": s}) for name, s in shares.items()])
