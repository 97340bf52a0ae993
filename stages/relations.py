"""relations: which descriptors go together in sentences and in neurons, on either split, beside chance; and whether the
units of a descriptor fire together."""

import pandas as pd

from descry.analyses import cofiring
from descry.analyses.relation_measures import measure_relations
from descry.analyses.relations import find_relations
from descry.assignment.rules import assign_splits
from descry.evaluation.chance import Draws, tabulate_measures
from descry.results import layout
from descry.schemas.measures import MEASURE_TABLE
from descry.schemas.relations import COFIRING_TABLE, EXCLUSIVE_TABLE, RELATION_TABLE
from descry.settings.measuring import Relations
from descry.settings.neurons import Assign
from descry.splits import Pair
from descry.storage.tables import write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.inputs import read_activation_pair, read_labels, read_review_ids, to_rule

SCHEMAS = {
    **dict.fromkeys(("calibration", "validation"), RELATION_TABLE),
    "cofiring": COFIRING_TABLE,
    "exclusive": EXCLUSIVE_TABLE,
    "measures": MEASURE_TABLE,
}


def main() -> None:
    settings, rule = read_settings(Relations), to_rule(read_settings(Assign))
    tables: dict[str, pd.DataFrame | None] = dict.fromkeys(SCHEMAS)
    if settings.enabled:
        active = read_activation_pair(layout.ACTIVATIONS)
        labels, scores, names = read_labels("first")
        sets = active.map(lambda split: split.exemplars(rule.exemplars))
        findings = assign_splits(sets, labels, rule)
        parts = zip(sets, labels, scores, read_review_ids(), findings, strict=True)
        relations = Pair(*(find_relations(names, *part, rule) for part in parts))
        tables |= vars(relations.map(lambda split: split.table()))
        assigned, layer = findings.calibration.assigned, active.calibration.layer
        draws = Draws(settings.repeats, settings.seed)
        related = measure_relations(relations, assigned, layer, alpha=settings.alpha, draws=draws)
        groups = cofiring.find_descriptor_units(findings.calibration, active, labels)
        tables["cofiring"], *cofired = cofiring.analyse_cofiring(names, groups, settings.alpha, draws)
        tables["exclusive"] = cofiring.tabulate_exclusive(names, groups, active.calibration, settings.alpha)
        figures = [tabulate_measures(*measured) for measured in (related, cofired)]
        tables["measures"] = pd.concat(figures, ignore_index=True)
    for name, table in tables.items():
        write_table(layout.RELATIONS / f"{name}.parquet", table, SCHEMAS[name])


if __name__ == "__main__":
    run_stage(main)
