"""judge: descriptions in free text, given in a file or written by `describe`, scored on validation beside chance."""

from pathlib import Path

import pandas as pd

from descry.activations.record import read_activations
from descry.judging.descriptions import Description, Descriptions, read_descriptions
from descry.judging.judge import HeldOut, gather_held_out, judge
from descry.judging.measures import tabulate_judged
from descry.results import layout
from descry.schemas.describe import WRITTEN_TABLE
from descry.schemas.judge import JUDGED_TABLE
from descry.schemas.measures import MEASURE_TABLE
from descry.schemas.split import SENTENCE_TABLE
from descry.settings.measuring import Judge
from descry.settings.neurons import Assign
from descry.settings.runtime import Runtime, Sharding
from descry.splits import SPLITS
from descry.storage.tables import read_table, write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.described import read_first
from stages.shared.encoder import open_encoder

SCHEMAS = {"units": JUDGED_TABLE, "measures": MEASURE_TABLE}


def _read_written() -> Descriptions:
    table = read_table(layout.WRITTEN, WRITTEN_TABLE)[["layer", "index", "description"]]
    rows = (Description(f"{layout.WRITTEN}, {row[0]}:{row[1]}", *row) for row in table.itertuples(index=False))
    return Descriptions(str(layout.WRITTEN), tuple(rows))


def _read_held_out(rule: str) -> HeldOut:
    texts = {split: read_table(layout.SENTENCES / f"{split}.parquet", SENTENCE_TABLE)["text"] for split in SPLITS}
    active = read_activations(layout.ACTIVATIONS / "validation.safetensors")
    return gather_held_out(active, texts["validation"].to_numpy(), texts["calibration"].to_numpy(), read_first(rule))


def main() -> None:
    settings, rule = read_settings(Judge), read_settings(Assign).rule
    runtime, sharding = read_settings(Runtime), read_settings(Sharding)
    described = {"given": read_descriptions(Path(settings.source)), "written": _read_written()}
    judged = {whose: descriptions for whose, descriptions in described.items() if descriptions.rows}
    tables = dict.fromkeys(SCHEMAS)
    if judged:
        held_out = _read_held_out(rule)
        with open_encoder("judge", runtime, sharding) as encoder:
            scored = {whose: judge(rows, held_out, encoder).assign(whose=whose) for whose, rows in judged.items()}
        measured = [tabulate_judged(table, whose) for whose, table in scored.items()]
        tables |= {"units": pd.concat(scored.values()), "measures": pd.concat(measured)}
    for name, schema in SCHEMAS.items():
        write_table(layout.JUDGE / f"{name}.parquet", tables[name], schema)


if __name__ == "__main__":
    run_stage(main)
