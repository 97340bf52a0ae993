"""Gold aspects: as labels, and how well descriptors tell them. Read by measuring stages alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pandas as pd

from descry.evaluation.measures import find_known_rows
from descry.evaluation.metrics import average_precision, f1
from descry.splits import Pair


def list_aspects(*gold: Iterable[Sequence[str] | None]) -> list[str]:
    """All gold aspects, sorted; empty where the corpus has no gold."""
    return sorted({aspect for rows in gold for aspects in rows if aspects is not None for aspect in aspects})


def label_aspects(gold: Collection[Sequence[str] | None], names: Sequence[str]) -> np.ndarray:
    """Gold as labels: int8 [sentences, aspects], 1 or 0; -1 where a sentence's aspects are not known."""
    column = {name: number for number, name in enumerate(names)}
    labels = np.zeros((len(gold), len(names)), dtype=np.int8)
    for row, aspects in enumerate(gold):
        if aspects is None:
            labels[row] = -1
        else:
            labels[row, [column[aspect] for aspect in aspects]] = 1
    return labels


def match_aspects(scores: np.ndarray, gold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which descriptor speaks for which aspect, by average precision on calibration.

    Returns the best descriptor of every aspect, int64 [aspects], and the best aspect of every descriptor,
    int64 [descriptors]. scores: NaN where missing; gold: int8 [sentences, aspects].
    """
    rows = find_known_rows(gold)
    precision = average_precision(scores[rows], gold[rows] == 1)
    chance = (gold[rows] == 1).mean(axis=0)
    return precision.argmax(axis=0), (precision - chance).argmax(axis=1)


def _told(
    scores: Pair[np.ndarray], labels: Pair[np.ndarray], gold: Pair[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each aspect the descriptor that matches it best on calibration, and that one's average precision and F1 on
    validation: int64 and float64 [aspects]."""
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
    """Every gold aspect with the descriptor that matches it best on calibration, and how well that one tells it on
    validation: aspect, descriptor, average_precision, chance (what random scores give: the aspect's prevalence),
    f1, prevalence (of the descriptor), sentences (that have the aspect), most frequent aspect first.

    names: of the aspects and of the descriptors.
    """
    if not names[0]:  # a corpus without gold
        columns = {"aspect": str, "descriptor": str, "sentences": int} | dict.fromkeys(ASPECT_FIGURES, float)
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
    best, precision, agreed = _told(scores, labels, gold)
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
    """Sentences that have an aspect and bear a descriptor: aspect, descriptor, sentences; every pair, and under
    the empty name those of the aspect (descriptor) that no descriptor (aspect) tells of. Sentences without any
    known label are left out."""
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
    """How well the best-matching descriptor (matched on calibration) tells each gold aspect on validation."""
    _, precision, agreed = _told(scores, labels, gold)
    return {"mean_best_ap": float(precision.mean()), "mean_best_f1": float(agreed.mean())}


def measure_recovery(scores: np.ndarray, gold: np.ndarray, level: float = 0.3) -> dict[str, float]:
    """What the vocabulary could express: the best descriptor of every aspect, matched with hindsight on all
    sentences; `matched_share` counts the aspects with an average precision of at least `level`."""
    rows = find_known_rows(gold)
    best = average_precision(scores[rows], gold[rows] == 1).max(axis=0)
    return {"mean_best_ap": float(best.mean()), "matched_share": float((best >= level).mean())}


def measure_quality(
    scores: Pair[np.ndarray], labels: Pair[np.ndarray], gold: Pair[np.ndarray]
) -> dict[str, dict[str, float]]:
    """`labels` (label_quality) and `descriptors` (recovery, over both splits)."""
    all_scores, all_gold = (np.concatenate([both.calibration, both.validation]) for both in (scores, gold))
    return {
        "labels": measure_label_quality(scores, labels, gold),
        "descriptors": measure_recovery(all_scores, all_gold),
    }
