"""What do the repeats behind chance cost, against one pass of the model over the corpus? Side by side, in one run.

Run after `dvc repro`: python benchmarks/chance.py. Writes benchmarks/results/chance.json.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import yaml

from descry import artifacts
from descry.activations import extract
from descry.evaluation import Pair, Reference, Study, consistency_measures, fired
from descry.gold import aspect_labels, aspect_names, match
from descry.nulls import beside_chance
from descry.target import Target

REPEATS, ROUNDS = 20, 3
SPLITS = ("calibration", "validation")
PARAMETERS = yaml.safe_load(Path("params.yaml").read_text())
RULE = {name: value for name, value in PARAMETERS["assign"].items() if name != "exemplars"}


def seconds(work: Callable[[], Any]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def main() -> None:
    sentences = [artifacts.read_table(Path(f"data/sentences/{s}.parquet"), "sentences") for s in SPLITS]
    active = Pair(*(artifacts.read_activations(Path(f"data/activations/{s}.safetensors")) for s in SPLITS))
    arrays = [artifacts.read_arrays(Path(f"data/labels/first/{s}.safetensors"), "labels")[0] for s in SPLITS]
    labels = Pair(*(one["labels"] for one in arrays))
    aspects = [artifacts.read_table(Path(f"data/gold/{s}.parquet"), "gold")["aspects"] for s in SPLITS]
    names = aspect_names(*aspects)
    gold = Pair(*(aspect_labels(one, names) for one in aspects))
    reviews = Pair(*(list(table["review_id"]) for table in sentences))
    probe = active.validation.probe_rows
    aspect_of = match(arrays[0]["scores"], gold.calibration)[1]
    references = {"labels": Reference(labels.validation[probe]), "gold": Reference(gold.validation[probe], aspect_of)}
    studies = [Study(labels, references), Study(gold, {"gold": Reference(gold.validation[probe])}, oracle=True)]
    seen = fired(active)

    def under_both_nulls(study: Study, repeats: int) -> None:
        predicted = partial(study.measures, fired=seen, ks=PARAMETERS["evaluate"]["ks"])
        beside_chance(
            active,
            {},
            study.labels,
            reviews,
            lambda _: lambda found, columns: {**predicted(found, columns), **consistency_measures(found)},
            rule=RULE,
            exemplars=PARAMETERS["assign"]["exemplars"],
            repeats=repeats,
            seed=0,
        )

    target = Target(Path("data/models/target"))
    rounds = []
    for _ in range(ROUNDS):
        passed = sum(
            seconds(
                partial(extract, target, table["text"].tolist(), split.probe_rows, top_k=PARAMETERS["extract"]["top_k"])
            )
            for table, split in zip(sentences, vars(active).values(), strict=True)
        )
        repeated = sum(seconds(partial(under_both_nulls, study, REPEATS)) for study in studies)
        rounds.append({"model_pass_seconds": passed, "repeats_seconds": repeated, "ratio": repeated / passed})
        print(rounds[-1])
    ratio = float(np.median([one["ratio"] for one in rounds]))
    content = {"repeats": REPEATS, "nulls": ["random_exemplars", "shuffled_labels"], "ratio": round(ratio, 3)}
    content["rounds"] = [{name: round(value, 3) for name, value in one.items()} for one in rounds]
    artifacts.write_json(Path("benchmarks/results/chance.json"), content)


if __name__ == "__main__":
    main()
