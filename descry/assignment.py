"""From exemplars and labels to a neuron's descriptors: composition, enrichment, false discovery rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.special import betaln

from descry.splits import Pair

RuleName = Literal["enrichment", "composition"]
RULES: tuple[RuleName, ...] = ("enrichment", "composition")


@dataclass(frozen=True)
class Rule:
    """When a descriptor is a neuron's.

    name: which rule decides; exemplars: size of a neuron's exemplar set. enrichment: false discovery rate alpha, in
    (0, 1), least lift min_lift and least count min_count. composition: least share tau of the exemplars, in (0, 1].
    """

    name: RuleName = "enrichment"
    exemplars: int = 200
    alpha: float = 0.05
    min_lift: float = 1.5
    min_count: int = 3
    tau: float = 0.3


@dataclass(frozen=True)
class Evidence:
    """How often each neuron's exemplars bear each descriptor, on one split.

    counts, known int32 [neurons, descriptors]: exemplars that bear the descriptor, and those whose label is
    not missing; positives, population int64 [descriptors]: the same over the whole split.
    """

    counts: np.ndarray
    known: np.ndarray
    positives: np.ndarray
    population: np.ndarray

    @property
    def composition(self) -> np.ndarray:
        """Share of the known exemplars that bear each descriptor, float64 in [0, 1]; 0 if none is known."""
        return np.asarray(self.counts / np.maximum(self.known, 1))

    @property
    def prevalence(self) -> np.ndarray:
        """Share of the split's known sentences that bear each descriptor, float64 [descriptors]."""
        return np.asarray(self.positives / np.maximum(self.population, 1))

    @property
    def lift(self) -> np.ndarray:
        """Composition over prevalence; 0 for a descriptor that no sentence bears."""
        prevalence = self.prevalence
        bounded = np.where(prevalence > 0, prevalence, np.inf)
        return np.asarray(self.composition / bounded)


def build_membership(rows: np.ndarray, sentences: int) -> csr_array:
    """Which sentences are whose exemplars: int16 [neurons, sentences], 1 or 0. rows: int [neurons, k], -1 for none."""
    present = rows >= 0
    ends = np.concatenate([[0], np.cumsum(present.sum(axis=1))])
    return csr_array((np.ones(ends[-1], np.int16), rows[present], ends), shape=(len(rows), sentences))


def gather_evidence(rows: np.ndarray, labels: np.ndarray) -> Evidence:
    """Count labels over exemplar sets: one sparse matrix product.

    rows: int [neurons, k], the exemplars of each neuron, -1 for none, k below 2**15; labels: int8 [sentences,
    descriptors], 1, 0 or -1 (missing). A missing label is left out of every count.
    """
    member = build_membership(rows, len(labels))
    counts = (member @ (labels == 1).astype(np.int16)).astype(np.int32)
    missing = labels < 0
    known = np.repeat((rows >= 0).sum(axis=1)[:, None], labels.shape[1], axis=1).astype(np.int32)
    if missing.any():
        known -= (member @ missing.astype(np.int16)).astype(np.int32)
    return Evidence(counts, known, (labels == 1).sum(0), (~missing).sum(0))


def log_mass(population: int, positives: int, draws: int | np.ndarray, hits: np.ndarray) -> np.ndarray:
    """log P(X = hits), X hypergeometric(population, positives, draws): float64; draws and hits broadcast.

    By C(n, k) = 1 / ((n + 1) B(k + 1, n - k + 1)); scipy.stats says the same, but takes a second to import.
    """
    negatives, misses = population - positives, draws - hits
    whole = betaln(positives + 1, 1) + betaln(negatives + 1, 1) + betaln(population - draws + 1, draws + 1)
    with np.errstate(invalid="ignore"):  # where it is not possible
        mass = whole - betaln(hits + 1, positives - hits + 1) - betaln(misses + 1, negatives - misses + 1)
    possible = (hits <= positives) & (misses >= 0) & (misses <= negatives)
    return np.where(possible, mass - betaln(population + 1, 1), -np.inf)


def _all_masses(population: int, positives: int, draws: int) -> np.ndarray:
    """`log_mass` of 0 .. draws: float64 [draws + 1]."""
    return log_mass(population, positives, draws, np.arange(draws + 1))


def log_tail(population: int, positives: int, draws: int) -> np.ndarray:
    """log P(X >= c) for c = 0 .. draws, X hypergeometric(population, positives, draws); float64 [draws + 1].

    Summed in logarithms from the far end, so that it holds where the probability itself underflows.
    """
    mass = _all_masses(population, positives, draws)
    return np.minimum(np.logaddexp.accumulate(mass[::-1])[::-1], 0.0)


class _Cells:
    """The distinct (descriptor, known exemplars, count) of some evidence: everything that is computed from the three is
    computed once for each. column, known, count: int64 [cells]; times: how often each stands in the evidence."""

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
        """table(population, positives, known)[count] of every cell: float64 [cells]."""
        out = np.empty(len(self.count))
        population, positives = self._evidence.population.tolist(), self._evidence.positives.tolist()
        for column, known in np.unique(np.stack([self.column, self.known]), axis=1).T.tolist():
            cells = np.flatnonzero((self.column == column) & (self.known == known))
            out[cells] = table(population[column], positives[column], known)[self.count[cells]]
        return out

    def spread(self, values: np.ndarray) -> np.ndarray:
        """A value of every cell where it stands: [neurons, descriptors]."""
        return np.asarray(values[self._where])


def log_p(evidence: Evidence) -> np.ndarray:
    """log of the chance that a random exemplar set bears each descriptor as often; float64, as `counts`."""
    cells = _Cells(evidence)
    return cells.spread(cells.look_up(log_tail))


def randomised_p(evidence: Evidence, generator: np.random.Generator) -> np.ndarray:
    """p values drawn evenly between P(X > count) and P(X >= count): exactly uniform where exemplars are random,
    which p itself, of a whole number, cannot be; float64 in [0, 1], as `counts`."""
    cells = _Cells(evidence)
    upper, width = np.exp(cells.look_up(log_tail)), np.exp(cells.look_up(_all_masses))
    drawn = cells.spread(upper) - generator.random(evidence.counts.shape) * cells.spread(width)
    return np.asarray(np.clip(drawn, 0.0, 1.0))


def benjamini_hochberg(log_p: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
    """q values (Benjamini and Hochberg 1995) over ALL entries, as logarithms; same shape, at most 0.

    times: how often each entry counts, int, same shape; None: once.
    """
    order = np.argsort(log_p, axis=None)
    ranks = np.cumsum(np.ones(log_p.size) if times is None else times.ravel()[order])
    ordered = log_p.ravel()[order] + np.log(ranks[-1:]) - np.log(ranks)
    log_q = np.empty(log_p.size)
    log_q[order] = np.minimum(np.minimum.accumulate(ordered[::-1])[::-1], 0.0)
    return log_q.reshape(log_p.shape)


@dataclass(frozen=True)
class Findings:
    """What one split says of every neuron and descriptor, each array [neurons, descriptors].

    strength float64: what a neuron's descriptors are ranked by (-log10 p, or composition); assigned bool.
    """

    evidence: Evidence
    log_p: np.ndarray
    log_q: np.ndarray
    strength: np.ndarray
    assigned: np.ndarray

    @property
    def described(self) -> np.ndarray:
        """bool [neurons]: those with at least one descriptor."""
        return np.asarray(self.assigned.any(axis=1))

    def take(self, neurons: np.ndarray) -> Findings:
        """What is said of some neurons, int [n], in that order."""
        evidence = self.evidence
        own = Evidence(evidence.counts[neurons], evidence.known[neurons], evidence.positives, evidence.population)
        return Findings(own, *(a[neurons] for a in (self.log_p, self.log_q, self.strength, self.assigned)))


def assign_by(names: Sequence[RuleName], evidence: Evidence, rule: Rule) -> dict[RuleName, Findings]:
    """Assign descriptors to neurons by each of some rules, with the thresholds of `rule`.

    enrichment: q <= alpha, lift >= min_lift and count >= min_count; ranked by -log10 p, which orders a
    neuron's descriptors as q does and also where q is flat. composition (the paper's rule, our reading):
    composition >= tau; ranked by composition.
    """
    cells = _Cells(evidence)
    log_p = cells.look_up(log_tail)
    log_q = benjamini_hochberg(log_p, cells.times)
    composition = cells.count / np.maximum(cells.known, 1)
    prevalence = np.where(evidence.prevalence > 0, evidence.prevalence, np.inf)[cells.column]
    enriched = (log_q <= np.log(rule.alpha)) & (composition / prevalence >= rule.min_lift)
    enriched &= cells.count >= rule.min_count
    ruled = {"enrichment": (-log_p / np.log(10), enriched), "composition": (composition, composition >= rule.tau)}
    tested = cells.spread(log_p), cells.spread(log_q)
    return {name: Findings(evidence, *tested, *map(cells.spread, ruled[name])) for name in names}


def assign(evidence: Evidence, rule: Rule) -> Findings:
    """`assign_by` the rule itself."""
    return assign_by([rule.name], evidence, rule)[rule.name]


def assign_splits(exemplars: Pair[np.ndarray], labels: Pair[np.ndarray], rule: Rule) -> Pair[Findings]:
    """What each split says: exemplars int [neurons, k] and labels int8 [sentences, descriptors] of both."""
    return Pair(*(assign(gather_evidence(*both), rule) for both in zip(exemplars, labels, strict=True)))


def rank(strength: np.ndarray) -> np.ndarray:
    """Columns of every row, strongest first; ties go to the lower column. int64, same shape."""
    return np.argsort(-strength, axis=1, kind="stable")


def rank_within(neuron: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """The place of each pair among its neuron's, strongest first, from 1; ties in the order given. int16 [pairs].

    neuron: int [pairs], ascending; strength: float [pairs].
    """
    order = np.lexsort((-strength, neuron))
    first = np.searchsorted(neuron, neuron)
    out = np.empty(len(neuron), dtype=np.int16)
    out[order] = np.arange(len(neuron)) - first + 1
    return out


def tabulate_assignments(
    findings: dict[RuleName, Findings], layer: np.ndarray, index: np.ndarray, names: list[str]
) -> pd.DataFrame:
    """The pairs that either rule assigns, one a row, by layer, index and rank under enrichment.

    Columns: layer, index, descriptor, count, known, composition, prevalence, lift, p, q, and for each rule
    `<rule>_assigned` and `<rule>_rank` (1 = the neuron's first, 0 = not assigned by it).
    """
    first = next(iter(findings.values()))
    neuron, column = np.nonzero(np.logical_or.reduce([f.assigned for f in findings.values()]))
    count, known = first.evidence.counts[neuron, column], first.evidence.known[neuron, column]
    composition, prevalence = count / np.maximum(known, 1), first.evidence.prevalence[column]
    out = pd.DataFrame(
        {
            "layer": layer[neuron],
            "index": index[neuron],
            "descriptor": pd.Series([names[c] for c in column], dtype="str"),
            "count": count,
            "known": known,
            "composition": composition,
            "prevalence": prevalence,
            "lift": composition / np.where(prevalence > 0, prevalence, np.inf),
            "p": np.exp(first.log_p[neuron, column]),
            "q": np.exp(first.log_q[neuron, column]),
        }
    )
    for rule, found in findings.items():
        chosen = found.assigned[neuron, column]
        place = np.zeros(len(neuron), dtype=np.int16)
        place[chosen] = rank_within(neuron[chosen], found.strength[neuron, column][chosen])
        out[f"{rule}_assigned"], out[f"{rule}_rank"] = chosen, place
    unranked = out["enrichment_rank"].where(out["enrichment_assigned"], len(names) + 1)
    order = np.lexsort((-out["composition"], unranked, out["index"], out["layer"]))
    return out.iloc[order].reset_index(drop=True)
