"""A finished run to look at: one self-contained page, a few plots, and the tables behind them."""

from descry.report.content import Run, Side, at_k_table, descriptor_table, layer_table, strongest
from descry.report.page import render
from descry.report.plots import plots

__all__ = [
    "Run",
    "Side",
    "at_k_table",
    "build",
    "descriptor_table",
    "layer_table",
    "plots",
    "render",
    "strongest",
]


def build(run: Run, *, neurons: int, exemplars: int) -> dict[str, bytes]:
    """Every file of the report: name -> content, the same bytes for the same run.

    neurons: how many are shown for each descriptor; exemplars: sentences shown for each of those and split.
    """
    tables = {
        "layers": layer_table(run),
        "at_k": at_k_table(run.evaluation),
        "descriptors": descriptor_table(run),
    }
    pictures = plots(run, tables)
    page = render(run, tables, pictures, neurons=neurons, exemplars=exemplars)
    files = {"index.html": page.encode()} | {f"{name}.png": picture for name, picture in pictures.items()}
    for name, table in tables.items():
        content = table.to_csv(index=False, lineterminator="\n", float_format="%.6g")
        files[f"{name}.csv"] = content.encode()
    return files
