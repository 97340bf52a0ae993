"""What `make` prints at the end: the headline figures beside chance and random directions, and where the report is."""

from pathlib import Path

from descry.results import layout
from descry.results.columns import Folder, read_measures, read_stds
from descry.results.measures import HEADLINES
from descry.results.noise import RANDOM_DIRECTIONS, judge_gap
from stages.harness.stage import run_stage

WIDTH = 80


def _line(title: str, *figures: str) -> str:
    return f"  {title:<{WIDTH}}" + "".join(f"{figure:>12}" for figure in figures)


def _shown(value: float | None, counts: bool) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if counts else f"{value:.3f}"


def main() -> None:
    folder = Folder.of(Path())
    table = read_measures(folder)
    rows = zip(*(table[name].tolist() for name in ("measure", "null", "value", "chance")), strict=True)
    values: dict[str, float] = {}
    beside: dict[tuple[str, str], float] = {}
    for name, null, value, chance in rows:
        values[name], beside[name, null] = value, chance
    stds = read_stds(folder)
    print("\n" + _line("", "neurons", "std over", "by chance", "random", "neurons"))
    print(_line("", "", "splits", "", "directions", "are"))
    for measure in HEADLINES:
        if measure.name in values:
            value, std = values[measure.name], stds.get(measure.name)
            chance, directions = (beside.get((measure.name, null)) for null in (measure.chance, RANDOM_DIRECTIONS))
            verdict = judge_gap(value, directions, std) or ""
            print(_line(measure.title, *(_shown(f, measure.counts) for f in (value, std, chance, directions)), verdict))
    print("\n  who reaches what:  dvc metrics show      what an experiment changed:  dvc metrics diff")
    print(f"  all figures:       {layout.METRICS}/detail/")
    print(f"  the report:        {layout.REPORT}/index.html\n")


if __name__ == "__main__":
    run_stage(main)
