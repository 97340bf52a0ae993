"""What `make` prints at the end: the headline figures beside chance and random directions, and where the report is."""

from pathlib import Path

from descry.results import layout
from descry.results.columns import Folder, read_measures
from descry.results.measures import HEADLINES
from stages.harness.stage import run_stage

WIDTH = 80


def _line(title: str, *figures: str) -> str:
    return f"  {title:<{WIDTH}}" + "".join(f"{figure:>12}" for figure in figures)


def _shown(value: float | None, counts: bool) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if counts else f"{value:.3f}"


def main() -> None:
    table = read_measures(Folder.of(Path()))
    rows = zip(*(table[name].tolist() for name in ("measure", "null", "value", "chance")), strict=True)
    values: dict[str, float] = {}
    beside: dict[tuple[str, str], float] = {}
    for name, null, value, chance in rows:
        values[name], beside[name, null] = value, chance
    print("\n" + _line("", "neurons", "by chance", "random"))
    print(_line("", "", "", "directions"))
    for measure in HEADLINES:
        if measure.name in values:
            levels = (beside.get((measure.name, null)) for null in (measure.chance, "random_directions"))
            print(_line(measure.title, *(_shown(figure, measure.counts) for figure in (values[measure.name], *levels))))
    print("\n  who reaches what:  dvc metrics show      what an experiment changed:  dvc metrics diff")
    print(f"  all figures:       {layout.METRICS}/detail/")
    print(f"  the report:        {layout.REPORT}/index.html\n")


if __name__ == "__main__":
    run_stage(main)
