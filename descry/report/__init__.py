"""A finished run to look at: one self-contained page, a few plots, and the tables behind them."""

from descry.report.content import Beyond, Explained, Guess, Run, Side, descriptor_table, strongest
from descry.report.csv import csv
from descry.report.explained import explained
from descry.report.page import render
from descry.report.plots import plots
from descry.report.series import tables

__all__ = [
    "Beyond",
    "Explained",
    "Guess",
    "Run",
    "Side",
    "build",
    "descriptor_table",
    "explained",
    "plots",
    "render",
    "strongest",
    "tables",
]


def build(run: Run, *, exemplars: int) -> dict[str, bytes]:
    """Every file of the report: name -> content, the same bytes for the same run.

    exemplars: sentences shown of each neuron and split, at most those that were read token by token.
    """
    behind = tables(run) | {"descriptors": descriptor_table(run)}
    pictures = plots(run, behind)
    page = render(run, behind, pictures, exemplars=exemplars)
    files = {"index.html": page.encode()} | {f"{name}.png": picture for name, picture in pictures.items()}
    for name, table in behind.items():
        files[f"{name}.csv"] = csv(table)
    return files
