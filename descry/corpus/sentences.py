"""The corpus: reviews read, cut into sentences, and divided into calibration and validation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from descry.corpus.readers import Passage, Review
from descry.corpus.segmentation import cut_sentences, has_letter
from descry.errors import InputError
from descry.splits import SPLITS, SplitName


@dataclass(frozen=True, slots=True)
class SentenceTable:
    """The sentences of a corpus, and what its annotators know of them, kept apart; a frame for each side.

    sentences[side]: sentence_id ("<review_id>:<position>", unique), review_id, position (int32, from 0,
    counted before anything is dropped), product ("" where unknown), text (one line, at least one letter,
    unique over both sides). Rows in file order.
    gold[side]: the same rows: sentence_id, aspects (list of str; [] = known to have none; None = no gold).
    counts: reviews, empty_reviews (nothing of them is left), sentences (kept), duplicates and
    without_letters (dropped), and under each side: reviews (with a sentence kept there) and sentences.
    """

    sentences: dict[SplitName, pd.DataFrame]
    gold: dict[SplitName, pd.DataFrame]
    counts: dict[str, Any]


def choose_split(review_id: str, *, key: str, validation: float) -> SplitName:
    """Return the side of a review: "validation" with probability `validation`, by a hash of its id alone.

    key: at most 64 bytes of UTF-8; another key draws another split. validation: 0 to 1. As nothing but the
    id and the key counts, reviews may be added, removed or put in another order and none changes sides; as
    the hash is compared with a threshold, a larger share only moves reviews from calibration to validation.
    """
    digest = hashlib.blake2b(review_id.encode(), key=key.encode(), digest_size=8).digest()
    return "validation" if int.from_bytes(digest, "big") < validation * 2**64 else "calibration"


def build_sentence_table(
    reviews: Iterable[Review],
    *,
    key: str,
    validation: float,
    language: str = "en",
    source: str = "the corpus",
) -> SentenceTable:
    """Cut reviews into sentences, drop repeated and letterless ones, divide the rest by review.

    key, validation (between 0 and 1, both excluded): see `side`. language: see `segment`. source: what
    errors call the corpus. Of sentences with the same text the first in file order stays, over both sides,
    so that no text of calibration is met again in validation; the gold aspects of its repeats join its own.
    Memory: the kept sentences, nothing else.
    InputError: key or share out of bounds, fewer than two reviews, no sentence at all or none on one side.
    """
    _check(key, validation)
    columns = {name: _Columns() for name in SPLITS}
    counts = _fill(reviews, language, lambda name: columns[choose_split(name, key=key, validation=validation)])
    _check_sides(source, counts["reviews"], validation, {name: len(columns[name].texts) for name in SPLITS})
    return SentenceTable(
        sentences={name: columns[name].sentences() for name in SPLITS},
        gold={name: columns[name].gold() for name in SPLITS},
        counts=counts | {n: {"reviews": c.reviews, "sentences": len(c.texts)} for n, c in columns.items()},
    )


def build_undivided_table(
    reviews: Iterable[Review], *, language: str = "en", known: Collection[str] = (), source: str = "the corpus"
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """The sentences, the gold and the counts of a corpus that is not divided, as `SentenceTable` has them of a side.

    known: texts that are left out as repeats. Errors: InputError where no sentence is left.
    """
    columns = _Columns()
    counts = _fill(reviews, language, lambda _: columns, known)
    if not columns.texts:
        raise InputError(
            f"{source}: none of its {counts['reviews']} reviews has a sentence with a letter in it that is not in the "
            "first corpus too; check that the text field is the right one and the corpus another"
        )
    return columns.sentences(), columns.gold(), counts


def _fill(
    reviews: Iterable[Review], language: str, of: Callable[[str], _Columns], known: Collection[str] = ()
) -> dict[str, Any]:
    """Put every sentence that is to stay into the columns of its review (by id); returns the counts. known: texts that
    are repeats from the start."""
    elsewhere = _Columns()
    kept: dict[str, tuple[_Columns, int]] = dict.fromkeys(known, (elsewhere, -1))
    read = empty = duplicates = without_letters = added = 0
    for review in reviews:
        read += 1
        target = of(review.review_id)
        before = len(target.texts)
        for position, sentence in enumerate(cut_sentences(review, language)):
            if not has_letter(sentence.text):
                without_letters += 1
            elif sentence.text in kept:
                duplicates += 1
                first, row = kept[sentence.text]
                if first is not elsewhere:
                    first.aspects[row] = _union(first.aspects[row], sentence.aspects)
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
    """The growing columns of one side."""

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

    def sentence_ids(self) -> list[str]:
        return [f"{name}:{position}" for name, position in zip(self.review_ids, self.positions, strict=True)]

    def sentences(self) -> pd.DataFrame:
        return pd.DataFrame(
            {
                "sentence_id": self.sentence_ids(),
                "review_id": self.review_ids,
                "position": np.array(self.positions, dtype=np.int32),
                "product": self.products,
                "text": self.texts,
            }
        )

    def gold(self) -> pd.DataFrame:
        aspects = [None if names is None else list(names) for names in self.aspects]
        return pd.DataFrame({"sentence_id": self.sentence_ids(), "aspects": pd.Series(aspects, dtype=object)})


def _union(first: tuple[str, ...] | None, second: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if first is None or second is None:
        return second if first is None else first
    return tuple(dict.fromkeys(first + second))


def _check(key: str, validation: float) -> None:
    if not 0 < validation < 1:
        raise InputError(f"the share for validation is {validation}; it must lie between 0 and 1, for example 0.5")
    if len(key.encode()) > 64:
        raise InputError(f"the key of the split takes {len(key.encode())} bytes; use at most 64")


def _check_sides(source: str, reviews: int, validation: float, kept: dict[SplitName, int]) -> None:
    if reviews == 0:
        raise InputError(f"{source}: holds no review; at least two are needed, one for each side")
    if reviews == 1:
        raise InputError(f"{source}: holds one review; at least two are needed, one for each side")
    if not any(kept.values()):
        raise InputError(
            f"{source}: not one of its {reviews} reviews has a sentence with a letter in it; "
            "check that the text field is the right one"
        )
    for name, count in kept.items():
        if count == 0:
            raise InputError(
                f"{source}: no sentence falls on the {name} side ({reviews} reviews, {sum(kept.values())} different "
                f"sentences, share for validation {validation}); choose a share nearer to 0.5 or another key, or add "
                "reviews"
            )
