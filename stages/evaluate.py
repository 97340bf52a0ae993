"""evaluate: what the descriptors, the labels and the neurons are worth, each beside chance."""

from functools import partial
from typing import Any

import numpy as np

from descry import artifacts, evaluation, nesting, nulls
from descry.artifacts import Activations
from descry.assignment import Findings, assign, gather
from descry.evaluation import Pair, Reference, Study
from descry.gold import aspect_table, confusion, label_quality, match, quality
from descry.nulls import Measure
from descry.settings import Assign, Evaluate
from stages import _inputs, _stage


def main() -> None:
    chosen, settings = _stage.settings(Assign), _stage.settings(Evaluate)
    rule = chosen.model_dump(exclude={"exemplars"})
    labels, scores, names = _inputs.labels("first")
    aspects, gold = _inputs.gold()
    reviews, active = _inputs.reviews(), _inputs.activations(_stage.ACTIVATIONS)
    repeated = partial(nulls.repeated, repeats=settings.repeats, seed=settings.seed)
    probe = active.validation.probe_rows

    references = {"labels": Reference(labels.validation[probe])}
    studies = [Study(labels, references)]
    if aspects:
        aspect_of = match(scores.calibration, gold.calibration)[1]
        references["gold"] = Reference(gold.validation[probe], aspect_of)
        studies.append(Study(gold, {"gold": Reference(gold.validation[probe])}, oracle=True))

    second, second_scores, _ = _inputs.labels("second")
    sets = active.calibration.exemplars(chosen.exemplars)
    one, other = (assign(gather(sets, opinion.calibration), **rule) for opinion in (labels, second))

    def confirmed(by: Findings) -> dict[str, Any]:
        return {"second_opinion": evaluation.agreement(one, by)}

    def worth(moved: nulls.Move) -> dict[str, Any]:
        return quality(moved(scores), moved(labels), gold) | {
            "second_opinion": label_quality(moved(second_scores), moved(second), gold)
        }

    measures: dict[str, Any] = {
        "labels": evaluation.label_shares(np.concatenate([labels.calibration, labels.validation])),
        "descriptors": {"count": len(names)},
        **confirmed(other),
    }
    chance: dict[str, dict[str, np.ndarray]] = {
        "permuted_neurons": repeated(lambda generator: confirmed(other.take(generator.permutation(len(sets)))))
    }
    if aspects:
        for name, block in worth(lambda rows: rows).items():
            measures[name] |= block
        chance["shuffled_labels"] = repeated(lambda generator: worth(nulls.moved(reviews, generator)))
    for name, opinion in (("labels", "first"), ("second_opinion", "second")):
        agreed = artifacts.read_table(_stage.LABELS / opinion / "agreement.parquet", "agreement", optional=True)
        given = agreed[agreed["positives"] > 0]
        if len(given):
            measures[name]["agreement"] = given["f1"].mean()
            chance.setdefault("shuffled_labels", {})[f"{name}.agreement"] = given[["chance"]].mean().to_numpy()
    for study in studies:

        def measuring(by: Pair[Activations], study: Study = study) -> Measure:
            return partial(study.measures, fired=evaluation.fired(by), ks=settings.ks)

        found, own, runs = nulls.beside_chance(
            active,
            _inputs.controls(),
            study.labels,
            reviews,
            measuring,
            rule=rule,
            exemplars=chosen.exemplars,
            repeats=settings.repeats,
            seed=settings.seed,
        )
        common = study.named(nulls.most_common(found, study.references, settings.ks))
        runs["most_common"] = {name: np.array([value]) for name, value in nesting.flat(common).items()}
        measures |= own
        for null, values in runs.items():
            chance.setdefault(null, {}).update(values)
    called = (aspects, names)
    tables = {
        "measures": nulls.beside(measures, chance),
        "aspects": aspect_table(called, scores, labels, gold),
        "confusion": confusion(called, labels.validation, gold.validation),
    }
    for kind, table in tables.items():
        artifacts.write_table(_stage.EVALUATION / f"{kind}.parquet", table, kind)


if __name__ == "__main__":
    _stage.run(main)
