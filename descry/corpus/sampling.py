"""Fixed samples of sentences: who is drawn depends on the sentences and a key, never on their order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from heapq import nsmallest

import numpy as np
import pandas as pd


def sample_probe(ids: Iterable[str], size: int, key: str) -> np.ndarray:
    """Rows of a sample of at most `size`, ascending int32: those whose keyed hash is lowest, so that the
    sample depends on the sentences and not on their order. Memory is O(size)."""
    keyed = hashlib.blake2b(key=key.encode(), digest_size=8)

    def digest(text: str) -> bytes:
        own = keyed.copy()
        own.update(text.encode())
        return own.digest()

    lowest = nsmallest(size, ((digest(text), row) for row, text in enumerate(ids)))
    return np.array(sorted(row for _, row in lowest), dtype=np.int32)


def sample_sentences(sentences: pd.DataFrame, sample: int, seed: int = 0) -> np.ndarray:
    """Rows of at most `sample` sentences, ascending: all, or those whose (review, text) hash lowest.

    Another seed, another sample. Sentences that join change few of the sample.
    """
    if len(sentences) <= sample:
        return np.arange(len(sentences))
    keyed = str(seed).encode() if seed else b""
    keys = [
        hashlib.blake2b(f"{review}\0{text}".encode(), digest_size=8, key=keyed).digest()
        for review, text in zip(sentences["review_id"], sentences["text"], strict=True)
    ]
    return np.sort(np.array(sorted(range(len(keys)), key=lambda row: (keys[row], row))[:sample]))
