"""The report of a finished run: one self-contained page, a few plots, and the tables behind them."""

from descry.report.content import Content, tabulate_carriers
from descry.report.page.csv import write_csv
from descry.report.page.page import render_page
from descry.report.plots.plots import draw_all
from descry.report.plots.series import tabulate_series


def build_report(run: Content, *, exemplars: int) -> dict[str, bytes]:
    """Every file of the report: name -> content, the same bytes for the same run.

    exemplars: sentences shown of each neuron and split, at most those that were read token by token.
    """
    tables = tabulate_series(run) | {"descriptors": tabulate_carriers(run)}
    pictures = draw_all(run, tables)
    page = render_page(run, tables, pictures, exemplars=exemplars)
    files = {"index.html": page.encode()} | {f"{name}.png": picture for name, picture in pictures.items()}
    for name, table in tables.items():
        files[f"{name}.csv"] = write_csv(table)
    return files
