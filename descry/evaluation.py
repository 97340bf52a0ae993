"""The measures. Each is a few lines; definitions in docs/method.md, section 2."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from descry.artifacts import Activations
from descry.assignment import Findings, ranking


def hits(order: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """How many of each row's first k columns in `order` are relevant; int64 [rows]."""
    found: np.ndarray = np.take_along_axis(relevant, order[:, :k], axis=1).sum(axis=1)
    return found


def precision_at_k(order: np.ndarray, relevant: np.ndarray, k: int) -> float:
    """Mean over the rows with anything relevant of (relevant among the first k) / k, in [0, 1].

    order: int [rows, columns], best column first; relevant: bool [rows, columns]. 0.0 where no row counts.
    """
    rows = relevant.any(axis=1)
    return float(hits(order[rows], relevant[rows], k).mean() / k) if rows.any() else 0.0


def recall_at_k(order: np.ndarray, relevant: np.ndarray, k: int) -> float:
    """Mean over the rows with anything relevant of the share of it among the first k; as precision_at_k."""
    rows = relevant.any(axis=1)
    if not rows.any():
        return 0.0
    return float((hits(order[rows], relevant[rows], k) / relevant[rows].sum(axis=1)).mean())


def ceiling_precision_at_k(relevant: np.ndarray, k: int) -> float:
    """The best precision@k that any order can reach: mean(min(k, relevant)) / k over rows with any."""
    sizes = relevant.sum(axis=1)
    return float(np.minimum(sizes[sizes > 0], k).mean() / k) if (sizes > 0).any() else 0.0


def at_k(order: np.ndarray, relevant: np.ndarray, ks: Sequence[int]) -> dict[str, float]:
    """precision_at_k and recall_at_k for each k, under those names."""
    measures = {f"precision_at_{k}": precision_at_k(order, relevant, k) for k in ks}
    return measures | {f"recall_at_{k}": recall_at_k(order, relevant, k) for k in ks}


def jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """Mean over rows where either set is non-empty of |a and b| / |a or b|; bool [rows, columns]."""
    union = (a | b).sum(axis=1)
    rows = union > 0
    return float(((a & b).sum(axis=1)[rows] / union[rows]).mean()) if rows.any() else 0.0


def pooled_jaccard(a: np.ndarray, b: np.ndarray) -> float:
    """|a and b| / |a or b| over all entries, in [0, 1]; 0.0 where both are empty."""
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 0.0


def first_k(findings: Findings, k: int) -> np.ndarray:
    """bool [neurons, descriptors]: each neuron's k strongest assigned descriptors, or all if fewer."""
    order = ranking(np.where(findings.assigned, findings.strength, -1.0))[:, :k]
    chosen = np.zeros(findings.assigned.shape, dtype=bool)
    np.put_along_axis(chosen, order, True, axis=1)
    return np.asarray(chosen & findings.assigned)


REPLICATES = 0.05
"""What is found on one split is found again where its p on another is at most this."""


def replication(assigned: np.ndarray, log_p: np.ndarray, level: float = REPLICATES) -> float:
    """Share of the pairs assigned on one split whose p on the other is at most `level`; chance: `level`."""
    return float((log_p[assigned] <= np.log(level)).mean()) if assigned.any() else 0.0


def average_precision(scores: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """Average precision of every score for every reference: float64 [descriptors, aspects].

    scores: float [sentences, descriptors], NaN where missing: left out of that descriptor's ranking; relevant:
    bool [sentences, aspects]. Equal scores stand at one place. 0.0 for an aspect that no sentence has.
    """
    out = np.zeros((scores.shape[1], relevant.shape[1]))
    counts = (~np.isnan(scores)).sum(axis=0)
    for d, order in enumerate(np.argsort(-scores, axis=0, kind="stable").T):
        ranked = relevant[order[: counts[d]]]
        values = scores[order[: counts[d]], d]
        last = np.append(values[1:] != values[:-1], np.ones(min(len(values), 1), dtype=bool))
        ends = np.flatnonzero(last)[np.cumsum(last) - last]
        precision = np.cumsum(ranked, axis=0)[ends] / (ends + 1)[:, None]
        out[d] = (precision * ranked).sum(axis=0) / np.maximum(ranked.sum(axis=0), 1)
    return out


def f1(labels: np.ndarray, relevant: np.ndarray) -> np.ndarray:
    """F1 of every descriptor's labels for every reference: float64 [descriptors, aspects]; 0.0 where both empty.

    labels: int8 [sentences, descriptors], a missing one left out; relevant: bool [sentences, aspects].
    """
    given, known, wanted = ((labels == 1).astype(float), (labels >= 0).astype(float), relevant.astype(float))
    sizes = given.sum(axis=0)[:, None] + known.T @ wanted
    return np.asarray(2 * (given.T @ wanted) / np.maximum(sizes, 1))


def voices(findings: Findings) -> np.ndarray:
    """How much each neuron's firing speaks for each descriptor: float32 [neurons, descriptors].

    -log10 q of the assigned pairs, each descriptor's column summing to 1 (or 0 where no neuron carries it).
    """
    voice = np.where(findings.assigned, -findings.log_q / np.log(10), 0.0)
    return np.asarray(voice / np.maximum(voice.sum(axis=0), 1e-12), dtype=np.float32)


QUIET, LOUD = -1.0, 3.0
RIDGE = 2.0


def standardised(values: np.ndarray, reference: Activations) -> np.ndarray:
    """z of activations [..., neurons] by the mean and std of `reference` (the calibration split), float32; 0 for a
    neuron that never moves there."""
    spread = np.where(reference.std > 0, reference.std, np.inf).astype(np.float32)
    return np.asarray((values.astype(np.float32) - reference.mean) / spread)


def loudness(z: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """z as it counts in a vote: cut to [QUIET, LOUD]. Silence speaks against a descriptor, less loudly than firing
    speaks for it. out: where to put it, None for a new array."""
    return np.asarray(np.clip(z, QUIET, LOUD, out=out))


def firing(activations: Activations, reference: Activations) -> np.ndarray:
    """How loudly each neuron fires on the probe's sentences, by `reference`'s moments: float32 [probe, neurons]."""
    z = standardised(activations.probe, reference)
    return loudness(z, out=z)


T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True)
class Pair(Generic[T]):
    """The same thing on both splits."""

    calibration: T
    validation: T

    def map(self, make: Callable[[T], U]) -> Pair[U]:
        """What `make` gives of either."""
        return Pair(make(self.calibration), make(self.validation))


def fired(active: Pair[Activations]) -> Pair[np.ndarray]:
    """`firing` on both splits' probes, by the moments of calibration."""
    return active.map(lambda split: firing(split, active.calibration))


@dataclass(frozen=True)
class Electorate:
    """The neurons that vote on a sentence's descriptors, as calibration has taught them.

    voice: float32 [neurons, descriptors], see `voices`; prevalence: float64 [descriptors]; spoken: int64, the
    descriptors that some neuron carries; mean, spread [spoken]: of their raw scores on calibration; mixing: float64
    [spoken, spoken], see `decorrelation`.
    """

    voice: np.ndarray
    prevalence: np.ndarray
    spoken: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    mixing: np.ndarray

    @classmethod
    def of(cls, fired: np.ndarray, calibration: Findings, columns: np.ndarray | None = None) -> Electorate:
        """fired: float32 [sentences, neurons], `firing` on calibration's probe; columns: int [neurons], where each
        neuron of `calibration` stands there; None: in the same order."""
        voice = voices(calibration)
        if columns is not None:
            own, voice = voice, np.zeros((fired.shape[1], voice.shape[1]), np.float32)
            np.add.at(voice, columns, own)
        known = tally(fired, voice)
        spread = known.std(axis=0)
        spoken = np.flatnonzero(spread > 0)
        mean, spread = known[:, spoken].mean(axis=0), spread[spoken]
        mixing = decorrelation((known[:, spoken] - mean) / spread)
        return cls(voice, calibration.evidence.prevalence, spoken, mean, spread, mixing)

    def scores(self, fired: np.ndarray) -> np.ndarray:
        """Every descriptor's score in every sentence: float64 [sentences, descriptors]; fired as in `of`.

        sum_n voice[n, d] * fired[x, n], standardised on calibration, then freed of what the descriptors share there.
        A descriptor that no neuron carries has -1e9 and its prevalence.
        """
        scores = np.tile(-1e9 + self.prevalence, (len(fired), 1))
        scores[:, self.spoken] = (tally(fired, self.voice)[:, self.spoken] - self.mean) / self.spread @ self.mixing
        return scores


def tally(fired: np.ndarray, voice: np.ndarray) -> np.ndarray:
    """The votes as they are cast, fired @ voice: float32 [sentences, descriptors]."""
    speaks = np.flatnonzero(voice.any(axis=1))
    if 2 * len(speaks) > len(voice):  # then a product with zeros is cheaper than a copy without
        return np.asarray(fired @ voice)
    return np.asarray(fired[:, speaks] @ voice[speaks])


def sentence_order(fired: Pair[np.ndarray], calibration: Findings, columns: np.ndarray | None = None) -> np.ndarray:
    """Descriptors of every sentence of validation's probe, best first, by the scores of the `Electorate`: int64
    [probe, descriptors]. Descriptors that no neuron carries come last, the more prevalent first."""
    return ranking(Electorate.of(fired.calibration, calibration, columns).scores(fired.validation))


def decorrelation(scores: np.ndarray, ridge: float = RIDGE) -> np.ndarray:
    """(C + ridge I)^-1/2 of the correlations C of standardised scores: float64 [columns, columns], symmetric.

    Descriptors that live in the same neurons rise and fall together; this leaves each what is its own. The
    ridge keeps directions that carry little from being blown up.
    """
    correlations = scores.astype(np.float64).T @ scores.astype(np.float64) / max(len(scores), 1)
    values, vectors = np.linalg.eigh(correlations)
    return np.asarray(vectors * (np.maximum(values, 0.0) + ridge) ** -0.5 @ vectors.T)


def neuron_measures(found: Pair[Findings], ks: Sequence[int]) -> dict[str, float]:
    """precision@k and recall@k of each neuron's k best descriptors on calibration, against those assigned to
    it on validation, over the neurons described on both; `described` on calibration; `coverage`: the share of
    all neurons that are described on both."""
    both = found.calibration.described & found.validation.described
    own = np.where(found.calibration.assigned, 1e9, 0.0) + found.calibration.strength
    order = ranking(own[both])
    measures = at_k(order, found.validation.assigned[both], ks)
    return measures | {
        "described": int(found.calibration.described.sum()),
        "coverage": float(both.mean()),
    }


def consistency_measures(found: Pair[Findings]) -> dict[str, float]:
    """Agreement of the two splits' findings: `jaccard` (per neuron), `pooled_jaccard`, `top2_jaccard`,
    `replication`, `coverage` (the share of neurons described on either split), and `pairs`, the number
    assigned on calibration."""
    calibration, validation = found.calibration, found.validation
    return {
        "jaccard": jaccard(calibration.assigned, validation.assigned),
        "pooled_jaccard": pooled_jaccard(calibration.assigned, validation.assigned),
        "top2_jaccard": jaccard(first_k(calibration, 2), first_k(validation, 2)),
        "replication": replication(calibration.assigned, validation.log_p),
        "coverage": float((calibration.described | validation.described).mean()),
        "pairs": int(calibration.assigned.sum()),
    }


def agreement(one: Findings, other: Findings) -> dict[str, float]:
    """What of the pairs that one labeller's findings assign another's confirm, on the same sentences and neurons:
    `survival`, the share that it assigns too; `support`, the share whose p under it is at most 0.05; and the
    `pooled_jaccard` of the two."""
    return {
        "survival": float(other.assigned[one.assigned].mean()) if one.assigned.any() else 0.0,
        "support": replication(one.assigned, other.log_p),
        "pooled_jaccard": pooled_jaccard(one.assigned, other.assigned),
    }


def known_rows(labels: np.ndarray) -> np.ndarray:
    """bool [sentences]: those without a missing label."""
    return np.asarray((labels >= 0).all(axis=1))


def aspect_order(order: np.ndarray, aspect_of: np.ndarray, aspects: int) -> np.ndarray:
    """Gold aspects of every sentence, best first, through each aspect's best-placed descriptor; aspects that
    no descriptor speaks for come last. int64 [sentences, aspects]."""
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.arange(order.shape[1])[None, :], axis=1)
    best = np.full((len(order), aspects), order.shape[1])
    for descriptor, aspect in enumerate(aspect_of):
        best[:, aspect] = np.minimum(best[:, aspect], places[:, descriptor])
    return ranking(-best.astype(np.float64))


def label_shares(labels: np.ndarray) -> dict[str, float]:
    """Share of missing labels, labels a sentence, share of sentences with none; int8 [sentences, columns]."""
    return {
        "missing_share": float((labels < 0).mean()),
        "per_sentence": float((labels == 1).sum(axis=1).mean()),
        "none_share": float((labels < 1).all(axis=1).mean()),
    }


def sentence_measures(order: np.ndarray, labels: np.ndarray, ks: Sequence[int]) -> dict[str, float]:
    """precision@k, recall@k and the ceiling of precision@k, over the sentences without a missing label.

    order: best column first [sentences, columns]; labels: int8, same shape.
    """
    rows = known_rows(labels)
    relevant = labels[rows] == 1
    measures = at_k(np.broadcast_to(order, labels.shape)[rows], relevant, ks)
    return measures | {f"ceiling_precision_at_{k}": ceiling_precision_at_k(relevant, k) for k in ks}


@dataclass(frozen=True)
class Reference:
    """What the sentences of validation's probe really bear.

    labels: int8 [probe, columns]. aspect_of: the aspect that each descriptor speaks for (see `match`), where
    the columns are gold aspects; None where they are the descriptors themselves.
    """

    labels: np.ndarray
    aspect_of: np.ndarray | None = None

    def measure(self, order: np.ndarray, ks: Sequence[int]) -> dict[str, float]:
        """sentence_measures of descriptors in order [probe or 1, descriptors]."""
        if self.aspect_of is not None:
            order = aspect_order(order, self.aspect_of, self.labels.shape[1])
        return sentence_measures(order, self.labels, ks)


def prediction_measures(
    found: Pair[Findings],
    fired: Pair[np.ndarray],
    references: Mapping[str, Reference],
    ks: Sequence[int],
    columns: np.ndarray | None = None,
) -> dict[str, Any]:
    """`neuron` and `sentence.<reference>` measures of findings; columns: see `sentence_order`."""
    order = sentence_order(fired, found.calibration, columns)
    return {
        "neuron": neuron_measures(found, ks),
        "sentence": {name: reference.measure(order, ks) for name, reference in references.items()},
    }


@dataclass(frozen=True)
class Study:
    """Findings under some labels, and what they are measured against.

    labels: int8 [sentences, columns] of both splits; references: by name; oracle: whether the labels are gold.
    """

    labels: Pair[np.ndarray]
    references: Mapping[str, Reference]
    oracle: bool = False

    def measures(
        self, found: Pair[Findings], columns: np.ndarray | None, fired: Pair[np.ndarray], ks: Sequence[int]
    ) -> dict[str, Any]:
        """prediction_measures, with `replication` where the labels are gold (else `consistency` has it), `named`."""
        own = prediction_measures(found, fired, self.references, ks, columns)
        if self.oracle:
            own["replication"] = replication(found.calibration.assigned, found.validation.log_p)
        return self.named(own)

    def named(self, measures: Mapping[str, Any]) -> dict[str, Any]:
        """Measures as they are; those of gold labels under `oracle`, where `sentence.gold` is plain `sentence`."""
        if not self.oracle:
            return dict(measures)
        return {"oracle": {**measures, "sentence": measures["sentence"]["gold"]}}
