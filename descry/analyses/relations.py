"""Which descriptors go together: in sentences, and in neurons beyond what sentences explain.

Every array is [descriptors, descriptors]; where it is directed, entry [a, b] is about b, given a.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import log_ndtr

from descry.assignment import Findings, Rule, benjamini_hochberg, build_membership, log_mass, log_tail

GROUPS = 50
"""Groups of reviews that the jackknife leaves out in turn."""
BLOCK = 4096
"""Sentences worked on at once."""
LIMIT = 1.96
"""Standard errors on either side of a 95 % interval."""


@dataclass(frozen=True)
class CoOccurrence:
    """How two descriptors' labels go together over the sentences that lack neither: float64, but for count.

    count: int64, sentences with both; bearing: P(b | a), NaN where no sentence bears a; pmi: log2 of P(a, b) over
    P(a) P(b), -inf where no sentence bears both; phi: correlation, in [-1, 1], NaN where either does not vary; low,
    high: its 95 % interval over reviews (delete-a-group jackknife).
    """

    count: np.ndarray
    bearing: np.ndarray
    pmi: np.ndarray
    phi: np.ndarray
    low: np.ndarray
    high: np.ndarray


def _phi(known: np.ndarray, both: np.ndarray, own: np.ndarray) -> np.ndarray:
    """From counts [..., a, b] of sentences that lack neither: all, that bear both, that bear a."""
    other = np.swapaxes(own, -1, -2)
    spread = own * (known - own) * other * (known - other)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(spread > 0, (known * both - own * other) / np.sqrt(spread), np.nan))


def correlations(labels: np.ndarray) -> np.ndarray:
    """phi of every two columns of labels, int8 [sentences, descriptors]; NaN where either does not vary."""
    return _phi(*_counts(labels))


def _counts(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    given, known = (labels == 1).astype(np.float64), (labels >= 0).astype(np.float64)
    return known.T @ known, given.T @ given, given.T @ known


def measure_cooccurrence(labels: np.ndarray, reviews: Sequence[str]) -> CoOccurrence:
    """How labels go together. labels: int8 [sentences, descriptors]; reviews: of each sentence.

    Memory is O(GROUPS x descriptors^2).
    """
    _, review = np.unique(np.asarray(reviews), return_inverse=True)
    groups = min(GROUPS, int(review.max(initial=0)) + 1)
    parts = np.stack([np.stack(_counts(labels[review % groups == group])) for group in range(groups)])
    whole = parts.sum(axis=0)
    known, both, own = whole
    phi = _phi(*whole)
    without = np.stack([_phi(*(whole - part)) for part in parts])
    error = np.sqrt((groups - 1) / groups * ((without - without.mean(axis=0)) ** 2).sum(axis=0))
    with np.errstate(invalid="ignore", divide="ignore"):
        bearing = both / own
        pmi = np.log2(both * known / (own * own.T))
    low, high = (np.clip(phi + side * LIMIT * error, -1, 1) for side in (-1, 1))
    return CoOccurrence(both.astype(np.int64), bearing, pmi, phi, low, high)


@dataclass(frozen=True)
class SharedNeurons:
    """How two descriptors share neurons, beyond what their sharing of sentences explains: directed, float64.

    seen: times that the exemplars of a's neurons bear b; expected: times that they would if, among the sentences that
    bear a and among those that do not, b's labels changed places at random: their bearing a explains so many; z: how
    many standard deviations of such permutations lie between, NaN where nothing can vary. neurons: int64, that carry
    both; neurons_expected: of a's neurons, those to which b would be assigned under such permutations.
    """

    seen: np.ndarray
    expected: np.ndarray
    z: np.ndarray
    neurons: np.ndarray
    neurons_expected: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """seen over expected; NaN where nothing is to be expected."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(self.expected > 0, self.seen / self.expected, np.nan))


def measure_shared_neurons(exemplars: np.ndarray, labels: np.ndarray, found: Findings, rule: Rule) -> SharedNeurons:
    """How descriptors share neurons.

    exemplars: int [neurons, k], rows of the labels, -1 for none; labels: int8 [sentences, descriptors]; found: of both,
    by `rule`. The permutations' mean and variance are exact: sum_x w_a[x] b[x], where w_a[x]
    counts the neurons of a that have x among their exemplars, is a sum over random samples without replacement.
    Memory is O(neurons x k + BLOCK x descriptors).
    """
    holders = build_membership(exemplars, len(labels)).T.tocsr()
    assigned = found.assigned.astype(np.float64)
    sums = np.zeros((2, 5, labels.shape[1], labels.shape[1]))
    for start in range(0, len(labels), BLOCK):
        here = labels[start : start + BLOCK]
        given, known = (here == 1).astype(np.float64), (here >= 0).astype(np.float64)
        weight = holders[start : start + BLOCK] @ assigned
        for stratum, inside in enumerate((given, known - given)):
            own = weight * inside
            products = ((inside, given), (own, given), (inside, known), (own, known), (weight * own, known))
            sums[stratum] += [one.T @ other for one, other in products]
    bearing, seen, size, total, squares = np.moveaxis(sums, 1, 0)
    mean = total / np.maximum(size, 1)
    spread = squares / np.maximum(size, 1) - mean**2
    variance = (bearing * (size - bearing) / np.maximum(size - 1, 1) * spread).sum(axis=0)
    seen, expected = seen.sum(axis=0), (mean * bearing).sum(axis=0)
    varies = variance > 1e-9 * np.maximum(expected, 1) ** 2
    z = np.divide(seen - expected, np.sqrt(variance), out=np.full(seen.shape, np.nan), where=varies)
    np.fill_diagonal(z, np.nan)
    neurons = found.assigned.T.astype(np.int64) @ found.assigned.astype(np.int64)
    return SharedNeurons(seen, expected, z, neurons, _neurons_expected(found, rule, size, bearing))


def _least(found: Findings, rule: Rule) -> Callable[[int, int], int]:
    """Gives the least count with which a descriptor (its column) is assigned to a neuron with so many known exemplars;
    one more than those where none is enough."""
    evidence, limit = found.evidence, found.log_p[found.assigned].max(initial=-np.inf)
    kept: dict[tuple[int, int], int] = {}

    def least(column: int, draws: int) -> int:
        if (column, draws) not in kept:
            counts = np.arange(draws + 1)
            composition = counts / max(draws, 1)
            if rule.name == "composition":
                enough = composition >= rule.tau
            else:
                positives = int(evidence.positives[column])
                enough = log_tail(int(evidence.population[column]), positives, draws) <= limit
                enough &= composition >= rule.min_lift * evidence.prevalence[column]
                enough &= counts >= rule.min_count
            kept[column, draws] = int(enough.argmax()) if enough.any() else draws + 1
        return kept[column, draws]

    return least


def _neurons_expected(found: Findings, rule: Rule, size: np.ndarray, bearing: np.ndarray) -> np.ndarray:
    """See `Shared.neurons_expected`. size, bearing: [2, a, b], sentences that bear a (and that do not) whose b is
    known, and that bear b. A neuron's exemplars that bear a are m, the others k - m; each kind bears b as often as a
    random sample would: the sum of two hypergeometric counts."""
    least, columns = _least(found, rule), range(size.shape[1])
    out = np.zeros(size.shape[1:])
    for a in columns:
        own = found.assigned[:, a]
        for b in columns:
            cells = np.stack([found.evidence.counts[own, a], found.evidence.known[own, b]])
            for draws in np.unique(cells[1]).tolist():
                with_a, times = np.unique(cells[0, cells[1] == draws], return_counts=True)
                with_a = np.minimum(with_a, draws)[:, None]
                hits = np.arange(least(b, draws))
                first, second = (
                    np.exp(log_mass(int(size[stratum, a, b]), int(bearing[stratum, a, b]), sample, hits))
                    for stratum, sample in enumerate((with_a, draws - with_a))
                )
                below = (first * np.cumsum(second, axis=1)[:, ::-1]).sum(axis=1)
                out[a, b] += times @ (1 - below)
    return out


@dataclass(frozen=True)
class Relations:
    """All relations of a split's descriptors: their names, `Together`, `Shared`, and alike: float64, symmetric, the
    correlation of the labeller's scores."""

    names: Sequence[str]
    together: CoOccurrence
    shared: SharedNeurons
    alike: np.ndarray

    @property
    def log_p(self) -> np.ndarray:
        """log of the chance of a z as large, one-sided: float64; 0 where z cannot be said."""
        return np.asarray(np.where(np.isnan(self.shared.z), 0.0, log_ndtr(-np.nan_to_num(self.shared.z))))

    @property
    def log_q(self) -> np.ndarray:
        """Benjamini-Hochberg over all ordered pairs; 0 on the diagonal."""
        out, pairs = np.zeros(self.alike.shape), ~np.eye(len(self.names), dtype=bool)
        out[pairs] = benjamini_hochberg(self.log_p[pairs])
        return out

    @property
    def unrelated(self) -> np.ndarray:
        """bool, symmetric: neither their labels nor their scores go together over sentences."""
        return np.asarray((self.together.phi <= 0) & (self.alike <= 0))

    def table(self) -> pd.DataFrame:
        """Every ordered pair, a row each, in the order of the names; figures that cannot be said are missing."""
        a, b = np.nonzero(~np.eye(len(self.names), dtype=bool))
        text, shown = self.together, self.shared
        with np.errstate(invalid="ignore"):
            pmi = np.where(np.isfinite(text.pmi), text.pmi, np.nan)
        arrays = {
            "sentences": text.count,
            "bearing": text.bearing,
            "pmi": pmi,
            **{name: getattr(text, name) for name in ("phi", "low", "high")},
            "alike": self.alike,
            **{name: getattr(shown, name) for name in ("seen", "expected", "ratio", "z")},
            "p": np.exp(self.log_p),
            "q": np.exp(self.log_q),
            "neurons": shown.neurons,
            "neurons_expected": shown.neurons_expected,
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
    """All relations of a split. scores: float32 [sentences, descriptors], NaN where missing; the others as `shared` and
    `together` take them."""
    with np.errstate(invalid="ignore", divide="ignore"):
        centred = np.nan_to_num(scores - np.nanmean(scores, axis=0, dtype=np.float64))
        alike = np.nan_to_num(np.corrcoef(centred.T))
    return Relations(
        names,
        measure_cooccurrence(labels, reviews),
        measure_shared_neurons(exemplars, labels, found, rule),
        np.atleast_2d(alike),
    )
