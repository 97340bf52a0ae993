"""A finished run that judges descriptions of its units."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from descry.errors import InputError
from descry.judging.descriptions import Description, Descriptions, read_descriptions
from descry.results import run


class Run(run.Run):
    """A finished run that judges descriptions too."""

    def judge(self, descriptions: str | Path | pd.DataFrame | Mapping[tuple[int, int], str]) -> pd.DataFrame:
        """Judge descriptions of units on validation's probe; see `descry.judging.judge`.

        descriptions: a file or folder as `read_descriptions` takes it, a table with columns layer, index and
        description, or texts by (layer, index).
        """
        from descry.judging.held_out import judge_run

        return judge_run(self.folder, _collect(descriptions))


def _collect(descriptions: str | Path | pd.DataFrame | Mapping[tuple[int, int], str]) -> Descriptions:
    if isinstance(descriptions, str | Path):
        return read_descriptions(Path(descriptions))
    if isinstance(descriptions, pd.DataFrame):
        if missing := {"layer", "index", "description"} - set(descriptions.columns):
            raise InputError(f"descriptions: the table has no column {min(missing)}; name it so")
        keys = zip(descriptions["layer"], descriptions["index"], strict=True)
        items = list(zip(keys, descriptions["description"], strict=True))
    else:
        items = list(descriptions.items())
    rows = (
        Description(f"descriptions, row {row}", int(layer), int(unit), text if isinstance(text, str) else "")
        for row, ((layer, unit), text) in enumerate(items)
    )
    return Descriptions("descriptions", tuple(rows))
