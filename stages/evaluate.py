"""evaluate: what the descriptors, the labels and the neurons are worth, each beside chance."""

from functools import partial

import numpy as np

from descry import artifacts, evaluation
from descry.evaluation import Pair, Reference
from descry.nulls import beside_chance
from descry.settings import Assign, Evaluate
from stages import _stage


def main() -> None:
    chosen, settings = _stage.settings(Assign), _stage.settings(Evaluate)
    active = Pair(*(artifacts.read_activations(_stage.ACTIVATIONS / f"{split}.safetensors") for split in _stage.SPLITS))
    labelled = [artifacts.read_arrays(_stage.LABELS / f"{split}.safetensors", "labels")[0] for split in _stage.SPLITS]
    labels, scores = (Pair(*(arrays[name] for arrays in labelled)) for name in ("labels", "scores"))
    tables = [artifacts.read_table(_stage.GOLD / f"{split}.parquet", "gold")["aspects"] for split in _stage.SPLITS]
    aspects = evaluation.aspect_names(*tables)
    gold = Pair(*(evaluation.aspect_labels(table, aspects) for table in tables))
    probe = active.validation.probe_rows
    study = partial(
        beside_chance,
        active=active,
        fired=Pair(
            *(evaluation.firing(split, active.calibration) for split in (active.calibration, active.validation))
        ),
        rule=chosen.model_dump(exclude={"exemplars"}),
        exemplars=chosen.exemplars,
        ks=settings.ks,
        repeats=settings.repeats,
        seed=settings.seed,
    )

    references = {"labels": Reference(labels.validation[probe])}
    if aspects:
        aspect_of = evaluation.match(scores.calibration, gold.calibration)[1]
        references["gold"] = Reference(gold.validation[probe], aspect_of)
    measures, chance = study(labels, references=references)
    del measures["replication"]  # metrics/consistency.json has it
    measures["labels"] = evaluation.label_shares(np.concatenate([labels.calibration, labels.validation]))
    measures["descriptors"] = {"count": labels.calibration.shape[1]}
    if aspects:
        measures["labels"] |= evaluation.label_quality(scores, labels, gold)
        measures["descriptors"] |= evaluation.recovery(
            np.concatenate([scores.calibration, scores.validation]),
            np.concatenate([gold.calibration, gold.validation]),
        )
        measures["oracle"], oracle_chance = study(gold, references={"gold": Reference(gold.validation[probe])})
        for block in (measures["oracle"], *oracle_chance.values()):
            block["sentence"] = block["sentence"]["gold"]
        for name, block in oracle_chance.items():
            chance[name]["oracle"] = block
    artifacts.write_metrics(_stage.METRICS / "evaluation.json", measures | {"null": chance})


if __name__ == "__main__":
    _stage.run(main)
