"""Hypergeometric p values of the evidence, and control of the false discovery rate (Benjamini and Hochberg 1995)."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.special import betaln, gammaln

from descry.assignment.evidence import Evidence


def log_mass(population: int, positives: int, draws: int | np.ndarray, hits: np.ndarray) -> np.ndarray:
    """log P(X = hits) for X hypergeometric(population, positives, draws): float64; draws and hits broadcast.

    -inf where the count is impossible. Computed from C(n, k) = 1 / ((n + 1) B(k + 1, n - k + 1)), since scipy.stats
    takes a second to import.
    """
    negatives, misses = population - positives, draws - hits
    whole = betaln(positives + 1, 1) + betaln(negatives + 1, 1) + betaln(population - draws + 1, draws + 1)
    with np.errstate(invalid="ignore"):  # impossible counts, masked below
        mass = whole - betaln(hits + 1, positives - hits + 1) - betaln(misses + 1, negatives - misses + 1)
    possible = (hits <= positives) & (misses >= 0) & (misses <= negatives)
    return np.where(possible, mass - betaln(population + 1, 1), -np.inf)


def tabulate_log_factorials(largest: int) -> np.ndarray:
    """log n! for n = -1 .. largest, of which the first, which stands for every negative n, is infinite: float64
    [largest + 2]."""
    return np.asarray(gammaln(np.arange(largest + 2.0)))


def look_up_log_mass(
    log_factorial: np.ndarray, population: np.ndarray, positives: np.ndarray, draws: np.ndarray, hits: np.ndarray
) -> np.ndarray:
    """`log_mass` of int64 arrays that broadcast, many times as fast, with an error of about 1e-15 x log population!.
    log_factorial: see `tabulate_log_factorials`, up to the largest population; hits and draws beyond what is possible
    give -inf. Each array is looked up in its own shape, and only their sums in that of the result."""

    def look_up(n: np.ndarray) -> np.ndarray:
        return np.asarray(log_factorial.take(n + 1, mode="clip"))

    negatives, misses, drawn = population - positives, draws - hits, np.minimum(draws, population)
    whole = look_up(positives) + look_up(negatives) - look_up(population) + look_up(drawn) + look_up(population - drawn)
    return np.asarray(whole - look_up(hits) - look_up(positives - hits) - look_up(misses) - look_up(negatives - misses))


KEPT = 4096
"""Distributions that are kept: nulls and sweeps ask for the same ones again and again."""


@lru_cache(KEPT)
def _all_masses(population: int, positives: int, draws: int) -> np.ndarray:
    """`log_mass` of the counts 0 .. draws: float64 [draws + 1], read-only."""
    masses = log_mass(population, positives, draws, np.arange(draws + 1))
    masses.flags.writeable = False
    return masses


@lru_cache(KEPT)
def log_tail(population: int, positives: int, draws: int) -> np.ndarray:
    """log P(X >= c) for c = 0 .. draws and X hypergeometric(population, positives, draws): float64 [draws + 1], <= 0,
    read-only.

    Summed in log space from the far end, so that it stays accurate where the probability itself underflows.
    """
    mass = _all_masses(population, positives, draws)
    tail = np.minimum(np.logaddexp.accumulate(mass[::-1])[::-1], 0.0)
    tail.flags.writeable = False
    return tail


class Cells:
    """The distinct (descriptor, known, count) triples of an `Evidence`, so that each p is computed only once.

    column, known, count: int64 [cells]; times: int64 [cells], how many pairs share each triple.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        base = int(evidence.known.max(initial=0)) + 1
        column = np.arange(evidence.counts.shape[1], dtype=np.int64)
        codes, distinct = pd.factorize((((column * base) + evidence.known) * base + evidence.counts).ravel())
        self._where = codes.reshape(evidence.counts.shape)
        self.times = np.bincount(codes, minlength=len(distinct))
        drawn, self.count = np.divmod(distinct, base)
        self.column, self.known = np.divmod(drawn, base)

    def look_up(self, table: Callable[[int, int, int], np.ndarray]) -> np.ndarray:
        """Evaluate table(population, positives, known)[count] for each cell: float64 [cells]."""
        out = np.empty(len(self.count))
        population, positives = self._evidence.population.tolist(), self._evidence.positives.tolist()
        order = np.lexsort((self.known, self.column))
        first = np.flatnonzero(np.diff(self.column[order], prepend=-1) | np.diff(self.known[order], prepend=-1))
        for cells in np.split(order, first[1:]) if len(order) else ():
            column, known = int(self.column[cells[0]]), int(self.known[cells[0]])
            out[cells] = table(population[column], positives[column], known)[self.count[cells]]
        return out

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Copy each cell's value to the pairs that share it: from [cells] to [neurons, descriptors]."""
        return np.asarray(values[self._where])


def log_p(evidence: Evidence) -> np.ndarray:
    """Log p of every pair, P(X >= count) for random exemplars: float64 [neurons, descriptors], <= 0; see `log_tail`."""
    cells = Cells(evidence)
    return cells.spread(cells.look_up(log_tail))


def randomised_p(evidence: Evidence, generator: np.random.Generator) -> np.ndarray:
    """Randomised p values, drawn uniformly between P(X > count) and P(X >= count): float64 [neurons, descriptors],
    in [0, 1]. They are exactly uniform if exemplars are random; the p of a discrete count cannot be."""
    cells = Cells(evidence)
    upper, width = np.exp(cells.look_up(log_tail)), np.exp(cells.look_up(_all_masses))
    drawn = cells.spread(upper) - generator.random(evidence.counts.shape) * cells.spread(width)
    return np.asarray(np.clip(drawn, 0.0, 1.0))


def benjamini_hochberg(log_p: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
    """Log q values (Benjamini and Hochberg 1995), adjusted over ALL entries: same shape as `log_p`, <= 0.

    times: int, same shape, how many tests each entry stands for; None: one each.
    """
    order = np.argsort(log_p, axis=None)
    ranks = np.cumsum(np.ones(log_p.size) if times is None else times.ravel()[order])
    ordered = log_p.ravel()[order] + np.log(ranks[-1:]) - np.log(ranks)
    log_q = np.empty(log_p.size)
    log_q[order] = np.minimum(np.minimum.accumulate(ordered[::-1])[::-1], 0.0)
    return log_q.reshape(log_p.shape)
