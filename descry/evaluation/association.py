"""Association of neurons and their descriptors on held-out sentences.

Five measures, and the two sanity checks of NeuronEval (arXiv 2506.05774): a score must fall when half of the positive
labels are dropped, and when false positives double them. All five pass for strong pairs (Pearson of at least 0.4). For
weak pairs, which are the majority, only Pearson and cosine pass: precision and overlap by chance grow with prevalence,
so that AUPRC, F1 and IoU of a weak pair rise with false labels. Reports should lead with PASSING.

Every measure is a function of weighted sums over sentences. A bootstrap sample of reviews is therefore a column of
weights (how often each sentence's review was drawn), and all samples of a descriptor's neurons are measured at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from descry.activations.record import Activations
from descry.assignment.evidence import gather_evidence
from descry.assignment.false_discovery import log_p
from descry.assignment.rules import Rule, locate_pairs
from descry.splits import Pair

MEASURES = ("pearson", "cosine", "auprc", "f1", "iou")
PASSING = MEASURES[:2]
"""The measures that pass the sanity checks for weak pairs too."""
INTERVAL = (0.025, 0.975)
"""Quantiles of the bootstrap samples that bound an interval."""
BLOCK = 2**20
"""Entries of the largest array of a block of pairs; about a dozen such arrays are held at once."""


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole: float64; 0.0 where `whole` is not positive."""
    out = np.zeros(whole.shape)
    np.divide(part, whole, out=out, where=whole > 0)
    return out


def linear_association(values: np.ndarray, bears: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted Pearson correlation and cosine of activations and label, both float64 [neurons, samples], in [-1, 1].

    values: float64 [neurons, sentences]; bears: bool [sentences]; weights: [sentences, samples], how often each
    sentence counts. 0.0 where activations or label do not vary.
    """
    weights = weights.astype(np.float64)
    total, borne = weights.sum(axis=0), weights[bears].sum(axis=0)
    sums, squares = np.stack([values, values**2]) @ weights
    products = values[:, bears] @ weights[bears]
    variance = total * squares - sums**2
    variance = np.where(variance > 1e-12 * total * squares, variance, 0.0)  # below this, rounding error
    pearson = ratio(total * products - sums * borne, np.sqrt(variance * (total * borne - borne**2)))
    return pearson, ratio(products, np.sqrt(squares * borne))


def weighted_average_precision(values: np.ndarray, bears: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted average precision of the sentences ranked by activation: float64 [neurons, samples], in [0, 1].

    Arguments as for `linear_association`. Tied sentences share the last of their ranks. Precision is needed only at
    sentences that bear the descriptor: each neuron's ranking, sorted once, is cut after them, and a sparse product sums
    the weights of every piece. Cost: sentences x samples for each neuron.
    """
    neurons, sentences = values.shape
    order = np.argsort(-values, axis=1)
    ascending = np.take_along_axis(values, order, axis=1)[:, ::-1]
    firsts = [np.searchsorted(row, bearing) for row, bearing in zip(ascending, values[:, bears], strict=True)]
    cuts = np.sort(sentences - np.stack(firsts), axis=1)
    ends = np.append(cuts, np.full((neurons, 1), sentences), axis=1) + np.arange(neurons)[:, None] * sentences
    pieces = csr_array(
        (np.ones(order.size, weights.dtype), order.ravel(), np.append(0, ends)), shape=(ends.size, sentences)
    )
    shape = (*ends.shape, weights.shape[1])
    passed = (pieces @ weights).reshape(shape).cumsum(axis=1)
    borne = (pieces[:, bears] @ weights[bears]).reshape(shape)
    hits = borne.cumsum(axis=1)
    precision = np.divide(hits, passed, out=np.zeros_like(hits), where=hits > 0)
    return ratio(np.einsum("nps,nps->ns", borne, precision, dtype=np.float64), hits[:, -1])


def overlap_association(fires: np.ndarray, bears: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted F1 and IoU (Jaccard) of the sentences on which a neuron fires and those that bear the descriptor.

    fires: bool [neurons, sentences]; otherwise as for `linear_association`. Both float64 [neurons, samples], in [0, 1];
    0.0 where both sets are empty.
    """
    sparse = csr_array(fires, dtype=weights.dtype)  # a neuron fires on few sentences
    both = sparse[:, bears] @ weights[bears]
    sizes = sparse @ weights + weights[bears].sum(axis=0)
    return ratio(2 * both, sizes), ratio(both, sizes - both)


def firing_threshold(values: np.ndarray, positives: int) -> np.ndarray:
    """The activation that is reached by as many sentences as bear the descriptor: [neurons]; infinite if none does.

    values: [neurons, sentences]; positives: the number of sentences that bear it. Ties let more sentences pass.
    """
    if not positives:
        return np.full(len(values), np.inf)
    return np.asarray(np.partition(values, -positives, axis=1)[:, -positives])


def find_firing(values: np.ndarray, learned: np.ndarray, positives: int) -> np.ndarray:
    """Find where units fire: from the activation that is reached on `learned` by as many sentences as bear the
    descriptor (see `firing_threshold`), and never at their lowest value there: bool, as `values`.

    So a unit that is silent on most sentences (a latent of a sparse dictionary) fires only where it is not. values:
    [units, sentences], learned: [units, other sentences], where `positives` sentences bear the descriptor.
    """
    silent = learned.min(axis=1, keepdims=True, initial=np.inf)
    return np.asarray((values >= firing_threshold(learned, positives)[:, None]) & (values > silent))


def draw_review_weights(reviews: np.ndarray, repeats: int, seed: int) -> np.ndarray:
    """Draw bootstrap samples of reviews, as weights of their sentences: float32 [sentences, 1 + repeats].

    reviews: the review of each sentence. A sample draws as many reviews as there are, with replacement, each with all
    its sentences. Column 0 is the data itself: every sentence once.
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
    """Measure the association of neurons and descriptors on validation's probe, with 95 % intervals over its reviews.

    neurons, columns: int [pairs], neurons of `active` and columns of the labels; labels: int8 [sentences, descriptors]
    of both splits, missing ones (-1) left out of their descriptor's pairs; reviews: of validation's sentences; repeats,
    seed: of the bootstrap. Returns float64 columns `<measure>`, `<measure>_low` and `<measure>_high` for each of
    MEASURES, one row per pair, in order. Constant neurons and descriptors that no sentence bears score 0.0.

    Cosine is taken after subtracting the mean on calibration, sum (a - mean) y / sqrt(sum (a - mean)^2 sum y): the raw
    cosine of a neuron below zero would rise as labels are dropped. For F1 and IoU, a neuron fires from the activation
    that is reached, on calibration's probe, by as many sentences as bear the descriptor; see `find_firing`.
    """
    calibration, validation = active.calibration, active.validation
    weights = draw_review_weights(np.asarray(reviews)[validation.probe_rows], repeats, seed)
    out = np.zeros((len(neurons), len(MEASURES), 1 + len(INTERVAL)))
    for column in np.unique(columns):
        before = labels.calibration[calibration.probe_rows, column]
        after = labels.validation[validation.probe_rows, column]
        rows, here = np.flatnonzero(before >= 0), np.flatnonzero(after >= 0)
        bears, weight = after[here] == 1, weights[here]
        if not bears.any():
            continue
        pairs = np.flatnonzero(columns == column)
        size = max(1, BLOCK // max(len(rows), len(here), (int(bears.sum()) + 1) * weight.shape[1]))
        for block in np.split(pairs, range(size, len(pairs), size)):
            chosen = neurons[block]
            values = validation.probe[np.ix_(here, chosen)].T.astype(np.float32)
            learned = calibration.probe[np.ix_(rows, chosen)].T.astype(np.float32)
            fires = find_firing(values, learned, int((before == 1).sum()))
            moves = values.max(axis=1) > values.min(axis=1)
            measured = np.stack(
                [
                    *linear_association(values - calibration.mean[chosen, None].astype(np.float64), bears, weight),
                    weighted_average_precision(values, bears, weight),
                    *overlap_association(fires, bears, weight),
                ],
                axis=1,
            )
            bounds = np.quantile(measured[..., 1:], INTERVAL, axis=-1)
            out[block] = np.stack([measured[..., 0], *bounds], axis=-1) * moves[:, None, None]
    names = [f"{measure}{bound}" for measure in MEASURES for bound in ("", "_low", "_high")]
    return pd.DataFrame(out.reshape(len(out), len(names)), columns=names)


def tabulate_associations(
    pairs: pd.DataFrame,
    active: Pair[Activations],
    labels: Pair[np.ndarray],
    names: Sequence[str],
    reviews: Sequence[str],
    rule: Rule,
    *,
    repeats: int,
    seed: int,
) -> pd.DataFrame:
    """Test assigned pairs on validation: layer, index, descriptor, `validation_count`, `_known` and `_p` of the
    exemplars there, and the columns of `measure_associations`.

    pairs: columns layer, index, descriptor; names: the descriptors'; other parameters: see `measure_associations`.
    """
    neurons, columns = locate_pairs(pairs, active.calibration.layer, active.calibration.index, names)
    evidence = gather_evidence(active.validation.exemplars(rule.exemplars), labels.validation)
    tested = pairs.reset_index(drop=True).assign(
        validation_count=evidence.counts[neurons, columns],
        validation_known=evidence.known[neurons, columns],
        validation_p=np.exp(log_p(evidence)[neurons, columns]),
    )
    strength = measure_associations(neurons, columns, active, labels, reviews, repeats=repeats, seed=seed)
    return pd.concat([tested, strength], axis=1)


def drop_labels(labels: np.ndarray, share: float, generator: np.random.Generator) -> np.ndarray:
    """Turn each positive into a negative with probability `share` (first check of NeuronEval): int8, as `labels`."""
    lost = (labels == 1) & (generator.random(labels.shape) < share)
    return np.where(lost, 0, labels).astype(np.int8)


def add_labels(labels: np.ndarray, factor: float, generator: np.random.Generator) -> np.ndarray:
    """Turn random negatives into positives (second check of NeuronEval), until each column has `factor` times as many
    positives or no negative is left: int8, as `labels`."""
    out = labels.astype(np.int8)
    for column in out.T:
        negatives = np.flatnonzero(column == 0)
        wanted = round((factor - 1) * int((column == 1).sum()))
        column[generator.permutation(negatives)[:wanted]] = 1
    return out
