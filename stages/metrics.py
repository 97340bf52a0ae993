"""metrics: DVC's table of who reaches what, and the detail behind it, out of the tables of all measures."""

from pathlib import Path

from descry.results import layout
from descry.results.metrics import (
    Levels,
    Values,
    arrange_beyond,
    arrange_consistency,
    arrange_evaluation,
    arrange_resplits,
    arrange_rows,
    arrange_split_std,
    read_levels,
)
from descry.results.noise import summarise_splits
from descry.schemas.measures import MEASURE_TABLE
from descry.schemas.resplit import RESPLIT_TABLE
from descry.splits import SPLITS
from descry.storage.files import read_json, write_metrics
from descry.storage.tables import read_table
from stages.harness.stage import run_stage


def _read(*folders: Path) -> tuple[Values, Levels]:
    return read_levels(read_table(folder / "measures.parquet", MEASURE_TABLE) for folder in folders)


def main() -> None:
    both = _read(layout.EVALUATION, layout.CONSISTENCY)
    for name, row in arrange_rows(*_read(layout.EVALUATION, layout.CONSISTENCY, layout.JUDGE)).items():
        write_metrics(layout.METRICS / f"{name}.json", row)
    spreads = summarise_splits(read_table(layout.RESPLITS, RESPLIT_TABLE))
    write_metrics(layout.METRICS / "split_std.json", arrange_split_std(spreads))
    detail = layout.METRICS / "detail"
    write_metrics(detail / "resplits.json", arrange_resplits(*both, spreads))
    write_metrics(detail / "consistency.json", arrange_consistency(*_read(layout.CONSISTENCY)))
    write_metrics(detail / "evaluation.json", arrange_evaluation(*_read(layout.EVALUATION)))
    write_metrics(detail / "beyond.json", arrange_beyond(*_read(*layout.ANALYSES)))
    write_metrics(detail / "units.json", {split: read_json(layout.UNITS / f"{split}.json") for split in SPLITS})


if __name__ == "__main__":
    run_stage(main)
