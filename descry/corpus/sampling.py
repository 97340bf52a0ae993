"""Fixed samples of sentences, drawn by hash: they depend on the sentences and a key, never on their order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from heapq import nsmallest

import numpy as np
import pandas as pd


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
