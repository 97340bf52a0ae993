"""judge: descriptions in free text, given in a file or written by `describe`, scored on validation beside chance."""

from pathlib import Path

import pandas as pd

from descry.judging.descriptions import read_descriptions
from descry.judging.judge import judge
from descry.judging.measures import tabulate_judged
from descry.results import layout
from descry.schemas.judge import JUDGED_TABLE
from descry.schemas.measures import MEASURE_TABLE
from descry.settings.llms import Llms
from descry.settings.measuring import Judge
from descry.settings.neurons import Assign
from descry.settings.runtime import Asking, Runtime, Sharding
from descry.storage.tables import write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.judging import open_fitter, read_held_out, read_written

SCHEMAS = {"units": JUDGED_TABLE, "measures": MEASURE_TABLE}


def main() -> None:
    settings, rule = read_settings(Judge), read_settings(Assign).rule
    llms, asking = read_settings(Llms), read_settings(Asking)
    runtime, sharding = read_settings(Runtime), read_settings(Sharding)
    described = {"given": read_descriptions(Path(settings.source)), "written": read_written()}
    judged = {whose: descriptions for whose, descriptions in described.items() if descriptions.rows}
    tables = dict.fromkeys(SCHEMAS)
    if judged:
        held_out = read_held_out(rule)
        with open_fitter(settings.llm, llms, asking, runtime, sharding) as fitter:
            scored = {whose: judge(rows, held_out, fitter).assign(whose=whose) for whose, rows in judged.items()}
        measured = [tabulate_judged(table, whose) for whose, table in scored.items()]
        tables |= {"units": pd.concat(scored.values()), "measures": pd.concat(measured)}
    for name, schema in SCHEMAS.items():
        write_table(layout.JUDGE / f"{name}.parquet", tables[name], schema)


if __name__ == "__main__":
    run_stage(main)
