"""relations: which descriptors go together, in sentences and in neurons, on either split and beside chance."""

from descry import artifacts, nulls
from descry.evaluation import Pair
from descry.relation_measures import measures
from descry.relations import relations
from descry.settings import Assign, Relations
from stages import _inputs, _stage


def main() -> None:
    settings, chosen = _stage.settings(Relations), _stage.settings(Assign)
    tables, figures = dict.fromkeys(_stage.SPLITS), None
    if settings.enabled:
        rule = chosen.model_dump(exclude={"exemplars"})
        active = _inputs.activations(_stage.ACTIVATIONS, probe=False)
        labels, scores, names = _inputs.labels("first")
        sets = active.map(lambda split: split.exemplars(chosen.exemplars))
        findings = nulls.findings(sets, labels, rule)
        reviews = _inputs.reviews()
        found = Pair(
            *(
                relations(names, own, given, score, texts, said, rule)
                for own, given, score, texts, said in zip(
                    *(vars(part).values() for part in (sets, labels, scores, reviews, findings)), strict=True
                )
            )
        )
        tables = {split: one.table() for split, one in vars(found).items()}
        assigned, options = findings.calibration.assigned, settings.model_dump(exclude={"enabled"})
        figures = nulls.beside(*measures(found, assigned, active.calibration.layer, **options))
    for split, table in tables.items():
        artifacts.write_table(_stage.RELATIONS / f"{split}.parquet", table, "relations")
    artifacts.write_table(_stage.RELATIONS / "measures.parquet", figures, "measures")


if __name__ == "__main__":
    _stage.run(main)
