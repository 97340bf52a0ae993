"""evaluate: precision and recall of descriptors, labels and neurons, each beside chance."""

from descry.evaluation.chance import Draws
from descry.evaluation.evaluate import Evaluation, Opinion
from descry.results import layout
from descry.schemas.evaluate import ASPECT_TABLE, CONFUSION_TABLE
from descry.schemas.label import AGREEMENT_TABLE
from descry.schemas.measures import MEASURE_TABLE
from descry.settings.measuring import Evaluate
from descry.settings.neurons import Assign
from descry.storage.tables import read_table, write_table
from stages.harness.stage import read_settings, run_stage
from stages.shared.gold import read_gold
from stages.shared.inputs import list_controls, read_activation_pair, read_labels, read_review_ids, to_rule

SCHEMAS = {"measures": MEASURE_TABLE, "aspects": ASPECT_TABLE, "confusion": CONFUSION_TABLE}


def _read_opinion(which: str) -> Opinion:
    labels, scores, _ = read_labels(which)
    taught = read_table(layout.LABELS / which / "agreement.parquet", AGREEMENT_TABLE, optional=True)
    return Opinion(labels, scores, taught)


def main() -> None:
    rule, settings = to_rule(read_settings(Assign)), read_settings(Evaluate)
    aspects, gold = read_gold()
    evaluation = Evaluation(
        active=read_activation_pair(layout.ACTIVATIONS),
        controls=list_controls(),
        names=read_labels("first")[2],
        opinions=(_read_opinion("first"), _read_opinion("second")),
        aspects=aspects,
        gold=gold,
        reviews=read_review_ids(),
    )
    for name, table in evaluation.tables(rule, settings.ks, Draws(settings.repeats, settings.seed)).items():
        write_table(layout.EVALUATION / f"{name}.parquet", table, SCHEMAS[name])


if __name__ == "__main__":
    run_stage(main)
