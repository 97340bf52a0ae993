"""Relations of descriptors: which occur in the same sentences, and which share neurons beyond what sentences explain.

Every array is [descriptors, descriptors]; in a directed one, entry [a, b] is about b, given a.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.special import log_ndtr

from descry.assignment.evidence import build_membership
from descry.assignment.false_discovery import (
    benjamini_hochberg,
    log_tail,
    look_up_log_mass,
    tabulate_log_factorials,
)
from descry.assignment.rules import Findings, Rule
from descry.splits import STANDARD_ERRORS_95

GROUPS = 50
"""Groups of reviews that the jackknife leaves out in turn, at most."""
BLOCK = 4096
"""Sentences processed at once."""
CHUNK = 1 << 17
"""Probabilities of hypergeometric counts computed at once, about."""


@dataclass(frozen=True)
class CoOccurrence:
    """Co-occurrence of the labels of two descriptors, over sentences where neither is missing: float64, except count.

    count: int64, sentences with both; bearing: P(b | a), NaN if no sentence bears a; pmi: log2 of P(a, b) over
    P(a) P(b), -inf if no sentence bears both; phi: correlation, in [-1, 1], NaN if either is constant; low, high: its
    95 % interval over reviews (delete-a-group jackknife).
    """

    count: np.ndarray
    bearing: np.ndarray
    pmi: np.ndarray
    phi: np.ndarray
    low: np.ndarray
    high: np.ndarray


def _phi(known: np.ndarray, both: np.ndarray, own: np.ndarray) -> np.ndarray:
    """phi from counts [..., a, b] of sentences where neither label is missing: all, those with both, those with a."""
    other = np.swapaxes(own, -1, -2)
    spread = own * (known - own) * other * (known - other)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(spread > 0, (known * both - own * other) / np.sqrt(spread), np.nan))


def correlations(labels: np.ndarray) -> np.ndarray:
    """phi of every two columns of labels, int8 [sentences, descriptors]; NaN if either is constant."""
    return _phi(*_count_labels(labels))


def _count_labels(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    positive, known = (labels == 1).astype(np.float64), (labels >= 0).astype(np.float64)
    return known.T @ known, positive.T @ positive, positive.T @ known


def measure_cooccurrence(labels: np.ndarray, reviews: Sequence[str]) -> CoOccurrence:
    """Measure the co-occurrence of labels, int8 [sentences, descriptors]. reviews: the review id of each sentence.

    Memory is O(GROUPS x descriptors^2).
    """
    _, review = np.unique(np.asarray(reviews), return_inverse=True)
    groups = min(GROUPS, int(review.max(initial=0)) + 1)
    parts = np.stack([np.stack(_count_labels(labels[review % groups == group])) for group in range(groups)])
    total = parts.sum(axis=0)
    known, both, own = total
    phi = _phi(*total)
    left_out = np.stack([_phi(*(total - part)) for part in parts])
    error = np.sqrt((groups - 1) / groups * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        bearing = both / own
        pmi = np.log2(both * known / (own * own.T))
    low, high = (np.clip(phi + sign * STANDARD_ERRORS_95 * error, -1, 1) for sign in (-1, 1))
    return CoOccurrence(both.astype(np.int64), bearing, pmi, phi, low, high)


@dataclass(frozen=True)
class SharedNeurons:
    """How far two descriptors share neurons beyond what shared sentences explain: directed, float64.

    The baseline permutes b's labels at random among the sentences that bear a, and among those that do not. seen: how
    often exemplars of a's neurons bear b; expected: its mean under the baseline; z: (seen - expected) in standard
    deviations of the baseline, NaN if nothing can vary; neurons: int64, those with both descriptors; neurons_expected:
    the expected number of a's neurons to which b would be assigned under the baseline.
    """

    seen: np.ndarray
    expected: np.ndarray
    z: np.ndarray
    neurons: np.ndarray
    neurons_expected: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """seen over expected; NaN where expected is 0."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(self.expected > 0, self.seen / self.expected, np.nan))


def measure_shared_neurons(exemplars: np.ndarray, labels: np.ndarray, found: Findings, rule: Rule) -> SharedNeurons:
    """Measure how descriptors share neurons.

    exemplars: int [neurons, k], rows of the labels, -1 for none; labels: int8 [sentences, descriptors]; found: assigned
    from both by `rule`. Mean and variance of the baseline are exact: seen is sum_x w_a[x] b[x], where w_a[x] counts the
    neurons of a with x among their exemplars, a sum over samples drawn without replacement. Memory is
    O(neurons x k + BLOCK x descriptors).
    """
    holders = build_membership(exemplars, len(labels)).T.tocsr()
    assigned = csr_array(found.assigned, dtype=np.float64)
    sums = np.zeros((2, 5, labels.shape[1], labels.shape[1]))
    for start in range(0, len(labels), BLOCK):
        weight = (holders[start : start + BLOCK] @ assigned).toarray()
        sums += _sum_strata(labels[start : start + BLOCK], weight)
    bearing, seen, size, total, squares = np.moveaxis(sums, 1, 0)
    mean = total / np.maximum(size, 1)
    spread = squares / np.maximum(size, 1) - mean**2
    variance = (bearing * (size - bearing) / np.maximum(size - 1, 1) * spread).sum(axis=0)
    seen, expected = seen.sum(axis=0), (mean * bearing).sum(axis=0)
    varies = variance > 1e-9 * np.maximum(expected, 1) ** 2
    z = np.divide(seen - expected, np.sqrt(variance), out=np.full(seen.shape, np.nan), where=varies)
    np.fill_diagonal(z, np.nan)
    neurons = (assigned.T @ assigned).toarray().astype(np.int64)
    return SharedNeurons(seen, expected, z, neurons, _expect_neurons(found, rule, size, bearing))


def _sum_strata(labels: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Sums over the sentences that bear a and over those that do not: float64 [2, 5, a, b], exact, since all are whole.

    They are, of the sentences whose b is known: how many bear b, the weights of a of these, how many there are, the
    weights of a, and the squares of these. weight: float64 [sentences, descriptors]. Labels are few, and fewer are
    missing: the products are sparse.
    """
    positive, missing = csr_array(labels == 1, dtype=np.float64), csr_array(labels < 0, dtype=np.float64)

    def sum_bearing(values: np.ndarray) -> np.ndarray:
        return np.asarray((positive.T @ values).T)

    def sum_known(values: np.ndarray) -> np.ndarray:
        return np.asarray(values.sum(axis=0)[:, None] - (missing.T @ values).T)

    def sum_all(inside: np.ndarray) -> np.ndarray:
        ones, weighted = inside.astype(np.float64), weight * inside
        products = sum_bearing(ones), sum_bearing(weighted), sum_known(ones), sum_known(weighted)
        return np.stack([*products, sum_known(weight * weighted)])

    bearing = sum_all(labels == 1)
    return np.stack([bearing, sum_all(labels >= 0) - bearing])


def _make_least_count(found: Findings, rule: Rule) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Make a function of columns of descriptors and as many numbers of known exemplars, int [n] each: the least count
    with which the descriptor is assigned to a neuron, or the number + 1 if no count is enough: int64 [n]."""
    evidence, limit = found.evidence, found.log_p[found.assigned].max(initial=-np.inf)
    prevalence = evidence.prevalence
    table = np.full((len(prevalence), int(evidence.known.max(initial=0)) + 1), -1)

    def find(column: int, draws: int) -> int:
        counts = np.arange(draws + 1)
        composition = counts / max(draws, 1)
        if rule.name == "composition":
            enough = composition >= rule.tau
        else:
            enough = log_tail(int(evidence.population[column]), int(evidence.positives[column]), draws) <= limit
            enough &= composition >= rule.min_lift * prevalence[column]
            enough &= counts >= rule.min_count
        return int(enough.argmax()) if enough.any() else draws + 1

    def least_count(columns: np.ndarray, draws: np.ndarray) -> np.ndarray:
        unknown = table[columns, draws] < 0
        for kind in np.unique(np.stack([columns[unknown], draws[unknown]]), axis=1).T.tolist():
            table[*kind] = find(*kind)
        return np.asarray(table[columns, draws])

    return least_count


def _expect_neurons(found: Findings, rule: Rule, size: np.ndarray, bearing: np.ndarray) -> np.ndarray:
    """Compute `SharedNeurons.neurons_expected`. size, bearing: [2, a, b], of the sentences that bear a (and of those
    that do not) those whose b is known, and those that bear b. If m of a neuron's k exemplars bear a, then under the
    baseline the number that bear b is the sum of two hypergeometric counts, with m and k - m draws."""
    least_count, evidence = _make_least_count(found, rule), found.evidence
    size, bearing = size.astype(np.int64), bearing.astype(np.int64)
    log_factorial = tabulate_log_factorials(int(size.max(initial=0)))
    expected = np.zeros(size.shape[1:])
    for a in np.flatnonzero(found.assigned.any(axis=0)):
        own = found.assigned[:, a]
        cells = _count_cells(evidence.counts[own, a], evidence.known[own])
        least = least_count(*cells[:2])
        order = np.argsort(least, kind="stable")
        for chunk in np.array_split(order, 1 + len(order) * int(least.max(initial=0)) // CHUNK):
            b, known, with_a, times = cells[:, chunk]
            draws = np.stack([with_a, known - with_a])
            below = _sum_masses(log_factorial, size[:, a], bearing[:, a], b, draws, least[chunk])
            expected[a] += np.bincount(b, times * (1 - below), len(expected))
    return expected


def _sum_masses(
    log_factorial: np.ndarray,
    size: np.ndarray,
    bearing: np.ndarray,
    b: np.ndarray,
    draws: np.ndarray,
    least: np.ndarray,
) -> np.ndarray:
    """P(X + Y < least), X and Y hypergeometric: float64 [cells]. Each mass is computed once, for all that use it.

    size, bearing: int64 [2, descriptors], the populations of X and Y, and the positives in them; b, least: int [cells],
    b the descriptor; draws: int [2, cells], of X and Y.
    """
    columns, column = np.unique(b, return_inverse=True)
    hits = np.arange(int(least.max(initial=0)))
    tables, places = [], []
    for population, positives, drawn in zip(size, bearing, draws, strict=True):
        drawable = np.arange(drawn.min(), drawn.max() + 1)
        strata = population[columns, None], positives[columns, None]
        mass = np.exp(look_up_log_mass(log_factorial, *strata, drawable, hits[:, None, None]))
        tables.append(mass.reshape(len(hits), len(columns) * len(drawable)))
        places.append(column * len(drawable) + drawn - drawable[0])
    first, second = tables
    at_most = np.concatenate([np.zeros_like(second), second.cumsum(axis=0)])  # the first rows: of fewer than 0 hits
    rest = (len(hits) + least - 1 - hits[:, None]) * second.shape[1] + places[1]
    return np.asarray((first.take(places[0], axis=1) * at_most.take(rest)).sum(axis=0))


def _count_cells(with_a: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Count the neurons of a that are alike to every b: int64 [4, cells], the column b, the number of exemplars whose b
    is known, how many of them at most bear a, and the number of such neurons.

    with_a: int [neurons], exemplars that bear a; known: int [neurons, descriptors].
    """
    columns, base = known.shape[1], int(known.max(initial=0)) + 1
    same = bool((known == known[:, :1]).all())
    draws = (known[:, :1] if same else known).astype(np.int64)
    codes = (np.arange(draws.shape[1]) * base + draws) * base + np.minimum(with_a[:, None], draws)
    cells, times = np.unique(codes, return_counts=True)
    if same:
        cells, times = (np.arange(columns)[:, None] * base**2 + cells).ravel(), np.tile(times, columns)
    return np.stack([*np.unravel_index(cells, (columns, base, base)), times])


@dataclass(frozen=True)
class Relations:
    """All relations of a split's descriptors: names, co-occurrence in sentences, shared neurons, and alike: float64,
    symmetric, the correlation of the labeller's scores."""

    names: Sequence[str]
    together: CoOccurrence
    shared: SharedNeurons
    alike: np.ndarray

    @property
    def log_p(self) -> np.ndarray:
        """log of the one-sided p value of z, normal approximation: float64; 0 where z is NaN."""
        return np.asarray(np.where(np.isnan(self.shared.z), 0.0, log_ndtr(-np.nan_to_num(self.shared.z))))

    @property
    def log_q(self) -> np.ndarray:
        """log of q (Benjamini and Hochberg 1995) over all ordered pairs; 0 on the diagonal."""
        log_q, pairs = np.zeros(self.alike.shape), ~np.eye(len(self.names), dtype=bool)
        log_q[pairs] = benjamini_hochberg(self.log_p[pairs])
        return log_q

    @property
    def unrelated(self) -> np.ndarray:
        """bool, symmetric: neither the labels nor the scores are positively correlated."""
        return np.asarray((self.together.phi <= 0) & (self.alike <= 0))

    def table(self) -> pd.DataFrame:
        """One row for every ordered pair, in the order of the names; undefined values are missing."""
        a, b = np.nonzero(~np.eye(len(self.names), dtype=bool))
        together, shared = self.together, self.shared
        with np.errstate(invalid="ignore"):
            pmi = np.where(np.isfinite(together.pmi), together.pmi, np.nan)
        arrays = {
            "sentences": together.count,
            "bearing": together.bearing,
            "pmi": pmi,
            **{name: getattr(together, name) for name in ("phi", "low", "high")},
            "alike": self.alike,
            **{name: getattr(shared, name) for name in ("seen", "expected", "ratio", "z")},
            "p": np.exp(self.log_p),
            "q": np.exp(self.log_q),
            "neurons": shared.neurons,
            "neurons_expected": shared.neurons_expected,
        }
        names = np.array(self.names, dtype=object)
        return pd.DataFrame({"descriptor": names[a], "other": names[b]} | {k: v[a, b] for k, v in arrays.items()})


def find_relations(
    names: Sequence[str],
    exemplars: np.ndarray,
    labels: np.ndarray,
    scores: np.ndarray,
    reviews: Sequence[str],
    found: Findings,
    rule: Rule,
) -> Relations:
    """Find all relations of a split. scores: float32 [sentences, descriptors], NaN where missing; for the others see
    `measure_cooccurrence` and `measure_shared_neurons`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = np.nan_to_num(scores - np.nanmean(scores, axis=0, dtype=np.float64))
        alike = np.nan_to_num(np.corrcoef(centred.T))
    return Relations(
        names,
        measure_cooccurrence(labels, reviews),
        measure_shared_neurons(exemplars, labels, found, rule),
        np.atleast_2d(alike),
    )
