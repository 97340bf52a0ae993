"""How good are vocabulary, labels and neurons on other corpora with gold aspects? Nothing is chosen on them.

Run after `dvc repro`: python -m benchmarks.corpora [FOLDER]. FOLDER (../shared/data) holds CORPORA; those that are not
there are skipped. Writes benchmarks/results/corpora.json. The settings are those of params.yaml. Measured are aspects
in at least LEAST of a corpus's sentences: average precision on validation of the descriptor, or cluster, that matches
the aspect best on calibration (labels_ap, kmeans_ap), and of a logistic regression trained on calibration's gold
(supervised_ap); with gold aspects as labels, what the neurons say of a sentence (oracle, calibration_error),
beside always naming the most common aspects. proper_names counts the descriptors that hold one of PROPER_NAMES.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression

from benchmarks.planted import rounded
from descry.activations.extraction import extract
from descry.activations.record import Activations
from descry.corpus.readers import read_reviews
from descry.corpus.sampling import sample_probe
from descry.corpus.sentences import SentenceTable, build_sentence_table
from descry.embedding.encoder import SentenceEncoder
from descry.embedding.vectors import scale_to_unit, subtract_review_means
from descry.evaluation.chance import Draws
from descry.evaluation.evaluate import Evaluation, Opinion
from descry.evaluation.gold import label_aspects, list_aspects, measure_label_quality
from descry.evaluation.measures import find_known_rows
from descry.evaluation.metrics import average_precision
from descry.labelling.embedding import EmbeddingLabeller
from descry.models.target import Target
from descry.settings.neurons import Assign, Extract
from descry.settings.parsing import parse_section
from descry.settings.text import Cluster, Generate, Label, Split
from descry.splits import SPLITS, Pair
from descry.storage.files import write_json
from descry.vocabulary.clustering import ClusterOptions, cluster_candidates
from descry.vocabulary.descriptors import Descriptor
from descry.vocabulary.retrieval import Retrieval
from stages.shared.inputs import to_rule

CORPORA = ("reviews", "huliu", "opinosis")
LEAST = {"reviews": 0.01, "huliu": 0.003, "opinosis": 0.01}
CLUSTERS, STARTS = 60, 3
"""Of k-means, the mean of several starts."""
KS = (1, 2)
# Read off the corpora's words by hand.
PROPER_NAMES = frozenset(
    """accord alcatraz amazon american apex apple april archos asus audigy august boston bose british bmw camry canon
    chicago china christmas coolpix creative cromwell december dell diaperchamp ebay elph english ericsson europe
    european february francisco friday garmin gloucester glouster google harrods heathrow hilton hitachi honda hotwire
    hyatt ibm indian ipod ipods iriver italian itunes january july june kensington kindle kodak linksys london mac
    march mediasource michigan microsoft minolta monday napster netgear nikon nokia nomad norton november notmad nuvi
    october olympus panasonic paris pescatore photoshop powershot rio samsung saturday september sony starbucks sunday
    swissotel symantec tesco thursday tomtom toyota tuesday tuscan vaio victoria vista waitrose wednesday windows xp
    xtra yahoo zen""".split()
)

PARAMETERS = yaml.safe_load(Path("params.yaml").read_text())


class Remembering:
    """An encoder that encodes each text once."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self._encoder, self._vectors = encoder, dict[str, np.ndarray]()

    def encode(self, texts: Sequence[str], description: str = "") -> np.ndarray:
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        self._vectors |= dict(zip(new, self._encoder.encode(new, description), strict=True))
        return np.array([self._vectors[text] for text in texts])

    def words(self) -> list[str]:
        return self._encoder.words()


def split(corpus: Path) -> SentenceTable:
    """Cut a corpus into sentences and divide it as the pipeline does."""
    settings = parse_section(Split, PARAMETERS)
    return build_sentence_table(
        read_reviews(corpus), key=settings.key, validation=settings.validation, language=settings.language
    )


def read_gold(table: SentenceTable, least: float) -> tuple[list[str], Pair[np.ndarray]]:
    """The aspects in at least `least` of the annotated sentences and in both splits; and gold as labels."""
    aspects = Pair(*(table.gold[name]["aspects"].tolist() for name in SPLITS))
    names = list_aspects(*aspects)
    gold = aspects.map(lambda rows: label_aspects(rows, names))
    known = gold.map(lambda labels: labels[find_known_rows(labels)])
    frequent = np.concatenate([*known]).mean(axis=0) >= least
    frequent &= known.calibration.any(axis=0) & known.validation.any(axis=0)
    return [names[column] for column in np.flatnonzero(frequent)], gold.map(lambda labels: labels[:, frequent])


def label(sentences: Pair[pd.DataFrame], encoder: Remembering) -> tuple[list[Descriptor], Opinion]:
    """Find a vocabulary on calibration, and label both splits with it."""
    generate = parse_section(Generate, PARAMETERS)
    generator = Retrieval(
        encoder,
        per_sentence=generate.per_sentence,
        sample=generate.sample,
        proper_names=generate.proper_names,
        **generate.retrieval.model_dump(),
    )
    candidates = generator.propose(sentences.calibration).candidates
    options = ClusterOptions(**parse_section(Cluster, PARAMETERS).model_dump())
    descriptors = cluster_candidates(candidates, encoder, options)
    labeller = EmbeddingLabeller(encoder, **parse_section(Label, PARAMETERS).embedding.model_dump())
    tables = labeller.label(sentences.calibration, [sentences.validation], candidates, descriptors).tables
    untaught = pd.DataFrame({"positives": []})
    return descriptors, Opinion(Pair(*(t.labels for t in tables)), Pair(*(t.scores for t in tables)), untaught)


def read_neurons(target: Target, sentences: Pair[pd.DataFrame]) -> Pair[Activations]:
    """The target's activations on both splits."""
    settings = parse_section(Extract, PARAMETERS)

    def read(table: pd.DataFrame, name: str) -> Activations:
        rows = sample_probe(table["sentence_id"], settings.probe, key=name)
        options = {"pooling": settings.pooling, "top_k": settings.top_k, "progress": f"extract {name}"}
        return extract(target, table["text"].tolist(), rows, **options)

    return Pair(*(read(table, name) for table, name in zip(sentences, SPLITS, strict=True)))


def measure_kmeans(vectors: Pair[np.ndarray], sentences: Pair[pd.DataFrame], gold: Pair[np.ndarray]) -> float:
    """The average precision of k-means clusters of the sentences, without their reviews' means."""
    share = parse_section(Label, PARAMETERS).embedding.share
    pairs = zip(vectors, sentences, strict=True)
    rest = Pair(*(subtract_review_means(rows, table["review_id"].tolist(), share) for rows, table in pairs))
    mean = rest.calibration.mean(axis=0)
    rest = rest.map(lambda rows: scale_to_unit(rows - mean))
    values = []
    for seed in range(STARTS):
        clusters = KMeans(CLUSTERS, n_init=1, random_state=seed).fit(rest.calibration)
        centres = scale_to_unit(clusters.cluster_centers_)
        scores = rest.map(lambda rows, centres=centres: rows @ centres.T)
        values.append(
            measure_label_quality(scores, scores.map(lambda s: (s > 0).astype(np.int8)), gold)["mean_best_ap"]
        )
    return float(np.mean(values))


def measure_supervised(vectors: Pair[np.ndarray], gold: Pair[np.ndarray]) -> float:
    """The average precision of logistic regression, one for each aspect, trained on calibration's gold."""
    known = gold.map(find_known_rows)
    values = []
    for column in range(gold.calibration.shape[1]):
        model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=300)
        model.fit(vectors.calibration[known.calibration], gold.calibration[known.calibration, column])
        scores = model.decision_function(vectors.validation[known.validation])[:, None]
        values.append(average_precision(scores, gold.validation[known.validation][:, [column]] == 1)[0, 0])
    return float(np.mean(values))


def measure(corpus: Path, encoder: Remembering, target: Target) -> dict[str, Any]:
    """Measure one corpus."""
    table = split(corpus)
    sentences = Pair(*(table.sentences[name] for name in SPLITS))
    aspects, gold = read_gold(table, LEAST[corpus.stem])
    descriptors, opinion = label(sentences, encoder)
    names = [descriptor.name for descriptor in descriptors]
    evaluation = Evaluation(
        active=read_neurons(target, sentences),
        controls={},
        names=names,
        opinions=(opinion, opinion),
        aspects=aspects,
        gold=gold,
        reviews=sentences.map(lambda rows: rows["review_id"].tolist()),
    )
    measures = evaluation.tables(to_rule(parse_section(Assign, PARAMETERS)), KS, Draws(1, 0))["measures"]
    value = measures.groupby("measure")["value"].first()
    common = measures[measures["null"] == "most_common"].set_index("measure")["chance"]
    sentence = [f"{name}_at_{k}" for name, k in (("precision", 1), ("precision", 2), ("recall", 2))]
    vectors = sentences.map(lambda rows: encoder.encode(rows["text"].tolist()))
    return {
        "sentences": sum(map(len, sentences)),
        "aspects": len(aspects),
        "labels_ap": float(value["labels.mean_best_ap"]),
        "kmeans_ap": measure_kmeans(vectors, sentences, gold),
        "supervised_ap": measure_supervised(vectors, gold),
        "oracle": {name: float(value[f"oracle.sentence.{name}"]) for name in sentence},
        "most_common": {name: float(common[f"oracle.sentence.{name}"]) for name in sentence},
        "calibration_error": float(value["oracle.sentence.calibration_error"]),
        "proper_names": sum(not PROPER_NAMES.isdisjoint(name.split()) for name in names),
        "descriptors": names,
    }


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/data")
    encoder, target = Remembering(SentenceEncoder(Path("data/models/embedder"))), Target(Path("data/models/target"))
    results = {}
    for name in CORPORA:
        corpus = folder / f"{name}.jsonl"
        if not corpus.exists():
            print(f"{name}: skipped, {corpus} is not there")
            continue
        results[name] = rounded(measure(corpus, encoder, target))
        print(name, {key: value for key, value in results[name].items() if key != "descriptors"})
    write_json(Path("benchmarks/results/corpora.json"), results)


if __name__ == "__main__":
    main()
