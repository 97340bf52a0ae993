"""The table of sentences: reviews cut into sentences and divided into calibration and validation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from descry.corpus.readers import Passage, Review
from descry.corpus.sampling import choose_split
from descry.corpus.segmentation import cut_sentences, has_letter
from descry.errors import InputError
from descry.splits import SPLITS, SplitName


@dataclass(frozen=True, slots=True)
class SentenceTable:
    """The sentences of a corpus and, kept apart, their gold aspects; a frame for each split, rows in file order.

    sentences[split]: sentence_id ("<review_id>:<position>", unique), review_id, position (int32, from 0, counted before
    anything is dropped), product ("" if unknown), text (one line, at least one letter, unique over both splits).
    gold[split]: the same rows: sentence_id, aspects (list of str; [] = known to have none; None = no gold).
    counts: reviews, empty_reviews (no sentence is left), sentences (kept), duplicates and without_letters (dropped),
    and under each split: reviews (with a sentence kept there) and sentences.
    """

    sentences: dict[SplitName, pd.DataFrame]
    gold: dict[SplitName, pd.DataFrame]
    counts: dict[str, Any]


def build_sentence_table(
    reviews: Iterable[Review],
    *,
    key: str,
    validation: float,
    language: str = "en",
    source: str = "the corpus",
) -> SentenceTable:
    """Cut reviews into sentences, drop repeated and letterless ones, divide the rest by review.

    key, validation (between 0 and 1, both excluded): see `choose_split`. language: see `segment`. source: the corpus's
    name in errors. Of sentences with the same text only the first in file order stays, over both splits, so that no
    text of calibration is in validation; the gold aspects of its repeats join its own. Memory: the kept sentences.
    Errors: InputError if key or share are out of bounds, there are fewer than two reviews, or a split has no sentence.
    """
    _check(key, validation)
    columns = {name: _Columns() for name in SPLITS}
    counts = _fill(reviews, language, lambda name: columns[choose_split(name, key=key, validation=validation)])
    _check_splits(source, counts["reviews"], validation, {name: len(columns[name].texts) for name in SPLITS})
    return SentenceTable(
        sentences={name: columns[name].build_sentences() for name in SPLITS},
        gold={name: columns[name].build_gold() for name in SPLITS},
        counts=counts | {n: {"reviews": c.reviews, "sentences": len(c.texts)} for n, c in columns.items()},
    )


def build_undivided_table(
    reviews: Iterable[Review], *, language: str = "en", known: Collection[str] = (), source: str = "the corpus"
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Sentences, gold and counts of a corpus that is not divided, as `SentenceTable` has them of a split.

    known: texts to leave out as repeats. Errors: InputError if no sentence is left.
    """
    columns = _Columns()
    counts = _fill(reviews, language, lambda _: columns, known)
    if not columns.texts:
        raise InputError(
            f"{source}: none of its {counts['reviews']} reviews has a sentence with a letter in it that is not in the "
            "first corpus too; check that the text field is the right one and the corpus another"
        )
    return columns.build_sentences(), columns.build_gold(), counts


def _fill(
    reviews: Iterable[Review], language: str, choose: Callable[[str], _Columns], known: Collection[str] = ()
) -> dict[str, Any]:
    """Add every sentence that stays to the columns that `choose` gives for its review's id; returns the counts. known:
    texts to leave out as repeats."""
    elsewhere = _Columns()
    kept: dict[str, tuple[_Columns, int]] = dict.fromkeys(known, (elsewhere, -1))
    read = empty = duplicates = without_letters = added = 0
    for review in reviews:
        read += 1
        target = choose(review.review_id)
        before = len(target.texts)
        for position, sentence in enumerate(cut_sentences(review, language)):
            if not has_letter(sentence.text):
                without_letters += 1
            elif sentence.text in kept:
                duplicates += 1
                first, row = kept[sentence.text]
                if first is not elsewhere:
                    first.aspects[row] = _unite(first.aspects[row], sentence.aspects)
            else:
                kept[sentence.text] = target, len(target.texts)
                target.add(review, position, sentence)
                added += 1
        if len(target.texts) > before:
            target.reviews += 1
        else:
            empty += 1
    return {
        "reviews": read,
        "empty_reviews": empty,
        "sentences": added,
        "duplicates": duplicates,
        "without_letters": without_letters,
    }


class _Columns:
    """The growing columns of one split."""

    def __init__(self) -> None:
        self.reviews = 0
        self.review_ids: list[str] = []
        self.positions: list[int] = []
        self.products: list[str] = []
        self.texts: list[str] = []
        self.aspects: list[tuple[str, ...] | None] = []

    def add(self, review: Review, position: int, sentence: Passage) -> None:
        self.review_ids.append(review.review_id)
        self.positions.append(position)
        self.products.append(review.product)
        self.texts.append(sentence.text)
        self.aspects.append(sentence.aspects)

    def list_ids(self) -> list[str]:
        return [f"{name}:{position}" for name, position in zip(self.review_ids, self.positions, strict=True)]

    def build_sentences(self) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "sentence_id": self.list_ids(),
                "review_id": self.review_ids,
                "position": np.array(self.positions, dtype=np.int32),
                "product": self.products,
                "text": self.texts,
            }
        )

    def build_gold(self) -> pd.DataFrame:
        aspects = [None if names is None else list(names) for names in self.aspects]
        return pd.DataFrame({"sentence_id": self.list_ids(), "aspects": pd.Series(aspects, dtype=object)})


def _unite(first: tuple[str, ...] | None, second: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if first is None or second is None:
        return second if first is None else first
    return tuple(dict.fromkeys(first + second))


def _check(key: str, validation: float) -> None:
    if not 0 < validation < 1:
        raise InputError(f"the share for validation is {validation}; it must lie between 0 and 1, for example 0.5")
    if len(key.encode()) > 64:
        raise InputError(f"the key of the split takes {len(key.encode())} bytes; use at most 64")


def _check_splits(source: str, reviews: int, validation: float, kept: dict[SplitName, int]) -> None:
    if reviews == 0:
        raise InputError(f"{source}: holds no review; at least two are needed, one for each split")
    if reviews == 1:
        raise InputError(f"{source}: holds one review; at least two are needed, one for each split")
    if not any(kept.values()):
        raise InputError(
            f"{source}: not one of its {reviews} reviews has a sentence with a letter in it; "
            "check that the text field is the right one"
        )
    for name, count in kept.items():
        if count == 0:
            raise InputError(
                f"{source}: no sentence falls into the {name} split ({reviews} reviews, {sum(kept.values())} different "
                f"sentences, share for validation {validation}); choose a share nearer to 0.5 or another key, or add "
                "reviews"
            )
