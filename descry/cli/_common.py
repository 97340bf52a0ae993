"""What the commands share: common options, and how an answer is printed."""

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
"""Width of output to a pipe or a file, unless COLUMNS is set."""
ENDLESS = 10_000
STRONG, WEAK = "bold cyan", "dim"


def parse_positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return int(text)


def add_command(
    commands: Any, name: str, about: str, run: Callable[[argparse.Namespace], int]
) -> argparse.ArgumentParser:
    """Add a command's parser, with the options that all commands have."""
    made: argparse.ArgumentParser = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    made.add_argument(
        "--run",
        dest="folder",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="folder of the run (default: here)",
    )
    made.add_argument("--json", action="store_true", help="print everything, unrounded, as JSON")
    made.set_defaults(run=run)
    return made


def print_answer(chosen: argparse.Namespace, answer: Any, show: Callable[[Console, Any], None]) -> int:
    """Print an answer, as JSON or with `show`; returns exit code 0."""
    if chosen.json:
        print(json.dumps(answer, ensure_ascii=False, allow_nan=False, indent=1))
    else:
        show(make_console(), answer)
    return 0


def make_console() -> Console:
    """A console with colours if the terminal has them (NO_COLOR turns them off), and without markup in the data."""
    made = Console(highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = PIPED
    return made


def quote(text: object, style: str = "") -> Text:
    """Text of the data, in which neither markup nor control characters have an effect."""
    return Text(escape_unprintable(str(text)), style=style)


def format_number(value: float | None, digits: int = 3) -> Text:
    """Format a figure: a small one in powers of ten, a large one whole; "–" for None."""
    if value is None:
        return Text("–", style=WEAK)
    if abs(value) >= 1000:
        return Text(f"{value:,.0f}")
    small = value != 0 and abs(value) < 0.5 * 10**-digits
    return Text(f"{value:.0e}" if small else f"{value:.{digits}f}")


def format_interval(row: Mapping[str, Any], name: str) -> Text:
    """Format a figure with its interval, from the keys `name`, `name`_low and `name`_high."""
    low, high = (f"{row[f'{name}_{end}']:.2f}".replace("0.", ".") for end in ("low", "high"))
    return Text(f"{row[name]:.2f} [{low}, {high}]")


def format_chance(value: float | None, digits: int = 3) -> Text:
    """Format a chance level."""
    text = format_number(value, digits)
    text.stylize(WEAK)
    return text


def show_table(
    console: Console, columns: Sequence[str], rows: Iterable[Sequence[Text | str]], *, words: Iterable[int] = (0,)
) -> None:
    """Print a table. words: the columns of text, which wrap; the others are figures, which never do.

    If the console is too narrow for the figures, each row becomes a list.
    """
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    for place, name in enumerate(columns):
        wraps = place in words
        made.add_column(name, justify="left" if wraps else "right", no_wrap=not wraps, overflow="fold")
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
PAIR = (
    *("descriptor", "share", BY_CHANCE, "lift", "q"),
    *("correlation\nvalidation", "share\nvalidation", BY_CHANCE, "found\nagain"),
)
"""Columns of a pair of a neuron and a descriptor."""


def pair_cells(row: Mapping[str, Any]) -> list[Text]:
    """The cells of a pair under `PAIR`."""
    return [
        quote(row["descriptor"], STRONG if row["place"] == 1 else ""),
        format_number(row["composition"]),
        format_chance(row["prevalence"]),
        format_number(row["lift"], 1),
        format_number(row["q"]),
        format_interval(row, "pearson"),
        format_number(row["validation_composition"]),
        format_chance(row["validation_prevalence"]),
        Text("yes" if row["replicates"] else "no", style="green" if row["replicates"] else WEAK),
    ]


LEGEND = (
    "share: of the neuron's strongest sentences, those with the descriptor; by chance: of all sentences. lift: their "
    "ratio. q: false discovery rate. validation: on reviews that nothing was learned from; a correlation by chance is "
    "0. found again: on validation, with p at most 0.05."
)
