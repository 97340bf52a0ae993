"""The rules of the method: from evidence to each neuron's descriptors. Definitions: docs/method.md, section 1.

Composition is the score of arXiv 2401.16731; to it, descry adds lift, a hypergeometric test and control of the false
discovery rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from descry.assignment.evidence import Evidence, gather_evidence
from descry.assignment.false_discovery import Cells, benjamini_hochberg, log_tail
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
    cells = Cells(evidence)
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


def locate_pairs(
    pairs: pd.DataFrame, layer: np.ndarray, index: np.ndarray, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Neuron and column of each pair of a table with columns layer, index and descriptor: int64 [pairs] both.

    layer, index: int [neurons]; names: the descriptors', in the order of the columns.
    """
    neurons = pd.MultiIndex.from_arrays([layer, index])
    columns = pd.Index(names).get_indexer(pd.Index(pairs["descriptor"]))
    return neurons.get_indexer(pd.MultiIndex.from_frame(pairs[["layer", "index"]])), columns


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
