"""Describe the neurons of a language model in words found in a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from descry.judging.run import Run

__all__ = ["load"]


def load(path: str | Path = ".") -> Run:
    """Open the finished run in a folder as pandas tables (docs/prompt.md). Errors: InputError if there is none."""
    from descry.judging.run import Run
    from descry.results.columns import Folder

    return Run(Folder.of(path))
