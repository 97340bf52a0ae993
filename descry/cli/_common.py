"""What the commands share: the options of all, and how an answer is told."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from descry.errors import escape_unprintable

PIPED = 120
"""Columns of what is written to a pipe or a file, where nothing else is said."""
ENDLESS = 10_000
STRONG, WEAK = "bold cyan", "dim"


def positive(text: str) -> int:
    """A whole number from 1."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def parser(commands: Any, name: str, about: str, run: Callable[[argparse.Namespace], int]) -> argparse.ArgumentParser:
    """A command's parser, with the options that all have."""
    made: argparse.ArgumentParser = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    made.add_argument("--run", dest="folder", type=Path, default=Path(), metavar="FOLDER", help="of the run (here)")
    made.add_argument("--json", action="store_true", help="all of it, unrounded, as JSON")
    made.set_defaults(run=run)
    return made


def tell(chosen: argparse.Namespace, answer: Any, show: Callable[[Console, Any], None]) -> int:
    """Write an answer as JSON or as the command shows it; 0."""
    if chosen.json:
        print(json.dumps(answer, ensure_ascii=False, allow_nan=False, indent=1))
    else:
        show(console(), answer)
    return 0


def console() -> Console:
    """Where answers go: colours where a terminal takes them (NO_COLOR is heeded), text of the data taken as it is."""
    made = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = PIPED
    return made


def plain(text: object, style: str = "") -> Text:
    """Text of the data: neither markup nor control characters in it do anything."""
    return Text(escape_unprintable(str(text)), style=style)


def number(value: float | None, digits: int = 3) -> Text:
    """A figure, a small one in powers of ten, a large one whole; "–" where there is none."""
    if value is None:
        return Text("–", style=WEAK)
    if abs(value) >= 1000:
        return Text(f"{value:,.0f}")
    small = value != 0 and abs(value) < 0.5 * 10**-digits
    return Text(f"{value:.0e}" if small else f"{value:.{digits}f}")


def within(row: Mapping[str, Any], name: str) -> Text:
    """A figure with its interval, which stands in `name`_low and `name`_high."""
    low, high = (f"{row[f'{name}_{end}']:.2f}".replace("0.", ".") for end in ("low", "high"))
    return Text(f"{row[name]:.2f} [{low}, {high}]")


def chance(value: float | None, digits: int = 3) -> Text:
    """What chance would give."""
    text = number(value, digits)
    text.stylize(WEAK)
    return text


def show_table(
    console: Console, columns: Sequence[str], rows: Iterable[Sequence[Text | str]], *, words: Iterable[int] = (0,)
) -> None:
    """Print a table: `words` are the columns of text, which fold; the others are figures, which never do. Where there
    is no room for them, each row is told line by line."""
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for place, name in enumerate(columns):
        text = place in words
        made.add_column(name, justify="left" if text else "right", no_wrap=not text, overflow="fold")
    listed = list(rows)
    for row in listed:
        made.add_row(*row)
    if Measurement.get(console, console.options.update(width=ENDLESS), made).minimum <= console.width:
        console.print(made)
        return
    for row in listed:
        for place, (name, cell) in enumerate(zip(columns, row, strict=True)):
            console.print(Text.assemble("  " if place else "", (f"{name} ".replace("\n", " "), "bold"), cell))


BY_CHANCE = "by\nchance"
PAIR = ("descriptor", "share", BY_CHANCE, "lift", "q", "correlation\nthere", "share\nthere", BY_CHANCE, "again")


def pair_cells(row: Mapping[str, Any]) -> list[Text]:
    """A pair as a row under `PAIR`."""
    return [
        plain(row["descriptor"], STRONG if row["place"] == 1 else ""),
        number(row["composition"]),
        chance(row["prevalence"]),
        number(row["lift"], 1),
        number(row["q"]),
        within(row, "pearson"),
        number(row["validation_composition"]),
        chance(row["validation_prevalence"]),
        Text("yes" if row["replicates"] else "no", style="green" if row["replicates"] else WEAK),
    ]


LEGEND = (
    "share: of the strongest sentences, those that bear the descriptor; by chance: of all sentences. q: false "
    "discovery rate. there: on validation, from which nothing was learned; a correlation by chance is 0. again: found "
    "there too, p at most 0.05."
)
