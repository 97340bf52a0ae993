"""The method: from exemplars and labels to each neuron's descriptors. Definitions: docs/method.md, section 1.

Composition is the score of arXiv 2401.16731; to it, descry adds lift, a hypergeometric test and control of the false
discovery rate (Benjamini and Hochberg 1995).
"""

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
    """The rule by which descriptors are assigned to neurons, and its thresholds.

    name: the rule that decides; exemplars: the size of a neuron's exemplar set. For `enrichment`: the false discovery
    rate alpha, in (0, 1), the smallest lift min_lift and the smallest count min_count. For `composition`: the smallest
    share tau of the exemplars, in (0, 1].
    """

    name: RuleName = "enrichment"
    exemplars: int = 200
    alpha: float = 0.05
    min_lift: float = 1.5
    min_count: int = 3
    tau: float = 0.3


@dataclass(frozen=True)
class Evidence:
    """Label counts of each neuron's exemplars and of the whole split.

    counts, known: int32 [neurons, descriptors], exemplars labelled with the descriptor, and exemplars whose label is
    not missing; positives, population: int64 [descriptors], the same two counts over all sentences of the split.
    """

    counts: np.ndarray
    known: np.ndarray
    positives: np.ndarray
    population: np.ndarray

    @property
    def composition(self) -> np.ndarray:
        """Share of the exemplars with a known label that bear each descriptor: float64 [neurons, descriptors].

        In [0, 1]; 0 where no label is known.
        """
        return np.asarray(self.counts / np.maximum(self.known, 1))

    @property
    def prevalence(self) -> np.ndarray:
        """Share of the sentences with a known label that bear each descriptor: float64 [descriptors], in [0, 1]."""
        return np.asarray(self.positives / np.maximum(self.population, 1))

    @property
    def lift(self) -> np.ndarray:
        """Composition divided by prevalence: float64 [neurons, descriptors]; 0 where the prevalence is 0."""
        prevalence = self.prevalence
        bounded = np.where(prevalence > 0, prevalence, np.inf)
        return np.asarray(self.composition / bounded)


def build_membership(rows: np.ndarray, sentences: int) -> csr_array:
    """Build the sparse matrix of exemplar sets: int16 [neurons, sentences], 1 for an exemplar, else 0.

    rows: int [neurons, k], the sentences that are each neuron's exemplars, -1 for none.
    """
    present = rows >= 0
    ends = np.concatenate([[0], np.cumsum(present.sum(axis=1))])
    return csr_array((np.ones(ends[-1], np.int16), rows[present], ends), shape=(len(rows), sentences))


def gather_evidence(rows: np.ndarray, labels: np.ndarray) -> Evidence:
    """Count the labels of each neuron's exemplars, by one sparse matrix product.

    rows: int [neurons, k], the exemplars of each neuron, -1 for none, k below 2**15; labels: int8 [sentences,
    descriptors], 1, 0 or -1 (missing). Missing labels are left out of every count.
    """
    member = build_membership(rows, len(labels))
    counts = (member @ (labels == 1).astype(np.int16)).astype(np.int32)
    missing = labels < 0
    known = np.repeat((rows >= 0).sum(axis=1)[:, None], labels.shape[1], axis=1).astype(np.int32)
    if missing.any():
        known -= (member @ missing.astype(np.int16)).astype(np.int32)
    return Evidence(counts, known, (labels == 1).sum(0), (~missing).sum(0))


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


def _all_masses(population: int, positives: int, draws: int) -> np.ndarray:
    """`log_mass` of the counts 0 .. draws: float64 [draws + 1]."""
    return log_mass(population, positives, draws, np.arange(draws + 1))


def log_tail(population: int, positives: int, draws: int) -> np.ndarray:
    """log P(X >= c) for c = 0 .. draws and X hypergeometric(population, positives, draws): float64 [draws + 1], <= 0.

    Summed in log space from the far end, so that it stays accurate where the probability itself underflows.
    """
    mass = _all_masses(population, positives, draws)
    return np.minimum(np.logaddexp.accumulate(mass[::-1])[::-1], 0.0)


class _Cells:
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
        for column, known in np.unique(np.stack([self.column, self.known]), axis=1).T.tolist():
            cells = np.flatnonzero((self.column == column) & (self.known == known))
            out[cells] = table(population[column], positives[column], known)[self.count[cells]]
        return out

    def spread(self, values: np.ndarray) -> np.ndarray:
        """Copy each cell's value to the pairs that share it: from [cells] to [neurons, descriptors]."""
        return np.asarray(values[self._where])


def log_p(evidence: Evidence) -> np.ndarray:
    """Log p of every pair, P(X >= count) for random exemplars: float64 [neurons, descriptors], <= 0; see `log_tail`."""
    cells = _Cells(evidence)
    return cells.spread(cells.look_up(log_tail))


def randomised_p(evidence: Evidence, generator: np.random.Generator) -> np.ndarray:
    """Randomised p values, drawn uniformly between P(X > count) and P(X >= count): float64 [neurons, descriptors],
    in [0, 1]. They are exactly uniform if exemplars are random; the p of a discrete count cannot be."""
    cells = _Cells(evidence)
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


@dataclass(frozen=True)
class Findings:
    """Test results and assignments of one split, each array [neurons, descriptors].

    log_p, log_q: float64, natural logarithms; strength: float64, by which a neuron's descriptors are ranked (-log10 p
    or composition); assigned: bool.
    """

    evidence: Evidence
    log_p: np.ndarray
    log_q: np.ndarray
    strength: np.ndarray
    assigned: np.ndarray

    @property
    def described(self) -> np.ndarray:
        """Which neurons have at least one descriptor: bool [neurons]."""
        return np.asarray(self.assigned.any(axis=1))

    def take(self, neurons: np.ndarray) -> Findings:
        """Select the findings of some neurons: int [n], in the order given; repeats are allowed."""
        evidence = self.evidence
        selected = Evidence(evidence.counts[neurons], evidence.known[neurons], evidence.positives, evidence.population)
        return Findings(selected, *(a[neurons] for a in (self.log_p, self.log_q, self.strength, self.assigned)))


def assign_by(names: Sequence[RuleName], evidence: Evidence, rule: Rule) -> dict[RuleName, Findings]:
    """Assign descriptors to neurons by each of the named rules, with the thresholds of `rule`.

    enrichment: q <= alpha, lift >= min_lift and count >= min_count; ranked by -log10 p, which orders a neuron's
    descriptors as q does, and also ranks where q is flat. composition (our reading of the rule of arXiv 2401.16731):
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
    """Assign descriptors to neurons by `rule`; see `assign_by`."""
    return assign_by([rule.name], evidence, rule)[rule.name]


def assign_splits(exemplars: Pair[np.ndarray], labels: Pair[np.ndarray], rule: Rule) -> Pair[Findings]:
    """Assign descriptors on each split by `rule`.

    exemplars: int [neurons, k], labels: int8 [sentences, descriptors], both as for `gather_evidence`.
    """
    return Pair(*(assign(gather_evidence(*split), rule) for split in zip(exemplars, labels, strict=True)))


def rank(strength: np.ndarray) -> np.ndarray:
    """Rank the columns of every row, strongest first: int64 column numbers, same shape; ties go to the lower column."""
    return np.argsort(-strength, axis=1, kind="stable")


def rank_within(neuron: np.ndarray, strength: np.ndarray) -> np.ndarray:
    """Rank each pair among those of its neuron: int16 [pairs], 1 for the strongest; ties in the order given.

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
    """Tabulate the pairs that either rule assigns, one per row, by layer, index and rank under enrichment.

    layer, index: int [neurons]; names: the descriptors'. Columns: layer, index, descriptor, count, known, composition,
    prevalence, lift, p, q, and for each rule `<rule>_assigned` and `<rule>_rank` (1 = the neuron's strongest
    descriptor, 0 = not assigned by this rule).
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
    for rule, ruled in findings.items():
        chosen = ruled.assigned[neuron, column]
        place = np.zeros(len(neuron), dtype=np.int16)
        place[chosen] = rank_within(neuron[chosen], ruled.strength[neuron, column][chosen])
        out[f"{rule}_assigned"], out[f"{rule}_rank"] = chosen, place
    unranked = out["enrichment_rank"].where(out["enrichment_assigned"], len(names) + 1)
    order = np.lexsort((-out["composition"], unranked, out["index"], out["layer"]))
    return out.iloc[order].reset_index(drop=True)
