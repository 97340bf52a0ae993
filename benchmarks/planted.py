"""Does the pipeline find what is there, and nothing else? Measured on the neurons of benchmarks/known_answers.py.

Run after `dvc repro`: python -m benchmarks.planted. Writes benchmarks/results/planted.json.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import yaml
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from benchmarks.known_answers import (
    build_synthetic,
    measure_output_change,
    measure_planted_recovery,
    read_ffn_inputs,
    save_copy,
    set_thresholds,
    share_named,
    train_linear_probes,
)
from descry.activations.extraction import extract
from descry.activations.record import Activations
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import Findings, assign
from descry.evaluation.gold import label_aspects, list_aspects, match_aspects
from descry.evaluation.metrics import average_precision
from descry.models.surgery import Directions
from descry.models.target import Target
from descry.schemas.label import LABEL_ARRAYS
from descry.schemas.split import GOLD_TABLE, SENTENCE_TABLE
from descry.settings.neurons import Assign
from descry.settings.parsing import parse_section
from descry.splits import Pair
from descry.storage.arrays import read_arrays
from descry.storage.files import write_json
from descry.storage.nesting import flatten, nest
from descry.storage.tables import read_table
from stages.shared.inputs import to_rule

LABELS = "data/labels/first/{}.safetensors"
SEEDS = 20
DROPPED = (0.0, 0.2, 0.5)
LAYERS, ASPECTS, REPEATS = (2, 4, 6), 15, 5
TELLING = 0.4
"""Least average precision of its best descriptor for an aspect to count in `labels_first`."""
PARAMETERS = yaml.safe_load(Path("params.yaml").read_text())
RULE = to_rule(parse_section(Assign, PARAMETERS))


def rounded(content: Any) -> Any:
    """Round all floats of nested mappings to 4 digits."""
    if isinstance(content, Mapping):
        return {str(name): rounded(value) for name, value in content.items()}
    return round(content, 4) if isinstance(content, float) else content


def synthetic_worlds() -> dict[str, Any]:
    """Measure synthetic worlds: means over the seeds at the default noise; recall and fdr at each share in DROPPED."""
    means = {}
    for dropped in DROPPED:
        runs = [
            flatten(measure_planted_recovery(build_synthetic(seed, dropped=dropped), RULE)) for seed in range(SEEDS)
        ]
        means[dropped] = {name: float(np.mean([run[name] for run in runs])) for name in runs[0]}
    noise = {share: {name: mean[name] for name in ("recall", "fdr")} for share, mean in means.items()}
    return nest(means[0.2]) | {"alpha": RULE.alpha, "seeds": SEEDS, "dropped": noise}


class Split:
    """One split's sentences and gold aspects, and the pipeline's labels of them."""

    def __init__(self, name: str) -> None:
        sentences = read_table(Path(f"data/sentences/{name}.parquet"), SENTENCE_TABLE)
        self.texts, self.reviews = sentences["text"].tolist(), sentences["review_id"].tolist()
        self.aspects = list(read_table(Path(f"data/gold/{name}.parquet"), GOLD_TABLE)["aspects"])
        arrays, _ = read_arrays(Path(LABELS.format(name)), LABEL_ARRAYS)
        self.labels, self.scores = arrays["labels"], arrays["scores"]

    def activations(self, target: Target) -> Activations:
        settings = PARAMETERS["extract"]
        return extract(target, self.texts, np.arange(1), pooling=settings["pooling"], top_k=settings["top_k"])


def additions(inputs: Mapping[int, np.ndarray], relevant: np.ndarray, reviews: Sequence[str]) -> dict[int, Directions]:
    """Make the appended neurons of each layer: probes of every aspect, then as many random directions."""
    found = {}
    for layer in LAYERS:
        with threadpool_limits(1):  # on matrices this small, threads cost more than they give
            probes = train_linear_probes(inputs[layer], relevant, reviews, repeats=REPEATS, seed=layer)
        probes = probes.reshape(-1, probes.shape[-1])
        decoys = np.random.default_rng(layer).normal(size=probes.shape)
        found[layer] = set_thresholds(np.concatenate([probes, decoys]), inputs[layer])
    return found


def surgery(folder: Path) -> dict[str, Any]:
    """Measure how the pipeline describes neurons appended to a copy of the target, in `folder`."""
    splits = Pair(Split("calibration"), Split("validation"))
    names = list_aspects(splits.calibration.aspects, splits.validation.aspects)
    gold = Pair(*(label_aspects(split.aspects, names) for split in (splits.calibration, splits.validation)))
    chosen = np.argsort(-(gold.calibration == 1).sum(axis=0), kind="stable")[:ASPECTS]

    original = Target(Path("data/models/target"))
    inputs = read_ffn_inputs(original, splits.calibration.texts, pooling=PARAMETERS["extract"]["pooling"])
    relevant = gold.calibration[:, chosen] == 1
    save_copy(original, additions(inputs, relevant, splits.calibration.reviews), folder)
    target = Target(folder)
    active = Pair(splits.calibration.activations(target), splits.validation.activations(target))

    position = active.calibration.index - original.widths[0]
    appended = np.isin(active.calibration.layer, LAYERS) & (position >= 0)
    planted = np.flatnonzero(appended & (position < REPEATS * len(chosen)))
    decoys = np.flatnonzero(appended & (position >= REPEATS * len(chosen)))
    aspect, layer = chosen[position[planted] % len(chosen)], active.calibration.layer[planted]

    def found(split: Activations, labels: np.ndarray) -> Findings:
        return assign(gather_evidence(split.exemplars(RULE.exemplars), labels), RULE)

    def auroc(findings: Findings) -> float:
        strength = findings.strength.max(axis=1)[np.concatenate([planted, decoys])]
        return float(roc_auc_score(np.arange(len(strength)) < len(planted), strength))

    by_gold = Pair(found(active.calibration, gold.calibration), found(active.validation, gold.validation))
    by_labels = found(active.calibration, splits.calibration.labels)
    best, aspect_of = match_aspects(splits.calibration.scores, gold.calibration)
    precision = average_precision(splits.validation.scores, gold.validation == 1)[best, np.arange(len(names))]
    told = precision[aspect] >= TELLING
    own = aspect[:, None] == np.arange(len(names))
    exact = best[aspect][:, None] == np.arange(len(aspect_of))
    speaks = exact | (aspect_of == aspect[:, None])
    return {
        "aspects": [names[a] for a in chosen],
        "planted": len(planted),
        "decoys": len(decoys),
        "gold_first": share_named(by_gold.calibration, planted, own),
        "gold_first_validation": share_named(by_gold.validation, planted, own),
        "gold_first_by_layer": {
            one: share_named(by_gold.calibration, planted[layer == one], own[layer == one]) for one in LAYERS
        },
        "labels_first": share_named(by_labels, planted[told], speaks[told]),
        "labels_first_exact": share_named(by_labels, planted[told], exact[told]),
        "labels_first_aspects": [names[a] for a in chosen if precision[a] >= TELLING],
        "planted_over_decoys_auroc": auroc(by_gold.calibration),
        "planted_over_decoys_auroc_validation": auroc(by_gold.validation),
        "decoy_rate": float(by_gold.calibration.described[decoys].mean()),
        "neuron_rate": float(by_gold.calibration.described[position < 0].mean()),
        "max_output_change": measure_output_change(original, target, splits.validation.texts[:400]),
    }


def main() -> None:
    with TemporaryDirectory() as folder:
        results = rounded({"synthetic": synthetic_worlds(), "surgery": surgery(Path(folder))})
    write_json(Path("benchmarks/results/planted.json"), results)
    for world, measures in results.items():
        print(f"\n{world}")
        for name, value in flatten(measures).items():
            print(f"  {name:38} {', '.join(value) if isinstance(value, list) else value}")


if __name__ == "__main__":
    main()
