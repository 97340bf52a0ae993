"""relations: which descriptors go together in sentences and in neurons, on either split, beside chance."""

from descry.analyses.relation_measures import measure_relations
from descry.analyses.relations import find_relations
from descry.assignment.rules import assign_splits
from descry.evaluation.chance import Draws, tabulate_measures
from descry.results import layout
from descry.schemas.measures import MEASURE_TABLE
from descry.schemas.relations import RELATION_TABLE
from descry.settings.measuring import Relations
from descry.settings.neurons import Assign
from descry.splits import SPLITS, Pair
from descry.storage.tables import write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.inputs import read_activation_pair, read_labels, read_review_ids, to_rule


def main() -> None:
    settings, rule = read_settings(Relations), to_rule(read_settings(Assign))
    tables, figures = dict.fromkeys(SPLITS), None
    if settings.enabled:
        active = read_activation_pair(layout.ACTIVATIONS, probe=False)
        labels, scores, names = read_labels("first")
        sets = active.map(lambda split: split.exemplars(rule.exemplars))
        findings = assign_splits(sets, labels, rule)
        reviews = read_review_ids()
        parts = zip(sets, labels, scores, reviews, findings, strict=True)
        relations = Pair(*(find_relations(names, *part, rule) for part in parts))
        tables = dict(zip(SPLITS, relations.map(lambda split: split.table()), strict=True))
        assigned, layer = findings.calibration.assigned, active.calibration.layer
        draws = Draws(settings.repeats, settings.seed)
        figures = tabulate_measures(*measure_relations(relations, assigned, layer, alpha=settings.alpha, draws=draws))
    for split, table in tables.items():
        write_table(layout.RELATIONS / f"{split}.parquet", table, RELATION_TABLE)
    write_table(layout.RELATIONS / "measures.parquet", figures, MEASURE_TABLE)


if __name__ == "__main__":
    run_stage(main)
