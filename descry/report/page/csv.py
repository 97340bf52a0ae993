"""Tables as CSV that a spreadsheet shows as it stands: no text of the data is a formula there."""

from __future__ import annotations

from csv import QUOTE_NONNUMERIC

import pandas as pd
from pandas.api.types import is_float_dtype, is_numeric_dtype

STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a formula starts with in one spreadsheet or another (OWASP, CSV injection); some take wide forms too."""


def defuse(text: str) -> str:
    """A text that no spreadsheet takes for a formula: behind an apostrophe where it starts like one."""
    return f"'{text}" if text.lstrip(" ").startswith(STARTS) else text


def write_csv(table: pd.DataFrame) -> bytes:
    """A table as CSV in UTF-8: numbers of 6 digits; texts in quotes, so that another separator in one ends nothing."""
    written = table.rename(columns=defuse)
    for name, column in written.items():
        if is_float_dtype(column):
            written[name] = column.map(lambda value: float(f"{value:.6g}"))
        elif not is_numeric_dtype(column):
            written[name] = column.map(defuse)
    return written.to_csv(index=False, lineterminator="\n", quoting=QUOTE_NONNUMERIC).encode()
