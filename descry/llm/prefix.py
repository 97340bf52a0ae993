"""What prompts have in common: a causal model reads it once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile


def find_prefix(prompts: Sequence[Sequence[int]]) -> list[int]:
    """The tokens that all prompts begin with, short of a whole prompt."""
    shortest = min(map(len, prompts))
    columns = zip(*(ids[: shortest - 1] for ids in prompts), strict=True)
    return [column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns)]
