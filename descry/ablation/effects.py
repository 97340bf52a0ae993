"""What switching off a descriptor's neurons does to what a linear probe reads off the final representation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

RIDGE = 1.0
"""Of the probe, against the variance of a standardised dimension."""
LIMIT = 1.96
"""Standard errors on either side of a 95 % interval."""


@dataclass(frozen=True)
class LinearProbe:
    """A linear probe of every descriptor: ridge regression of its labels on the standardised representation.

    mean, spread: float64 [width]; weights: float64 [width, descriptors].
    """

    mean: np.ndarray
    spread: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray, labels: np.ndarray) -> LinearProbe:
        """Trained on vectors [sentences, width] and labels, int8 [sentences, descriptors]; a missing label counts as
        the descriptor's mean, which teaches nothing."""
        mean, spread = vectors.mean(axis=0, dtype=np.float64), vectors.std(axis=0, dtype=np.float64)
        spread = np.where(spread > 1e-6 * max(float(spread.max()), 1e-12), spread, np.inf)
        inputs, known = (vectors - mean) / spread, labels >= 0
        given = (labels == 1).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
        wanted = np.where(known, labels - given, 0.0)
        square = inputs.T @ inputs + RIDGE * len(inputs) * np.eye(inputs.shape[1])
        return cls(mean, spread, np.linalg.solve(square, inputs.T @ wanted))

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """float64 [sentences, descriptors]."""
        return np.asarray((vectors - self.mean) / self.spread @ self.weights)


@dataclass(frozen=True)
class Auroc:
    """Area under the ROC curve: value, in [0, 1]; influence: float64 [sentences], what each adds to its deviation from
    the truth (DeLong, DeLong and Clarke-Pearson 1988): the sum over a sample of reviews of the squares of a review's
    total is the variance of the value (Obuchowski 1997)."""

    value: float
    influence: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, labels: np.ndarray) -> Auroc:
        """scores: float [sentences]; labels: int8 alike, 1, 0, or -1 for those that are left out. Ties count half. NaN
        where there are not both."""
        influence = np.zeros(len(scores))
        positive, negative = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
        if not len(positive) or not len(negative):
            return cls(np.nan, influence)
        above = _beaten(scores[labels == 1], negative)
        below = 1 - _beaten(scores[labels == 0], positive)
        value = float(above.mean())
        influence[labels == 1] = (above - value) / len(positive)
        influence[labels == 0] = (below - value) / len(negative)
        return cls(value, influence)


def _beaten(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The share of others, ascending, that each score is above; ties count half."""
    less, up_to = (np.searchsorted(others, scores, side=side) for side in ("left", "right"))
    return np.asarray((less + up_to) / (2 * len(others)))


@dataclass(frozen=True)
class Change:
    """What a set of neurons that is switched off takes from one descriptor and from the others.

    own, others: what the descriptor loses, and the others in the mean; influence: float64 [sentences], of own less
    others, see `Auroc`. NaN where there is nothing to lose.
    """

    own: float
    others: float
    influence: np.ndarray

    @property
    def specificity(self) -> float:
        """How much more the descriptor itself loses than the others do."""
        return self.own - self.others

    @classmethod
    def mean(cls, several: Sequence[Change]) -> Change:
        """The mean of several sets, on the same sentences."""
        own, others = (float(np.mean([getattr(one, name) for one in several])) for name in ("own", "others"))
        return cls(own, others, np.mean([one.influence for one in several], axis=0))


def _sides(labels: np.ndarray, common: np.ndarray, column: int) -> Iterator[np.ndarray]:
    """The labels by which the descriptor is looked at, then those of every other: int8 [sentences] each, -1 for
    sentences that are left out. common: bool [sentences], those that were drawn whatever they bear; a descriptor's
    sentences beside them are added for its own figure alone."""
    yield keep_positives_and_common(common, labels[:, column])
    for other in range(labels.shape[1]):
        if other != column:
            yield np.where(common, labels[:, other], -1)


def keep_positives_and_common(common: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Labels of the common sentences and of those that bear the descriptor; -1 for the others: int8 [sentences]."""
    return np.where(common | (labels == 1), labels, -1)


def _columns(scores: np.ndarray, column: int) -> np.ndarray:
    """The scores of the descriptor, then of every other: float64 [descriptors, sentences]."""
    return np.concatenate([scores.T[column][None], np.delete(scores.T, column, axis=0)])


def measure_auroc_loss(
    before: np.ndarray, after: np.ndarray, labels: np.ndarray, common: np.ndarray, column: int
) -> Change:
    """The AUROC that is lost from the scores before to those after, float64 [sentences, descriptors]; labels: int8
    alike; common: see `_sides`; column: the descriptor."""
    sides = zip(_columns(before, column), _columns(after, column), _sides(labels, common, column), strict=True)
    lost = [(Auroc.of(old, given), Auroc.of(new, given)) for old, new, given in sides]
    values = np.array([old.value - new.value for old, new in lost])
    influence = np.array([old.influence - new.influence for old, new in lost])
    known = np.flatnonzero(~np.isnan(values[1:])) + 1
    if not len(known):
        return Change(float(values[0]), np.nan, influence[0])
    return Change(float(values[0]), float(values[known].mean()), influence[0] - influence[known].mean(axis=0))


def measure_separation_loss(
    before: np.ndarray, after: np.ndarray, labels: np.ndarray, common: np.ndarray, column: int
) -> Change:
    """The share that is lost of the distance in mean score between the sentences that bear a descriptor and those that
    do not; of the others, of the sum of their distances. As `auroc_lost`; it sees what AUROC near 1 hides."""
    sides = zip(_columns(before, column), _columns(after, column), _sides(labels, common, column), strict=True)
    found = [[_distance(scores, given) for scores in (old, new)] for old, new, given in sides]
    own, own_influence = _share_lost(found[:1])
    others, influence = _share_lost(found[1:])
    return Change(own, others, own_influence - influence)


def _distance(scores: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """The distance in mean score, 0.0 where there are not both, and what each sentence adds to its deviation."""
    influence, means = np.zeros(len(scores)), []
    for label in (1, 0):
        here = labels == label
        if not here.any():
            return 0.0, np.zeros(len(scores))
        means.append(float(scores[here].mean()))
        influence[here] = (2 * label - 1) * (scores[here] - means[-1]) / here.sum()
    return means[0] - means[1], influence


def _share_lost(found: Sequence[Sequence[tuple[float, np.ndarray]]]) -> tuple[float, np.ndarray]:
    """1 - after / before of summed distances, and what each sentence adds to its deviation; NaN without any before."""
    (old, old_influence), (new, new_influence) = (
        (sum(pair[side][0] for pair in found), np.sum([pair[side][1] for pair in found], axis=0)) for side in (0, 1)
    )
    if not found or old <= 0:
        return np.nan, np.zeros(())
    return 1 - new / old, (new / old * old_influence - new_influence) / old


def measure_word_loss(lost: np.ndarray, columns: np.ndarray, column: int) -> Change:
    """The loss of log-probability of a descriptor's words and of the others'. lost: float64 [occurrences]; columns:
    whose word each is; the influence is that of the occurrences."""
    mine = columns == column
    if not mine.any() or mine.all():
        return Change(np.nan, np.nan, np.zeros(len(lost)))
    own, others = float(lost[mine].mean()), float(lost[~mine].mean())
    return Change(own, others, np.where(mine, (lost - own) / mine.sum(), (others - lost) / (~mine).sum()))


def compare_changes(own: Change, random: Change, review: np.ndarray, prefix: str = "") -> dict[str, float]:
    """What is told of a descriptor's neurons beside random ones: own, others, random_own; specificity, random (the same
    of the random ones) and above (how far it is above that), each with its 95 % interval over reviews, codes int
    [sentences] from 0."""
    out = {"own": own.own, "others": own.others, "random_own": random.own}
    above = own.specificity - random.specificity
    for name, value, influence in (
        ("specificity", own.specificity, own.influence),
        ("random", random.specificity, random.influence),
        ("above", above, own.influence - random.influence),
    ):
        error = LIMIT * float(np.sqrt((np.bincount(review, influence) ** 2).sum()))
        out |= {name: value, f"{name}_low": value - error, f"{name}_high": value + error}
    return {f"{prefix}{name}": value for name, value in out.items()}
