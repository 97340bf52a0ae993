"""consistency: how well the descriptors of neurons on calibration and on validation agree, beside chance."""

from descry.evaluation.chance import Draws
from descry.evaluation.consistency import tabulate_consistency
from descry.results import layout
from descry.schemas.consistency import P_VALUE_TABLE
from descry.schemas.measures import MEASURE_TABLE
from descry.settings.measuring import Consistency
from descry.settings.neurons import Assign
from descry.storage.tables import write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.inputs import list_controls, read_activation_pair, read_labels, read_review_ids, to_rule

SCHEMAS = {"measures": MEASURE_TABLE, "p_values": P_VALUE_TABLE}


def main() -> None:
    rule, settings = to_rule(read_settings(Assign)), read_settings(Consistency)
    tables = tabulate_consistency(
        read_activation_pair(layout.ACTIVATIONS, probe=False),
        list_controls(probe=False),
        read_labels("first")[0],
        read_review_ids(),
        rule,
        Draws(settings.repeats, settings.seed),
    )
    for name, table in tables.items():
        write_table(layout.CONSISTENCY / f"{name}.parquet", table, SCHEMAS[name])


if __name__ == "__main__":
    run_stage(main)
