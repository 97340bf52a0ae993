"""What do the random draws behind chance levels cost, relative to one pass of the model over the corpus?

Run after `dvc repro`: python -m benchmarks.chance. Writes benchmarks/results/chance.json.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import yaml

from descry.activations.extraction import extract
from descry.activations.record import read_activations
from descry.evaluation.chance import Draws
from descry.evaluation.gold import label_aspects, list_aspects, match_aspects
from descry.evaluation.measures import Assessment, Reference, measure_consistency
from descry.evaluation.nulls import measure_beside_chance
from descry.evaluation.voting import Firing
from descry.models.target import Target
from descry.schemas.label import LABEL_ARRAYS
from descry.schemas.split import GOLD_TABLE, SENTENCE_TABLE
from descry.settings.neurons import Assign
from descry.settings.parsing import parse_section
from descry.splits import SPLITS, Pair
from descry.storage.arrays import read_arrays
from descry.storage.files import write_json
from descry.storage.tables import read_table
from stages.shared.inputs import to_rule

REPEATS, ROUNDS = 20, 3
PARAMETERS = yaml.safe_load(Path("params.yaml").read_text())
RULE = to_rule(parse_section(Assign, PARAMETERS))


def seconds(work: Callable[[], Any]) -> float:
    """Time one call."""
    start = perf_counter()
    work()
    return perf_counter() - start


def main() -> None:
    sentences = [read_table(Path(f"data/sentences/{s}.parquet"), SENTENCE_TABLE) for s in SPLITS]
    active = Pair(*(read_activations(Path(f"data/activations/{s}.safetensors")) for s in SPLITS))
    arrays = [read_arrays(Path(f"data/labels/first/{s}.safetensors"), LABEL_ARRAYS)[0] for s in SPLITS]
    labels = Pair(*(one["labels"] for one in arrays))
    aspects = [read_table(Path(f"data/gold/{s}.parquet"), GOLD_TABLE)["aspects"] for s in SPLITS]
    names = list_aspects(*aspects)
    gold = Pair(*(label_aspects(one, names) for one in aspects))
    reviews = Pair(*(list(table["review_id"]) for table in sentences))
    probe = active.validation.probe_rows
    aspect_of = match_aspects(arrays[0]["scores"], gold.calibration)[1]
    references = {"labels": Reference(labels.validation[probe]), "gold": Reference(gold.validation[probe], aspect_of)}
    studies = [
        Assessment(labels, references),
        Assessment(gold, {"gold": Reference(gold.validation[probe])}, oracle=True),
    ]
    seen = Firing.of(active, reviews.calibration)

    def under_both_nulls(study: Assessment, repeats: int) -> None:
        predicted = partial(study.measures, fired=seen, ks=PARAMETERS["evaluate"]["ks"])
        measure_beside_chance(
            active,
            {},
            study.labels,
            reviews,
            lambda _: lambda found, *given: {**predicted(found, *given), **measure_consistency(found)},
            rule=RULE,
            draws=Draws(repeats, 0),
        )

    target = Target(Path("data/models/target"))
    rounds = []
    for _ in range(ROUNDS):
        passed = sum(
            seconds(
                partial(extract, target, table["text"].tolist(), split.probe_rows, top_k=PARAMETERS["extract"]["top_k"])
            )
            for table, split in zip(sentences, active, strict=True)
        )
        repeated = sum(seconds(partial(under_both_nulls, study, REPEATS)) for study in studies)
        rounds.append({"model_pass_seconds": passed, "repeats_seconds": repeated, "ratio": repeated / passed})
        print(rounds[-1])
    ratio = float(np.median([one["ratio"] for one in rounds]))
    content = {"repeats": REPEATS, "nulls": ["random_exemplars", "shuffled_labels"], "ratio": round(ratio, 3)}
    content["rounds"] = [{name: round(value, 3) for name, value in one.items()} for one in rounds]
    write_json(Path("benchmarks/results/chance.json"), content)


if __name__ == "__main__":
    main()
