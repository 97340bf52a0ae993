"""Which pooling, number of exemplars and alpha? Chosen on calibration alone, by the agreement of its two halves.

Run after `dvc repro`: python -m benchmarks.choice. Writes benchmarks/results/choice.json. Halves are cut by review.
"""

from itertools import product
from pathlib import Path

import numpy as np

from descry.activations.extraction import extract
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import Rule, assign
from descry.corpus.sampling import choose_split
from descry.evaluation.chance import adjust
from descry.evaluation.measures import measure_consistency
from descry.evaluation.nulls import permute_neurons
from descry.models.target import Target
from descry.schemas.label import LABEL_ARRAYS
from descry.schemas.split import SENTENCE_TABLE
from descry.splits import Pair
from descry.storage.arrays import read_arrays
from descry.storage.files import write_json
from descry.storage.tables import read_table

KEYS = ("one", "two", "three")
SETTINGS = list(product(("mean", "max"), (50, 100, 200, 400), (0.01, 0.05)))


def halves(review_ids: list[str], key: str) -> np.ndarray:
    """Select the sentences of one half of the reviews: bool [sentences]."""
    return np.array([choose_split(review, key=key, validation=0.5) == "validation" for review in review_ids])


def measure(values: np.ndarray, labels: np.ndarray, half: np.ndarray, k: int, alpha: float) -> dict[str, float]:
    """Measure the agreement of the two halves' findings; values: float [sentences, neurons]."""
    found = []
    for rows in (half, ~half):
        best = np.argpartition(-values[rows], k, axis=0)[:k].T
        found.append(assign(gather_evidence(best, labels[rows]), Rule(alpha=alpha)))
    pair = Pair(*found)
    measures = measure_consistency(pair)
    null = measure_consistency(permute_neurons(pair, np.random.default_rng(0)))
    measures["jaccard_adjusted"] = adjust(measures["jaccard"], null["jaccard"])
    return {name: measures[name] for name in ("jaccard_adjusted", "replication", "coverage")}


def main() -> None:
    sentences = read_table(Path("data/sentences/calibration.parquet"), SENTENCE_TABLE)
    labels = read_arrays(Path("data/labels/first/calibration.safetensors"), LABEL_ARRAYS)[0]["labels"]
    texts, reviews = sentences["text"].tolist(), sentences["review_id"].tolist()
    target = Target(Path("data/models/target"))
    probes = {
        pooling: extract(target, texts, np.arange(len(texts)), pooling=pooling, top_k=1, progress=pooling).probe
        for pooling in ("mean", "max")
    }
    results = []
    for pooling, k, alpha in SETTINGS:
        runs = [measure(probes[pooling].astype(np.float32), labels, halves(reviews, key), k, alpha) for key in KEYS]
        means = {name: round(float(np.mean([run[name] for run in runs])), 4) for name in runs[0]}
        results.append({"pooling": pooling, "exemplars": k, "alpha": alpha, **means})
        print(results[-1])
    write_json(Path("benchmarks/results/choice.json"), results)


if __name__ == "__main__":
    main()
