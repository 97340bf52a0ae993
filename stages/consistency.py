"""consistency: does validation say of each neuron what calibration said, and how much of that is chance."""

from dataclasses import fields

from descry import artifacts, nulls
from descry.assignment import Evidence, assign
from descry.evaluation import Pair, consistency_measures, replication
from descry.settings import Assign, Consistency
from stages import _stage


def _read(split: str) -> Evidence:
    arrays, _ = artifacts.read_arrays(_stage.EVIDENCE / f"{split}.safetensors", "evidence")
    return Evidence(**{field.name: arrays[field.name] for field in fields(Evidence)})


def main() -> None:
    rule = _stage.settings(Assign).model_dump(exclude={"exemplars"})
    settings = _stage.settings(Consistency)
    found = Pair(*(assign(_read(split), **rule) for split in _stage.SPLITS))
    measures = consistency_measures(found)
    chance = nulls.means(
        nulls.repeated(
            lambda generator: consistency_measures(nulls.permuted_neurons(found, generator)),
            repeats=settings.repeats,
            seed=settings.seed,
        )
    )
    for name in ("jaccard", "pooled_jaccard", "top2_jaccard", "replication"):
        measures[f"{name}_null"] = chance[name]
        measures[f"{name}_adjusted"] = nulls.adjusted(measures[name], chance[name])
    measures["replication_unassigned"] = replication(~found.calibration.assigned, found.validation.log_p)
    artifacts.write_metrics(_stage.METRICS / "consistency.json", measures)


if __name__ == "__main__":
    _stage.run(main)
