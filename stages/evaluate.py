"""evaluate: precision and recall of descriptors, labels and neurons, each beside chance."""

from descry.evaluation.chance import Draws
from descry.results import layout
from descry.schemas.evaluate import ASPECT_TABLE, CONFUSION_TABLE
from descry.schemas.measures import MEASURE_TABLE
from descry.settings.measuring import Evaluate
from descry.settings.neurons import Assign
from descry.storage.tables import write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.evaluation import read_evaluation
from stages.shared.inputs import to_rule

SCHEMAS = {"measures": MEASURE_TABLE, "aspects": ASPECT_TABLE, "confusion": CONFUSION_TABLE}


def main() -> None:
    rule, settings = to_rule(read_settings(Assign)), read_settings(Evaluate)
    draws = Draws(settings.repeats, settings.seed)
    for name, table in read_evaluation().tables(rule, settings.ks, draws).items():
        write_table(layout.EVALUATION / f"{name}.parquet", table, SCHEMAS[name])


if __name__ == "__main__":
    run_stage(main)
