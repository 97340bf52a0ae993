"""How well texts fit the units of a layer: scores of every text for every unit, as matrix products.

Arguments of all scores: fits float32 [texts, sentences], how well each text fits each sentence; a `Layer`, the units.
All return float64 [texts, units].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

TENTH = 0.1
"""A unit fires on the sentences where it is above its value on all but a tenth of them."""
SHOWN = 50
"""Sentences of either kind in detection."""
BINS = 20
"""Groups of equally many sentences by length."""


@dataclass(frozen=True)
class Layer:
    """The units of a layer on held-out sentences. values: float32 [units, sentences]."""

    values: np.ndarray

    @cached_property
    def fires(self) -> np.ndarray:
        """Whether a unit fires: bool [units, sentences]. Sentences that tie at the cut do not count, so that a unit
        that is silent on most sentences fires only where it is not."""
        count = self.values.shape[1]
        place = count - 1 - int(TENTH * count)
        return np.asarray(self.values > np.partition(self.values, place, axis=1)[:, place, None])

    @cached_property
    def positives(self) -> np.ndarray:
        """On how many sentences each unit fires: int64 [units]."""
        return np.asarray(self.fires.sum(axis=1))

    @cached_property
    def ranked(self) -> np.ndarray:
        """The sentences on which each unit fires: int64 [units, most], filled up with -1."""
        order = np.argsort(~self.fires, axis=1, kind="stable")[:, : int(self.positives.max(initial=0))]
        return np.where(np.take_along_axis(self.fires, order, axis=1), order, -1)

    @cached_property
    def shown(self) -> tuple[np.ndarray, np.ndarray]:
        """The sentences of detection, float64 [units, sentences], each row summing to 1: SHOWN on which a unit fires,
        and SHOWN others, at evenly spaced ranks of its activation; fewer where there are fewer."""
        order = np.argsort(-self.values, axis=1, kind="stable")
        chosen = np.zeros((2, *self.values.shape))
        for unit, positives in enumerate(self.positives):
            for kind, ranks in enumerate((order[unit, :positives], order[unit, positives:])):
                spaced = np.linspace(0, len(ranks) - 1, min(SHOWN, len(ranks))).round().astype(int)
                chosen[kind, unit, ranks[spaced]] = 1 / max(len(spaced), 1)
        return chosen[0], chosen[1]


def bin_by_length(lengths: np.ndarray) -> np.ndarray:
    """Averages over sentences of about equal length, as a matrix: float32 [sentences, bins], its columns of unit
    length. lengths: int [sentences]."""
    bins = np.minimum(BINS, len(lengths))
    place = np.argsort(np.argsort(lengths, kind="stable")) * bins // len(lengths)
    member = place[:, None] == np.arange(bins)
    return np.asarray(member / np.sqrt(member.sum(axis=0)), dtype=np.float32)


def subtract_length(fits: np.ndarray, by_length: np.ndarray) -> np.ndarray:
    """What of each fit the sentence's length does not tell: the fit minus its mean over sentences of about that length.

    Without this, long sentences fit long texts, and a unit that fires on long sentences fits any long text. by_length:
    see `bin_by_length`.
    """
    return np.asarray(fits - (fits @ by_length) @ by_length.T)


def score_auroc(fits: np.ndarray, layer: Layer) -> np.ndarray:
    """Area under the ROC curve of the fit for where a unit fires, in [0, 1]; by chance 0.5."""
    return compute_auroc(fits, layer.fires)


def compute_auroc(fits: np.ndarray, fires: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of each row of fits for each row of fires, bool [units, sentences], of which some are
    true and some false. Exact: sums of ranks are whole or half numbers."""
    from scipy.stats import rankdata  # takes a second to import

    positives = fires.sum(axis=1).astype(np.float64)
    sums = rankdata(fits, axis=1) @ fires.T.astype(np.float64)
    return np.asarray((sums - positives * (positives + 1) / 2) / (positives * (fits.shape[1] - positives)))


def score_average_precision(fits: np.ndarray, layer: Layer) -> np.ndarray:
    """Average precision of the fit for where a unit fires, in [0, 1]; by chance about the share of sentences on which
    it fires. Sentences that tie share the last of their ranks."""
    from scipy.stats import rankdata

    ranks = rankdata(-fits, method="max", axis=1).astype(np.int32)
    ranks = np.append(ranks, np.full((len(ranks), 1), fits.shape[1] + 1, dtype=np.int32), axis=1)
    ends = np.sort(ranks[:, layer.ranked], axis=2)  # of tied positives, all reach the last rank and count there
    hits = np.arange(1, ends.shape[2] + 1, dtype=np.float64)
    out = np.empty((len(fits), len(layer.positives)))
    for row, of_units in enumerate(ends):
        last = np.where(of_units[:, 1:] == of_units[:, :-1], 0.0, hits[:-1])
        reached = np.append(last, np.full((len(of_units), 1), hits[-1:]), axis=1)
        if (last == 0).any():
            reached = np.minimum.accumulate(np.where(reached == 0, np.inf, reached)[:, ::-1], axis=1)[:, ::-1]
        counted = np.where(hits <= layer.positives[:, None], reached / of_units, 0.0)
        out[row] = counted.sum(axis=1) / layer.positives
    return out


def score_correlation(fits: np.ndarray, layer: Layer) -> np.ndarray:
    """Pearson correlation of fit and activation, in [-1, 1]; by chance 0."""
    return np.asarray(_standardise(fits) @ _standardise(layer.values).T)


def _standardise(rows: np.ndarray) -> np.ndarray:
    centred = rows - rows.mean(axis=1, keepdims=True, dtype=np.float64)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12))


def score_detection(fits: np.ndarray, layer: Layer) -> np.ndarray:
    """Balanced accuracy of telling SHOWN sentences on which a unit fires from SHOWN others, in [0, 1]; by chance 0.5.

    The protocol is delphi's; the answer is yes where a sentence fits the text better than half of all sentences do.
    """
    yes = (fits > np.median(fits, axis=1, keepdims=True)).astype(np.float64)
    firing, silent = layer.shown
    return np.asarray((yes @ firing.T + 1 - yes @ silent.T) / 2)


SCORES = {
    "auroc": score_auroc,
    "average_precision": score_average_precision,
    "correlation": score_correlation,
    "detection": score_detection,
}
"""Every score, by name; `auroc` is the headline."""
HEADLINE = "auroc"
OTHERS = {name: tuple(f"{name}{end}" for end in ("", "_swapped", "_random", "_descriptor")) for name in SCORES}
"""The columns of each score: of the unit's own description, and of what it is compared with."""
