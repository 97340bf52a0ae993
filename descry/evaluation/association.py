"""How strongly neurons and their descriptors go together on sentences from which nothing was learned.

Five measures and the two sanity checks of NeuronEval (arXiv 2506.05774): a score must fall when half of the labels
are lost, and when false labels double them. All five do so for strong pairs (Pearson of 0.4 and more). Only Pearson
and cosine do for the weak ones that make up most of what is found: precision and overlap by chance grow with
prevalence, so that AUPRC, F1 and IoU of a weak pair rise with false labels. Lead with PASSING.

Every measure is a function of weighted sums over sentences, so that a bootstrap sample is a column of weights (how
often each sentence's review was drawn) and all samples of all neurons of a descriptor are measured at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from descry.activations.record import Activations
from descry.splits import Pair

MEASURES = ("pearson", "cosine", "auprc", "f1", "iou")
PASSING = MEASURES[:2]
INTERVAL = (0.025, 0.975)
BLOCK = 2**20
"""Entries of the largest array of a block of pairs; about a dozen such arrays live at once."""


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, float64; 0.0 where `whole` is 0, where there is nothing to measure."""
    out = np.zeros(whole.shape)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def linear_association(values: np.ndarray, bears: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted Pearson correlation, and cosine of activations and label, in [-1, 1].

    values: float64 [neurons, sentences]; bears: bool [sentences]; weights: [sentences, samples], how often each
    sentence counts. Both float64 [neurons, samples]; 0.0 where activations or label do not vary.
    """
    weights = weights.astype(np.float64)
    total, borne = weights.sum(axis=0), weights[bears].sum(axis=0)
    sums, squares = np.stack([values, values**2]) @ weights
    products = values[:, bears] @ weights[bears]
    variance = total * squares - sums**2
    variance = np.where(variance > 1e-12 * total * squares, variance, 0.0)  # less is rounding
    pearson = ratio(total * products - sums * borne, np.sqrt(variance * (total * borne - borne**2)))
    return pearson, ratio(products, np.sqrt(squares * borne))


def weighted_average_precision(values: np.ndarray, bears: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted average precision of the sentences ranked by activation, in [0, 1]; tied sentences rank as one.

    As `linear`. Precision is asked only at sentences that bear the descriptor: each neuron's ranking, sorted once,
    is cut behind them, and a sparse product sums the weights in every piece. Cost: sentences x samples a neuron.
    """
    neurons, sentences = values.shape
    order = np.argsort(-values, axis=1)
    ascending = np.take_along_axis(values, order, axis=1)[:, ::-1]
    firsts = [np.searchsorted(row, own) for row, own in zip(ascending, values[:, bears], strict=True)]
    cuts = np.sort(sentences - np.stack(firsts), axis=1)
    ends = np.append(cuts, np.full((neurons, 1), sentences), axis=1) + np.arange(neurons)[:, None] * sentences
    pieces = csr_array(
        (np.ones(order.size, weights.dtype), order.ravel(), np.append(0, ends)), shape=(ends.size, sentences)
    )
    shape = (*ends.shape, weights.shape[1])
    passed = (pieces @ weights).reshape(shape).cumsum(axis=1)
    borne = (pieces[:, bears] @ weights[bears]).reshape(shape)
    found = borne.cumsum(axis=1)
    precision = np.divide(found, passed, out=np.zeros_like(found), where=found > 0)
    return ratio(np.einsum("nps,nps->ns", borne, precision, dtype=np.float64), found[:, -1])


def overlap_association(fires: np.ndarray, bears: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted F1 and IoU (Jaccard) of the sentences on which a neuron fires and those that bear the descriptor.

    As `linear`, with fires: bool [neurons, sentences]; both in [0, 1], 0.0 where both sets are empty.
    """
    few = csr_array(fires, dtype=weights.dtype)  # a neuron fires on few sentences
    both = few[:, bears] @ weights[bears]
    sizes = few @ weights + weights[bears].sum(axis=0)
    return ratio(2 * both, sizes), ratio(both, sizes - both)


def firing_threshold(values: np.ndarray, positives: int) -> np.ndarray:
    """The activation that as many sentences reach as bear the descriptor: [neurons]; infinite where none does.

    values: [neurons, sentences]; a tie at the threshold lets more pass.
    """
    if not positives:
        return np.full(len(values), np.inf)
    return np.asarray(np.partition(values, -positives, axis=1)[:, -positives])


def draw_review_weights(reviews: np.ndarray, repeats: int, seed: int) -> np.ndarray:
    """How often each sentence counts in every bootstrap sample: float32 [sentences, 1 + repeats].

    reviews: the review of each sentence. A sample draws as many reviews as there are, with replacement, each with
    all its sentences. Column 0 is the data themselves: every sentence once.
    """
    _, review = np.unique(reviews, return_inverse=True)
    count = int(review.max()) + 1
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=repeats)
    return np.vstack([np.ones(len(review)), draws[:, review]]).T.astype(np.float32, order="C")


def measure_associations(
    neurons: np.ndarray,
    columns: np.ndarray,
    active: Pair[Activations],
    labels: Pair[np.ndarray],
    reviews: Sequence[str],
    *,
    repeats: int,
    seed: int,
) -> pd.DataFrame:
    """Association of neurons and descriptors on validation's probe, with 95 % intervals over its reviews.

    neurons, columns: int [pairs], rows of `active`'s neurons and columns of the labels; labels: int8 [sentences,
    descriptors] of both splits, a missing label (-1) left out of its descriptor's pairs; reviews: of validation's
    sentences. Returns float64 columns `<measure>`, `<measure>_low`, `<measure>_high` for each of MEASURES, a row a
    pair, in order. A constant neuron and a descriptor that no sentence bears give 0.0 throughout.

    Cosine is that of the activation less its mean on calibration, sum (a - mean) y / sqrt(sum (a - mean)^2 sum y):
    the raw cosine of a neuron below zero would rise as labels are lost. For F1 and IoU a neuron fires where it
    reaches the activation that, on calibration's probe, as many sentences reach as bear the descriptor.
    """
    known, heard = active.calibration, active.validation
    weights = draw_review_weights(np.asarray(reviews)[heard.probe_rows], repeats, seed)
    out = np.zeros((len(neurons), len(MEASURES), 1 + len(INTERVAL)))
    for column in np.unique(columns):
        before, after = labels.calibration[known.probe_rows, column], labels.validation[heard.probe_rows, column]
        rows, here = np.flatnonzero(before >= 0), np.flatnonzero(after >= 0)
        bears, weight = after[here] == 1, weights[here]
        if not bears.any():
            continue
        pairs = np.flatnonzero(columns == column)
        size = max(1, BLOCK // max(len(rows), len(here), (int(bears.sum()) + 1) * weight.shape[1]))
        for block in np.split(pairs, range(size, len(pairs), size)):
            chosen = neurons[block]
            values = heard.probe[np.ix_(here, chosen)].T.astype(np.float32)
            learned = known.probe[np.ix_(rows, chosen)].T.astype(np.float32)
            fires = values >= firing_threshold(learned, int((before == 1).sum()))[:, None]
            moves = values.max(axis=1) > values.min(axis=1)
            measured = np.stack(
                [
                    *linear_association(values - known.mean[chosen, None].astype(np.float64), bears, weight),
                    weighted_average_precision(values, bears, weight),
                    *overlap_association(fires, bears, weight),
                ],
                axis=1,
            )
            bounds = np.quantile(measured[..., 1:], INTERVAL, axis=-1)
            out[block] = np.stack([measured[..., 0], *bounds], axis=-1) * moves[:, None, None]
    names = [f"{measure}{bound}" for measure in MEASURES for bound in ("", "_low", "_high")]
    return pd.DataFrame(out.reshape(len(out), len(names)), columns=names)


def drop_labels(labels: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """NeuronEval's first check: each positive becomes a negative with probability `share`; int8, as `labels`."""
    lost = (labels == 1) & (generator.random(labels.shape) < share)
    return np.where(lost, 0, labels).astype(np.int8)


def add_labels(labels: np.ndarray, factor: float, generator: np.random.Generator) -> np.ndarray:
    """NeuronEval's second check: random negatives become positives until each column has `factor` times as many
    (or no negative is left); int8, as `labels`."""
    out = labels.astype(np.int8)
    for column in out.T:
        negatives = np.flatnonzero(column == 0)
        wanted = round((factor - 1) * int((column == 1).sum()))
        column[generator.permutation(negatives)[:wanted]] = 1
    return out
