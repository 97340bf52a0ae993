"""metrics: DVC's table of who reaches what, and the detail behind it, out of the tables of all measures."""

from pathlib import Path

from descry.results import layout
from descry.results.measures import MEASURES, find_measure, is_registered
from descry.schemas.measures import MEASURE_TABLE
from descry.storage.files import write_metrics
from descry.storage.nesting import nest
from descry.storage.tables import read_table
from stages.harness.stage import run_stage

ROWS = {"random_directions": "random_directions", "untrained": "untrained_target"}
"""Rows of DVC's table beside the neurons' and chance: the control that each shows."""
AGREEMENT = ("jaccard", "pooled_jaccard", "top2_jaccard", "replication")
GUESSES = ("precision_at_1", "precision_at_2", "recall_at_1", "recall_at_2")

Figures = dict[tuple[str, str], dict[str, float]]
"""(measure, null) -> chance and adjusted."""


def _read(*folders: Path) -> tuple[dict[str, float], Figures]:
    """Every measure's value, and its figures beside each null."""
    values: dict[str, float] = {}
    figures: Figures = {}
    for folder in folders:
        table = read_table(folder / "measures.parquet", MEASURE_TABLE)
        for name, null, value, chance, adjusted in table[["measure", "null", "value", "chance", "adjusted"]].values:
            values[name] = int(value) if find_measure(name).counts else value
            figures[name, null] = {"chance": chance, "adjusted": adjusted}
    return values, figures


def _table() -> dict[str, dict[str, float]]:
    """DVC's table: who, then what. A column that several measures may fill shows the first that was measured."""
    values, beside = _read(layout.EVALUATION, layout.CONSISTENCY)
    rows: dict[str, dict[str, float]] = {"neurons": {}, "chance": {}, **{row: {} for row in ROWS}}
    for measure in MEASURES:
        if measure.column and measure.name in values and measure.column not in rows["neurons"]:
            rows["neurons"][measure.column] = values[measure.name]
            for row, null in {"chance": measure.chance, **ROWS}.items():
                if (measure.name, null) in beside:
                    rows[row][measure.column] = beside[measure.name, null]["chance"]
    return rows


def _consistency() -> dict[str, float]:
    values, beside = _read(layout.CONSISTENCY)
    out = {name: values[name] for name in ("coverage", "pairs", "calibrated_alpha")}
    for name in AGREEMENT:
        row = beside[name, find_measure(name).chance]
        out |= {name: values[name], f"{name}_null": row["chance"], f"{name}_adjusted": row["adjusted"]}
    out["replication_unassigned"] = beside["replication", "unassigned_pairs"]["chance"]
    out["attained_error"] = min(1.0, beside["pairs", find_measure("pairs").chance]["chance"] / max(values["pairs"], 1))
    others = {(null, name): row["chance"] for (name, null), row in beside.items() if name in ("jaccard", "replication")}
    return nest(out | {f"null.{null}.{name}": chance for (null, name), chance in others.items()})


def _evaluation() -> dict[str, float]:
    values, beside = _read(layout.EVALUATION)
    out = {name: value for name, value in values.items() if "_at_" not in name or name.endswith(GUESSES)}
    for (name, null), row in beside.items():
        if null and is_registered(name):
            out[f"null.{null}.{name}"] = row["chance"]
            if null == find_measure(name).chance == "most_common":
                out[f"adjusted.{name}"] = row["adjusted"]
    return nest(out)


def _beyond() -> dict[str, float]:
    folders = (layout.TRIGGERS, layout.RELATIONS, layout.DEPTH, layout.REPLICATION, layout.ABLATION)
    values, beside = _read(*folders)
    own = {name: find_measure(name).chance for name in values if is_registered(name)}
    out = {name: values[name] for name in own}
    out |= {f"null.{null}.{name}": beside[name, null]["chance"] for name, null in own.items() if null}
    if (chance := out.get("null.unassigned_pairs.transfer.replication")) is not None:
        out["transfer.chance"] = chance
    return nest(out)


def main() -> None:
    for name, row in _table().items():
        write_metrics(layout.METRICS / f"{name}.json", row)
    for name, measures in (("evaluation", _evaluation), ("consistency", _consistency), ("beyond", _beyond)):
        write_metrics(layout.METRICS / "detail" / f"{name}.json", measures())


if __name__ == "__main__":
    run_stage(main)
