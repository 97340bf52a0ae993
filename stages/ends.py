"""ends: descriptors of every neuron's negative end, where `extract.also` keeps it, and their replication."""

from descry.analyses.ends import measure_ends
from descry.assignment.rules import RULES, assign_by, assign_splits, tabulate_assignments
from descry.evaluation.association import tabulate_associations
from descry.evaluation.chance import Draws, tabulate_measures
from descry.results import layout
from descry.schemas.assign import ASSIGNMENT_TABLE
from descry.schemas.associate import ASSOCIATION_TABLE
from descry.schemas.measures import MEASURE_TABLE
from descry.settings.measuring import Associate, Consistency
from descry.settings.neurons import Assign
from descry.storage.tables import write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.inputs import read_activation_pair, read_labels, read_negative, read_review_ids, to_rule

SCHEMAS = {"assignments": ASSIGNMENT_TABLE, "associations": ASSOCIATION_TABLE, "measures": MEASURE_TABLE}


def main() -> None:
    rule, bootstrap, draws = to_rule(read_settings(Assign)), read_settings(Associate), read_settings(Consistency)
    tables, negative = dict.fromkeys(SCHEMAS), read_negative()
    if negative is not None:
        labels, _, names = read_labels("first")
        positive = read_activation_pair(layout.ACTIVATIONS, probe=False)
        sets = [end.map(lambda split: split.exemplars(rule.exemplars)) for end in (positive, negative)]
        found, opposite = (assign_splits(exemplars, labels, rule) for exemplars in sets)
        ruled = assign_by(RULES, opposite.calibration.evidence, rule)
        assigned = tabulate_assignments(ruled, negative.calibration.layer, negative.calibration.index, names)
        pairs = assigned.loc[assigned[f"{rule.name}_assigned"], ["layer", "index", "descriptor"]]
        reviews = read_review_ids().validation
        strength = tabulate_associations(pairs, negative, labels, names, reviews, rule, **bootstrap.model_dump())
        measures = tabulate_measures(*measure_ends(found, opposite, Draws(draws.repeats, draws.seed)))
        tables |= {"assignments": assigned, "associations": strength, "measures": measures}
        described = opposite.calibration.described
        print(f"{int(described.sum()):,} of {len(described):,} neurons described at their negative end")
    for name, table in tables.items():
        write_table(layout.ENDS / f"{name}.parquet", table, SCHEMAS[name])


if __name__ == "__main__":
    run_stage(main)
