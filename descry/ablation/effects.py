"""Effects of switching off a descriptor's neurons, on linear probes of the final representation and on words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from descry.splits import STANDARD_ERRORS_95

RIDGE = 1.0
"""Ridge penalty of the probe, per sentence, relative to the variance of a standardised dimension."""


@dataclass(frozen=True)
class LinearProbe:
    """A linear probe of every descriptor: ridge regression of the labels on the standardised representation.

    mean, spread: float64 [width]; weights: float64 [width, descriptors].
    """

    mean: np.ndarray
    spread: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray, labels: np.ndarray) -> LinearProbe:
        """Train on vectors [sentences, width] and labels, int8 [sentences, descriptors]; a missing label is set to the
        descriptor's mean label."""
        mean, spread = vectors.mean(axis=0, dtype=np.float64), vectors.std(axis=0, dtype=np.float64)
        spread = np.where(spread > 1e-6 * max(float(spread.max()), 1e-12), spread, np.inf)
        inputs, known = (vectors - mean) / spread, labels >= 0
        prevalence = (labels == 1).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        targets = np.where(known, labels - prevalence, 0.0)
        square = inputs.T @ inputs + RIDGE * len(inputs) * np.eye(inputs.shape[1])
        return cls(mean, spread, np.linalg.solve(square, inputs.T @ targets))

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """The probe's outputs: float64 [sentences, descriptors]."""
        return np.asarray((vectors - self.mean) / self.spread @ self.weights)


@dataclass(frozen=True)
class Auroc:
    """Area under the ROC curve: value, in [0, 1]; influence: float64 [sentences], what each sentence contributes to
    the error of the value (DeLong, DeLong and Clarke-Pearson 1988). The sum over reviews of the square of a review's
    total is the variance of the value (Obuchowski 1997)."""

    value: float
    influence: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, labels: np.ndarray) -> Auroc:
        """scores: float [sentences]; labels: int8 [sentences], 1, 0, or -1 for sentences left out. Ties count half. NaN
        unless both labels occur."""
        influence = np.zeros(len(scores))
        positive, negative = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
        if not len(positive) or not len(negative):
            return cls(np.nan, influence)
        above = _share_below(scores[labels == 1], negative)
        below = 1 - _share_below(scores[labels == 0], positive)
        value = float(above.mean())
        influence[labels == 1] = (above - value) / len(positive)
        influence[labels == 0] = (below - value) / len(negative)
        return cls(value, influence)


def _share_below(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The share of `others`, ascending, that is below each score; ties count half."""
    less, up_to = (np.searchsorted(others, scores, side=side) for side in ("left", "right"))
    return np.asarray((less + up_to) / (2 * len(others)))


@dataclass(frozen=True)
class Change:
    """The losses of one descriptor, and of the others, when a set of neurons is switched off.

    own: the descriptor's loss; others: the mean loss of the others; influence: float64 [sentences], of own - others,
    see `Auroc`. NaN where there is nothing to lose.
    """

    own: float
    others: float
    influence: np.ndarray

    @property
    def specificity(self) -> float:
        """How much more the descriptor itself loses than the others: own - others."""
        return self.own - self.others

    @classmethod
    def mean(cls, several: Sequence[Change]) -> Change:
        """The mean of several sets, on the same sentences."""
        own, others = (float(np.mean([getattr(change, name) for change in several])) for name in ("own", "others"))
        return cls(own, others, np.mean([change.influence for change in several], axis=0))


def _select_labels(labels: np.ndarray, common: np.ndarray, column: int) -> Iterator[np.ndarray]:
    """The labels by which the descriptor is measured, then those of every other: int8 [sentences], -1 for sentences
    left out. common: bool [sentences], those drawn regardless of their labels; further positives of the descriptor
    count for its own loss alone."""
    yield keep_positives_and_common(common, labels[:, column])
    for other in range(labels.shape[1]):
        if other != column:
            yield np.where(common, labels[:, other], -1)


def keep_positives_and_common(common: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The labels, int8 [sentences], with -1 for sentences that are neither common nor positive."""
    return np.where(common | (labels == 1), labels, -1)


def _own_first(scores: np.ndarray, column: int) -> np.ndarray:
    """Reorder scores, the descriptor's first: float64 [descriptors, sentences]."""
    return np.concatenate([scores.T[column][None], np.delete(scores.T, column, axis=0)])


def measure_auroc_loss(
    before: np.ndarray, after: np.ndarray, labels: np.ndarray, common: np.ndarray, column: int
) -> Change:
    """The loss of AUROC from the scores before to those after, float64 [sentences, descriptors]. labels: int8,
    same shape; common: see `_select_labels`; column: the descriptor."""
    columns = zip(
        _own_first(before, column), _own_first(after, column), _select_labels(labels, common, column), strict=True
    )
    aurocs = [(Auroc.of(old, selected), Auroc.of(new, selected)) for old, new, selected in columns]
    values = np.array([old.value - new.value for old, new in aurocs])
    influence = np.array([old.influence - new.influence for old, new in aurocs])
    known = np.flatnonzero(~np.isnan(values[1:])) + 1
    if not len(known):
        return Change(float(values[0]), np.nan, influence[0])
    return Change(float(values[0]), float(values[known].mean()), influence[0] - influence[known].mean(axis=0))


def measure_separation_loss(
    before: np.ndarray, after: np.ndarray, labels: np.ndarray, common: np.ndarray, column: int
) -> Change:
    """The share lost of a descriptor's separation, the difference in mean score of positive and negative sentences; for
    the others, of the sum of their separations. Arguments as in `measure_auroc_loss`; the separation still shows
    changes where AUROC is near 1."""
    columns = zip(
        _own_first(before, column), _own_first(after, column), _select_labels(labels, common, column), strict=True
    )
    separations = [[_separation(scores, selected) for scores in (old, new)] for old, new, selected in columns]
    own, own_influence = _share_lost(separations[:1])
    others, influence = _share_lost(separations[1:])
    return Change(own, others, own_influence - influence)


def _separation(scores: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """The difference in mean score, 0.0 unless both labels occur, and its influence (see `Auroc`)."""
    influence, means = np.zeros(len(scores)), []
    for label in (1, 0):
        here = labels == label
        if not here.any():
            return 0.0, np.zeros(len(scores))
        means.append(float(scores[here].mean()))
        influence[here] = (2 * label - 1) * (scores[here] - means[-1]) / here.sum()
    return means[0] - means[1], influence


def _share_lost(separations: Sequence[Sequence[tuple[float, np.ndarray]]]) -> tuple[float, np.ndarray]:
    """1 - after / before of the summed separations, and its influence (see `Auroc`); NaN unless before is above 0."""
    (old, old_influence), (new, new_influence) = (
        (sum(pair[when][0] for pair in separations), np.sum([pair[when][1] for pair in separations], axis=0))
        for when in (0, 1)
    )
    if not separations or old <= 0:
        return np.nan, np.zeros(())
    return 1 - new / old, (new / old * old_influence - new_influence) / old


def measure_word_loss(lost: np.ndarray, columns: np.ndarray, column: int) -> Change:
    """The mean loss of log-probability of a descriptor's words, and of the others'. lost: float64 [occurrences];
    columns: int [occurrences], the descriptor of each word; the influence is [occurrences] as well."""
    mine = columns == column
    if not mine.any() or mine.all():
        return Change(np.nan, np.nan, np.zeros(len(lost)))
    own, others = float(lost[mine].mean()), float(lost[~mine].mean())
    return Change(own, others, np.where(mine, (lost - own) / mine.sum(), (others - lost) / (~mine).sum()))


def compare_changes(own: Change, random: Change, review: np.ndarray, prefix: str = "") -> dict[str, float]:
    """Compare a descriptor's neurons with random ones: own, others, random_own; specificity, random (the specificity of
    the random ones) and above (the difference of the two), each with its 95 % interval over reviews. review: int
    [sentences], codes from 0; prefix: of the names."""
    measures = {"own": own.own, "others": own.others, "random_own": random.own}
    above = own.specificity - random.specificity
    for name, value, influence in (
        ("specificity", own.specificity, own.influence),
        ("random", random.specificity, random.influence),
        ("above", above, own.influence - random.influence),
    ):
        error = STANDARD_ERRORS_95 * float(np.sqrt((np.bincount(review, influence) ** 2).sum()))
        measures |= {name: value, f"{name}_low": value - error, f"{name}_high": value + error}
    return {f"{prefix}{name}": value for name, value in measures.items()}
