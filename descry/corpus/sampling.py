"""Splits, folds and samples of sentences, drawn by hash: they depend on ids and a key, never on the order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from heapq import nsmallest

import numpy as np
import pandas as pd

from descry.splits import SplitName


def choose_split(review_id: str, *, key: str, validation: float) -> SplitName:
    """Choose the split of a review: "validation" with probability `validation`, by a keyed hash of its id.

    key: at most 64 bytes of UTF-8; another key draws another split. validation: 0 to 1. Only the id and the key count,
    so that reviews keep their split when others are added, removed or reordered; a larger share only moves reviews from
    calibration to validation.
    """
    digest = hashlib.blake2b(review_id.encode(), key=key.encode(), digest_size=8).digest()
    return "validation" if int.from_bytes(digest, "big") < validation * 2**64 else "calibration"


def sample_probe(ids: Iterable[str], size: int, key: str) -> np.ndarray:
    """Draw at most `size` sentences by id: rows, ascending int32, of the lowest keyed hashes. Memory is O(size)."""
    keyed = hashlib.blake2b(key=key.encode(), digest_size=8)

    def digest(text: str) -> bytes:
        hashed = keyed.copy()
        hashed.update(text.encode())
        return hashed.digest()

    lowest = nsmallest(size, ((digest(text), row) for row, text in enumerate(ids)))
    return np.array(sorted(row for _, row in lowest), dtype=np.int32)


def sample_sentences(sentences: pd.DataFrame, sample: int, seed: int = 0) -> np.ndarray:
    """Draw at most `sample` sentences: rows, ascending, of the lowest hashes of (review, text) under `seed`.

    sentences: columns review_id and text. New sentences change few of the sample.
    """
    if len(sentences) <= sample:
        return np.arange(len(sentences))
    keyed = str(seed).encode() if seed else b""
    keys = [
        hashlib.blake2b(f"{review}\0{text}".encode(), digest_size=8, key=keyed).digest()
        for review, text in zip(sentences["review_id"], sentences["text"], strict=True)
    ]
    return np.sort(np.array(sorted(range(len(keys)), key=lambda row: (keys[row], row))[:sample]))


def assign_folds(review_ids: Sequence[str] | np.ndarray, count: int) -> np.ndarray:
    """Assign each sentence to a fold by the rank of its review's hash: int64 [sentences], 0 to count - 1.

    Folds hold equally many reviews (to within one), and the order of the rows does not matter.
    """
    names, review = np.unique(np.asarray(review_ids, dtype=str), return_inverse=True)
    digests = [hashlib.blake2b(str(name).encode(), digest_size=8).digest() for name in names]
    fold = np.empty(len(names), dtype=np.int64)
    fold[sorted(range(len(names)), key=digests.__getitem__)] = np.arange(len(names)) % count
    return fold[review]
