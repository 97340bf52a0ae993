"""associate: test every assigned pair on validation: is it found again, and how strong is its association?"""

from descry.evaluation.association import tabulate_associations
from descry.results import layout
from descry.schemas.assign import ASSIGNMENT_TABLE
from descry.schemas.associate import ASSOCIATION_TABLE
from descry.settings.measuring import Associate
from descry.settings.neurons import Assign
from descry.storage.tables import read_table, write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.inputs import read_activation_pair, read_labels, read_review_ids, to_rule


def main() -> None:
    rule, settings = read_settings(Assign), read_settings(Associate)
    active = read_activation_pair(layout.ACTIVATIONS)
    labels, _, names = read_labels("first")
    assigned = read_table(layout.ASSIGNMENTS / "calibration.parquet", ASSIGNMENT_TABLE)
    pairs = assigned.loc[assigned[f"{rule.rule}_assigned"], ["layer", "index", "descriptor"]]
    table = tabulate_associations(
        pairs, active, labels, names, read_review_ids().validation, to_rule(rule), **settings.model_dump()
    )
    write_table(layout.ASSOCIATIONS, table, ASSOCIATION_TABLE)
    median = f", median correlation {table['pearson'].median():.3f} on validation" if len(pairs) else ""
    print(f"{len(pairs):,} pairs{median}")


if __name__ == "__main__":
    run_stage(main)
