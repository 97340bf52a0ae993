"""From exemplars and labels to a neuron's descriptors: composition, enrichment, false discovery rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.sparse import csr_array
from scipy.stats import hypergeom

Rule = Literal["enrichment", "composition"]


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


def gather(rows: np.ndarray, labels: np.ndarray) -> Evidence:
    """Count labels over exemplar sets: one sparse matrix product.

    rows: int [neurons, k], the exemplars of each neuron; labels: int8 [sentences, descriptors], 1, 0 or -1
    (missing). A missing label is left out of every count.
    """
    neurons, k = rows.shape
    membership = csr_array(
        (np.ones(rows.size, np.float32), rows.ravel(), np.arange(neurons + 1) * k),
        shape=(neurons, len(labels)),
    )
    counts = (membership @ (labels == 1).astype(np.float32)).astype(np.int32)
    missing = labels < 0
    known = np.full_like(counts, k)
    if missing.any():
        known -= (membership @ missing.astype(np.float32)).astype(np.int32)
    return Evidence(counts, known, (labels == 1).sum(0), (~missing).sum(0))


def log_tail(population: int, positives: int, draws: int) -> np.ndarray:
    """log P(X >= c) for c = 0 .. draws, X hypergeometric(population, positives, draws); float64 [draws + 1].

    Summed in logarithms from the far end, so that it holds where the probability itself underflows.
    """
    mass = hypergeom.logpmf(np.arange(draws + 1), population, positives, draws)
    return np.minimum(np.logaddexp.accumulate(mass[::-1])[::-1], 0.0)


def log_p(evidence: Evidence) -> np.ndarray:
    """log of the chance that a random exemplar set bears each descriptor as often; float64, as `counts`."""
    out = np.empty(evidence.counts.shape)
    for d, (population, positives) in enumerate(zip(evidence.population, evidence.positives, strict=True)):
        for draws in np.unique(evidence.known[:, d]):
            here = evidence.known[:, d] == draws
            out[here, d] = log_tail(int(population), int(positives), int(draws))[evidence.counts[here, d]]
    return out


def benjamini_hochberg(log_p: np.ndarray) -> np.ndarray:
    """q values (Benjamini and Hochberg 1995) over ALL entries, as logarithms; same shape, at most 0."""
    distinct, where, times = np.unique(log_p, return_inverse=True, return_counts=True)
    log_q = distinct + np.log(log_p.size) - np.log(np.cumsum(times))
    log_q = np.minimum(np.minimum.accumulate(log_q[::-1])[::-1], 0.0)
    return log_q[where].reshape(log_p.shape)


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


def assign(
    evidence: Evidence,
    *,
    rule: Rule = "enrichment",
    alpha: float = 0.05,
    min_lift: float = 1.5,
    min_count: int = 3,
    tau: float = 0.3,
) -> Findings:
    """Assign descriptors to neurons.

    enrichment: q <= alpha, lift >= min_lift and count >= min_count; ranked by -log10 p, which orders a
    neuron's descriptors as q does and also where q is flat. composition (the paper's rule, our reading):
    composition >= tau; ranked by composition.
    """
    log_ps = log_p(evidence)
    log_qs = benjamini_hochberg(log_ps)
    if rule == "composition":
        strength, assigned = evidence.composition, evidence.composition >= tau
    else:
        strength = -log_ps / np.log(10)
        assigned = (log_qs <= np.log(alpha)) & (evidence.lift >= min_lift) & (evidence.counts >= min_count)
    return Findings(evidence, log_ps, log_qs, strength, assigned)


def ranking(strength: np.ndarray) -> np.ndarray:
    """Columns of every row, strongest first; ties go to the lower column. int64, same shape."""
    return np.argsort(-strength, axis=1, kind="stable")


def table(findings: dict[Rule, Findings], layer: np.ndarray, index: np.ndarray, names: list[str]) -> pd.DataFrame:
    """The pairs that either rule assigns, one a row, by layer, index and rank under enrichment.

    Columns: layer, index, descriptor, count, known, composition, prevalence, lift, p, q, and for each rule
    `<rule>_assigned` and `<rule>_rank` (1 = the neuron's first, 0 = not assigned by it).
    """
    first = next(iter(findings.values()))
    neuron, column = np.nonzero(np.logical_or.reduce([f.assigned for f in findings.values()]))
    evidence = first.evidence
    out = pd.DataFrame(
        {
            "layer": layer[neuron],
            "index": index[neuron],
            "descriptor": pd.Series([names[c] for c in column], dtype="str"),
            "count": evidence.counts[neuron, column],
            "known": evidence.known[neuron, column],
            "composition": evidence.composition[neuron, column],
            "prevalence": evidence.prevalence[column],
            "lift": evidence.lift[neuron, column],
            "p": np.exp(first.log_p[neuron, column]),
            "q": np.exp(first.log_q[neuron, column]),
        }
    )
    for rule, found in findings.items():
        place = np.empty(found.strength.shape, dtype=np.int16)
        order = ranking(np.where(found.assigned, found.strength, -1.0))
        np.put_along_axis(place, order, np.arange(1, order.shape[1] + 1, dtype=np.int16)[None, :], axis=1)
        chosen = found.assigned[neuron, column]
        out[f"{rule}_assigned"] = chosen
        out[f"{rule}_rank"] = np.where(chosen, place[neuron, column], 0).astype(np.int16)
    unranked = out["enrichment_rank"].where(out["enrichment_assigned"], len(names) + 1)
    order = np.lexsort((-out["composition"], unranked, out["index"], out["layer"]))
    return out.iloc[order].reset_index(drop=True)
