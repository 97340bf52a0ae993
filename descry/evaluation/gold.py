"""Gold aspects: as labels, and how well descriptors match them. Only stages that measure may read gold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pandas as pd

from descry.evaluation.measures import find_known_rows
from descry.evaluation.metrics import average_precision, f1
from descry.splits import Pair


def list_aspects(*gold: Iterable[Sequence[str] | None]) -> list[str]:
    """List all gold aspects, sorted; none if the corpus has no gold.

    gold: per split, the aspects of every sentence, None where they are not known.
    """
    return sorted({aspect for rows in gold for aspects in rows if aspects is not None for aspect in aspects})


def label_aspects(gold: Collection[Sequence[str] | None], names: Sequence[str]) -> np.ndarray:
    """Turn gold into labels: int8 [sentences, aspects], 1 or 0; -1 where a sentence's aspects are not known."""
    column = {name: number for number, name in enumerate(names)}
    labels = np.zeros((len(gold), len(names)), dtype=np.int8)
    for row, aspects in enumerate(gold):
        if aspects is None:
            labels[row] = -1
        else:
            labels[row, [column[aspect] for aspect in aspects]] = 1
    return labels


def match_aspects(scores: np.ndarray, gold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Match descriptors and gold aspects by average precision, on calibration.

    scores: float [sentences, descriptors], NaN where missing; gold: int8 [sentences, aspects]. Returns the best
    descriptor of every aspect, int64 [aspects], and the aspect that every descriptor stands for, int64 [descriptors]:
    the one whose average precision is furthest above chance.
    """
    rows = find_known_rows(gold)
    precision = average_precision(scores[rows], gold[rows] == 1)
    chance = (gold[rows] == 1).mean(axis=0)
    return precision.argmax(axis=0), (precision - chance).argmax(axis=1)


def _score_matches(
    scores: Pair[np.ndarray], labels: Pair[np.ndarray], gold: Pair[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the descriptor that matches each aspect best on calibration, int64 [aspects], and its average precision and
    F1 on validation, float64 [aspects]."""
    best, _ = match_aspects(scores.calibration, gold.calibration)
    rows = find_known_rows(gold.validation)
    relevant, aspects = gold.validation[rows] == 1, np.arange(len(best))
    precision = average_precision(scores.validation[rows][:, best], relevant)[aspects, aspects]
    return best, precision, f1(labels.validation[rows], relevant)[best, aspects]


ASPECT_FIGURES = ("average_precision", "chance", "f1", "prevalence")


def tabulate_aspects(
    names: tuple[Sequence[str], Sequence[str]],
    scores: Pair[np.ndarray],
    labels: Pair[np.ndarray],
    gold: Pair[np.ndarray],
) -> pd.DataFrame:
    """Tabulate how well each aspect is recovered on validation by the descriptor that matches it best on calibration.

    names: of the aspects and of the descriptors. One aspect per row, the most frequent first; columns: aspect,
    descriptor, average_precision, chance (of random scores: the aspect's prevalence), f1, prevalence (of the
    descriptor), sentences (that have the aspect).
    """
    if not names[0]:  # a corpus without gold
        columns = {"aspect": str, "descriptor": str, "sentences": int} | dict.fromkeys(ASPECT_FIGURES, float)
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
    best, precision, agreed = _score_matches(scores, labels, gold)
    rows = find_known_rows(gold.validation)
    relevant, given = gold.validation[rows] == 1, labels.validation[rows][:, best]
    known = given >= 0
    counts = np.maximum(known.sum(axis=0), 1)
    table = pd.DataFrame(
        {
            "aspect": list(names[0]),
            "descriptor": [names[1][column] for column in best],
            "average_precision": precision,
            "chance": (known & relevant).sum(axis=0) / counts,
            "f1": agreed,
            "prevalence": (given == 1).sum(axis=0) / counts,
            "sentences": relevant.sum(axis=0),
        }
    )
    return table.sort_values(["sentences", "aspect"], ascending=[False, True], ignore_index=True)


def tabulate_confusion(
    names: tuple[Sequence[str], Sequence[str]], labels: np.ndarray, gold: np.ndarray
) -> pd.DataFrame:
    """Count the sentences that have an aspect and bear a descriptor: columns aspect, descriptor, sentences.

    names, labels, gold: as for `tabulate_aspects`, on one split. One row per pair; an empty name stands for sentences
    without any aspect, or without any descriptor. Sentences whose aspects are unknown, or whose labels are all
    missing, are left out.
    """
    rows = find_known_rows(gold) & (labels >= 0).any(axis=1)
    relevant, given = gold[rows] == 1, labels[rows] == 1
    relevant = np.column_stack([relevant, ~relevant.any(axis=1)]).astype(np.float32)
    given = np.column_stack([given, ~given.any(axis=1)]).astype(np.float32)
    counts = (relevant.T @ given).astype(np.int32)
    pairs = pd.MultiIndex.from_product([[*names[0], ""], [*names[1], ""]], names=["aspect", "descriptor"])
    return pd.Series(counts.ravel(), index=pairs, name="sentences").reset_index()


def measure_label_quality(
    scores: Pair[np.ndarray], labels: Pair[np.ndarray], gold: Pair[np.ndarray]
) -> dict[str, float]:
    """Mean average precision and F1, on validation, of the descriptors that match the aspects best on calibration."""
    _, precision, agreed = _score_matches(scores, labels, gold)
    return {"mean_best_ap": float(precision.mean()), "mean_best_f1": float(agreed.mean())}


def measure_recovery(scores: np.ndarray, gold: np.ndarray, level: float = 0.3) -> dict[str, float]:
    """Measure what the vocabulary can express, by the best descriptor of every aspect, chosen in hindsight.

    `mean_best_ap`: mean average precision; `matched_share`: share of the aspects whose average precision is at least
    `level`. Both in [0, 1], over all sentences.
    """
    rows = find_known_rows(gold)
    best = average_precision(scores[rows], gold[rows] == 1).max(axis=0)
    return {"mean_best_ap": float(best.mean()), "matched_share": float((best >= level).mean())}


def measure_quality(
    scores: Pair[np.ndarray], labels: Pair[np.ndarray], gold: Pair[np.ndarray]
) -> dict[str, dict[str, float]]:
    """`labels`: `measure_label_quality`; `descriptors`: `measure_recovery` over the sentences of both splits."""
    all_scores, all_gold = (np.concatenate([pair.calibration, pair.validation]) for pair in (scores, gold))
    return {
        "labels": measure_label_quality(scores, labels, gold),
        "descriptors": measure_recovery(all_scores, all_gold),
    }
