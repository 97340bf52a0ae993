"""Do latents of sparse dictionaries mean more than neurons? Both, and three baselines, through the same measures.

Run after `dvc repro` and `make dictionaries`: python -m benchmarks.units. Writes benchmarks/results/units.json. Trains
TopK dictionaries (benchmarks/train_dictionary.py) on the outputs of two layers of the target over sentences of REVIEWS,
which takes about half an hour on two idle cores; those in .units/ are not trained again. Sets of units, UNITS of either
layer, drawn from those that fire on LEAST calibration sentences or more: the layers' neurons; latents; random
directions through the same TopK; latents of a dictionary whose decoder was random and frozen; latents of one trained on
the target's untrained twin, read there; and the neurons with thresholds that let them fire as seldom as the latents
(`sparse_neurons`). Of each the `units` and their firing `rate`; `described`, the share with a descriptor;
`replication`; `association`, the mean correlation of unit and descriptor on validation over the pairs assigned on
calibration; sentences' `gold_precision_at_1` and `gold_recall_at_2`; `best_f1`, the mean F1 on validation of the unit
with the best F1 on calibration for a descriptor, and `own_unit`, the share of descriptors for which that is at least
OWN; each with `chance`, the same with the labels and gold of other reviews (for `association` on validation alone), and
with the standard deviation (`std`) over other splits of the same sentences. `planted_first`: share of latents planted
along the directions of linear probes whose first descriptor is their aspect (benchmarks/planted.py);
`encoding_difference`: the largest between SAELens' latents and descry's.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save_file

from benchmarks.known_answers import read_ffn_inputs, share_named
from benchmarks.planted import additions, rounded
from descry.activations.extraction import extract
from descry.activations.firing import count_firing
from descry.activations.record import Activations
from descry.assignment.evidence import gather_evidence
from descry.assignment.rules import assign
from descry.corpus.readers import read_reviews
from descry.corpus.sentences import build_undivided_table
from descry.evaluation.association import measure_associations
from descry.evaluation.chance import Draws
from descry.evaluation.evaluate import Evaluation
from descry.evaluation.metrics import f1
from descry.evaluation.nulls import draw_move
from descry.evaluation.resplit import Reading, draw_sides, measure_resplits
from descry.models.controls import build_random_directions, build_untrained
from descry.models.dictionary_files import list_dictionaries
from descry.models.pooling import Reduction
from descry.models.reconstruction import measure_explained_variance
from descry.models.target import Target
from descry.results.noise import TARGET, summarise_splits
from descry.schemas.split import SENTENCE_TABLE
from descry.settings.neurons import Assign
from descry.settings.parsing import parse_section
from descry.splits import SPLITS, Pair
from descry.storage.files import write_json
from descry.storage.nesting import flatten
from descry.storage.tables import read_table
from stages.shared.evaluation import read_evaluation
from stages.shared.inputs import to_rule

REVIEWS = Path("../shared/data/amazon_reviews.jsonl")
RESULT, FOLDER, MODEL = Path("benchmarks/results/units.json"), Path(".units"), Path("data/models/target")
SCRIPT = Path(__file__).with_name("train_dictionary.py")
REVIEWS_READ, SENTENCES = 8_000, 20_000
LAYERS, UNITS, LEAST, OWN, SPLITS_DRAWN = (3, 6), 1_500, 5, 0.5, 10
ASPECTS = 15
MEASURES = {
    "described": "neuron.described",
    "replication": "replication",
    "gold_precision_at_1": "sentence.gold.precision_at_1",
    "gold_recall_at_2": "sentence.gold.recall_at_2",
}
PARAMETERS = yaml.safe_load(Path("params.yaml").read_text())
RULE = to_rule(parse_section(Assign, PARAMETERS))
POOLING, TOP_K = PARAMETERS["extract"]["pooling"], PARAMETERS["extract"]["top_k"]


TRAININGS = {"latents": ("target", "learned"), "random_decoder": ("target", "random"), "untrained": ("twin", "learned")}
"""Of each dictionary: the model on which it is trained, the target or its untrained twin, and its decoder."""


def choose_model(name: str, target: Target) -> Target:
    """The model on which a dictionary is trained."""
    return target if TRAININGS[name][0] == "target" else build_untrained(target, PARAMETERS["controls"]["seed"])


def write_tokens(target: Target, folder: Path) -> None:
    """Write the outputs of each layer of LAYERS on all tokens of sentences of REVIEWS: float16 [tokens, width]."""
    sentences, _, _ = build_undivided_table(read_reviews(REVIEWS, limit=REVIEWS_READ))
    texts = sentences["text"].tolist()[:SENTENCES]

    def keep(values: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
        return values[own].to(torch.float16)

    kept: list[list[torch.Tensor]] = [[] for _ in target.sites]
    reduce: Reduction = keep
    ids, special = target.encode(texts)
    for batch in target.make_batches(ids, 1024):
        picked = [ids[i] for i in batch], [special[i] for i in batch]
        for layer, values in zip(kept, target.read(*picked, [(site, reduce) for site in target.sites]), strict=True):
            layer.append(values)
    for site, layer in zip(target.sites, kept, strict=True):
        save_file({"tokens": torch.cat(layer)}, folder / f"{site.layer}.safetensors")


def train(name: str) -> Path:
    """Train the dictionaries called `name`, one for each layer, unless they are there; returns their folder."""
    model, decoder = TRAININGS[name]
    target = choose_model(name, Target(MODEL, site="hidden", layers=LAYERS))
    tokens = FOLDER / "tokens" / model
    tokens.mkdir(parents=True, exist_ok=True)
    if any(not (tokens / f"{layer}.safetensors").exists() for layer in LAYERS):
        write_tokens(target, tokens)
    environment = os.environ | {"PYTHONPATH": os.environ["DESCRY_DICTIONARIES"], "WANDB_MODE": "disabled"}
    for site in target.sites:
        folder = FOLDER / name / site.name
        if not (folder / "encoded.safetensors").exists():
            options = [str(tokens / f"{site.layer}.safetensors"), str(folder), site.name, decoder]
            subprocess.run([sys.executable, str(SCRIPT), *options], env=environment, check=True)
    return FOLDER / name


def measure_encoding_difference(folder: Path) -> float:
    """The largest difference between the latents that SAELens gave and those of this library, on the same tokens."""
    answers = [(stored, load_file(stored.folder / "encoded.safetensors")) for stored in list_dictionaries(folder)]
    return max(float((stored.load()(got["tokens"]) - got["latents"]).abs().max()) for stored, got in answers)


def read_texts() -> Pair[list[str]]:
    """The sentences of both splits."""
    return Pair(
        *(read_table(Path(f"data/sentences/{split}.parquet"), SENTENCE_TABLE)["text"].tolist() for split in SPLITS)
    )


def read_units(target: Target, like: Pair[Activations]) -> Pair[Activations]:
    """The activations of a target on both splits, with the same probes as others."""
    pairs = zip(read_texts(), like, strict=True)
    return Pair(*(extract(target, texts, split.probe_rows, pooling=POOLING, top_k=TOP_K) for texts, split in pairs))


def draw_units(active: Pair[Activations]) -> Pair[Activations]:
    """At most UNITS units of each layer of LAYERS, of those that fire on LEAST calibration sentences or more."""
    fires = (active.calibration.values > 0).sum(axis=1) >= LEAST
    generator, layer = np.random.default_rng(0), active.calibration.layer
    drawn = [generator.permutation(np.flatnonzero(fires & (layer == number)))[:UNITS] for number in LAYERS]
    units = np.sort(np.concatenate(drawn))
    return active.map(lambda split: take_units(split, units))


def take_units(split: Activations, units: np.ndarray) -> Activations:
    """The record of some units."""
    names = ("layer", "index", "values", "rows", "beyond", "mean", "std", "maximum")
    return replace(split, probe=split.probe[:, units], **{name: getattr(split, name)[units] for name in names})


def count_rates(split: Activations) -> np.ndarray:
    """The share of the probe's sentences on which each unit fires: float64 [units]."""
    return np.asarray((split.probe > 0).mean(axis=0))


def match_rates(active: Pair[Activations], rates: np.ndarray) -> Pair[Activations]:
    """The same units with thresholds, below which they are 0, that let them fire as seldom as others.

    rates: float [others], the shares of sentences on which these fire. The units that fire most often become as rare as
    the others that do; none fires more often than before.
    """
    own = count_rates(active.calibration)
    wanted = np.empty(len(own))
    wanted[np.argsort(own, kind="stable")] = np.quantile(rates, (np.arange(len(own)) + 0.5) / len(own))
    ordered = -np.sort(-active.calibration.probe, axis=0)
    place = np.minimum(np.rint(np.minimum(wanted, own) * len(ordered)).astype(int), len(ordered) - 1)
    thresholds = np.maximum(ordered[place, np.arange(len(own))], 0).astype(np.float32)
    return active.map(lambda split: raise_thresholds(split, thresholds))


def raise_thresholds(split: Activations, thresholds: np.ndarray) -> Activations:
    """The record of units whose values are what is above a threshold. thresholds: float32 [units], at least 0."""
    probe = np.maximum(split.probe - thresholds, 0).astype(np.float16)
    return replace(
        split,
        values=np.maximum(split.values - thresholds[:, None], 0),
        beyond=np.maximum(split.beyond - thresholds, 0),
        maximum=np.maximum(split.maximum - thresholds, 0),
        mean=probe.mean(axis=0, dtype=np.float32),
        std=probe.astype(np.float32).std(axis=0),
        probe=probe,
    )


def measure_association(active: Pair[Activations], labels: Pair[np.ndarray], held_out: np.ndarray) -> float:
    """The mean correlation on validation's probe of the pairs that are assigned on calibration; NaN without any.

    labels: int8 [sentences, descriptors]; held_out: validation's labels that are correlated with.
    """
    found = assign(gather_evidence(active.calibration.exemplars(RULE.exemplars), labels.calibration), RULE)
    units, columns = np.nonzero(found.assigned)
    reviews = list(map(str, range(len(held_out))))  # of no account: no interval is drawn
    told = Pair(labels.calibration, held_out)
    strength = measure_associations(units, columns, active, told, reviews, repeats=1, seed=0)["pearson"]
    return float(strength.mean()) if len(strength) else float("nan")


def find_own_units(values: Pair[np.ndarray], labels: Pair[np.ndarray]) -> np.ndarray:
    """F1 on validation of the unit and threshold with the best F1 on calibration, for each descriptor: float [columns].

    values: float16 [sentences, units]; labels: int8 [sentences, columns]. A unit's threshold lets it fire as often as
    the descriptor holds, and on no sentence where it is at its lowest.
    """
    ordered, lowest = -np.sort(-values.calibration, axis=0), values.calibration.min(axis=0)
    scores = np.zeros(labels.calibration.shape[1])
    for column, holds in enumerate((labels.calibration == 1).T):
        positives = int(holds.sum())
        if positives:
            threshold = ordered[positives - 1]
            fires = (values.calibration >= threshold) & (values.calibration > lowest)
            best = int((2 * fires[holds].sum(axis=0) / (fires.sum(axis=0) + positives)).argmax())
            guessed = (values.validation[:, best] >= threshold[best]) & (values.validation[:, best] > lowest[best])
            scores[column] = f1(guessed[:, None], labels.validation[:, column : column + 1] == 1).item()
    return scores


def measure_own_units(values: Pair[np.ndarray], labels: Pair[np.ndarray]) -> dict[str, float]:
    """`best_f1` and `own_unit` of units. values, labels: see `find_own_units`."""
    scores = find_own_units(values, labels)
    return {"best_f1": float(scores.mean()), "own_unit": float((scores >= OWN).mean())}


def measure_one_by_one(active: Pair[Activations], labels: Pair[np.ndarray]) -> dict[str, float]:
    """`association`, `best_f1` and `own_unit` of units. labels: int8 [sentences, descriptors], of all sentences."""
    known = Pair(*(each[split.probe_rows] for each, split in zip(labels, active, strict=True)))
    association = measure_association(active, labels, labels.validation)
    return {"association": association} | measure_own_units(active.map(lambda split: split.probe), known)


def resplit_one_by_one(evaluation: Evaluation) -> list[dict[str, float]]:
    """The same on other splits of the probe's sentences."""
    active, labels = evaluation.active, evaluation.opinions[0].labels
    reading = Reading.of(active, RULE.exemplars)
    known = np.concatenate([each[split.probe_rows] for each, split in zip(labels, active, strict=True)])
    reviews = np.concatenate(
        [np.asarray(ids)[split.probe_rows] for ids, split in zip(evaluation.reviews, active, strict=True)]
    )
    results, generator = [], np.random.default_rng(0)
    for _ in range(SPLITS_DRAWN):
        sides = draw_sides(reviews, PARAMETERS["split"]["validation"], generator)
        drawn = sides.map(lambda rows: reading.select(rows, RULE.exemplars))
        results.append(measure_one_by_one(drawn, sides.map(lambda rows: known[rows])))
    return results


def shuffle_labels(evaluation: Evaluation) -> Evaluation:
    """The same with the labels, and gold, of other reviews of the split."""
    move = draw_move(evaluation.reviews, np.random.default_rng(0))
    first, second = (replace(by, labels=move(by.labels), scores=move(by.scores)) for by in evaluation.opinions)
    return replace(evaluation, opinions=(first, second), gold=move(evaluation.gold))


def measure_values(evaluation: Evaluation) -> dict[str, float]:
    """All measures of a set of units, without those that are not known if no unit is described."""
    values = flatten(evaluation.measure(RULE, (1, 2)))
    found = {name: float(values[key]) for name, key in MEASURES.items()}
    if not found["described"]:
        del found["replication"]
    found["described"] /= len(evaluation.active.calibration.layer)
    found |= measure_one_by_one(evaluation.active, evaluation.opinions[0].labels)
    return {name: value for name, value in found.items() if not np.isnan(value)}


def measure(evaluation: Evaluation) -> dict[str, Any]:
    """All measures of a set of units, each with chance and with its standard deviation over splits."""
    units = len(evaluation.active.calibration.layer)
    spread = summarise_splits(measure_resplits(evaluation, RULE, Draws(SPLITS_DRAWN, 0)))[TARGET]
    stds = {name: float(spread[key].std) for name, key in MEASURES.items()}
    stds["described"] /= units
    again = resplit_one_by_one(evaluation)
    stds |= {name: float(np.std([each[name] for each in again], ddof=1)) for name in again[0]}
    shuffled, labels = shuffle_labels(evaluation), evaluation.opinions[0].labels
    values, chance = measure_values(evaluation), measure_values(shuffled)
    chance["association"] = measure_association(evaluation.active, labels, shuffled.opinions[0].labels.validation)
    found = {name: {"value": value, "chance": chance.get(name), "std": stds[name]} for name, value in values.items()}
    return {"units": units, "rate": count_firing(evaluation.active.calibration)["rate"], **found}


def save_planted(folder: Path, evaluation: Evaluation, chosen: np.ndarray) -> None:
    """Write dictionaries whose latents are linear probes of aspects, and then as many random directions."""
    original, texts = Target(MODEL), read_texts().calibration
    inputs = read_ffn_inputs(original, texts, pooling=POOLING)
    relevant = evaluation.gold.calibration[:, chosen] == 1
    for layer, directions in additions(inputs, relevant, list(evaluation.reviews.calibration)).items():
        weights = directions.weights.to(torch.float32)
        place = folder / f"planted_{layer}"
        place.mkdir(parents=True, exist_ok=True)
        arrays = {"W_enc": weights.T, "W_dec": weights, "b_enc": directions.biases.to(torch.float32)}
        arrays["b_dec"] = torch.zeros(weights.shape[1])
        save_file({name: array.contiguous() for name, array in arrays.items()}, place / "sae_weights.safetensors")
        hook = {"hook_name": f"blocks.{layer - 1}.ln2.hook_normalized", "sae_lens_version": "6.54.12"}
        write_json(place / "cfg.json", {"architecture": "standard", "apply_b_dec_to_input": False, "metadata": hook})


def measure_planted(evaluation: Evaluation) -> dict[str, float]:
    """`planted` latents, the share of them whose first descriptor is their aspect, and of decoys with a descriptor."""
    chosen = np.argsort(-(evaluation.gold.calibration == 1).sum(axis=0), kind="stable")[:ASPECTS]
    save_planted(FOLDER / "planted", evaluation, chosen)
    target = Target(MODEL, dictionaries=FOLDER / "planted")
    active = extract(target, read_texts().calibration, np.arange(1), pooling=POOLING, top_k=TOP_K)
    half = target.widths[0] // 2
    found = assign(gather_evidence(active.exemplars(RULE.exemplars), evaluation.gold.calibration), RULE)
    planted = np.flatnonzero(active.index < half)
    own = chosen[active.index[planted] % ASPECTS][:, None] == np.arange(len(evaluation.aspects))
    return {
        "planted": len(planted),
        "planted_first": share_named(found, planted, own),
        "decoys_described": float(found.described[active.index >= half].mean()),
    }


def compare(evaluation: Evaluation, folders: Mapping[str, Path]) -> dict[str, Any]:
    """The measures of every set of units."""
    texts = read_texts()
    neurons = draw_units(evaluation.active)
    results: dict[str, Any] = {"neurons": measure(replace(evaluation, active=neurons))}
    sample = texts.calibration[: PARAMETERS["controls"]["sample"]]
    targets = {name: choose_model(name, Target(MODEL, dictionaries=folder)) for name, folder in folders.items()}
    targets["random_directions"] = build_random_directions(targets["latents"], sample, PARAMETERS["controls"]["seed"])
    for name, target in targets.items():
        active = read_units(target, evaluation.active)
        counted = count_firing(active.calibration)
        drawn = draw_units(active)
        results[name] = measure(replace(evaluation, active=drawn))
        results[name] |= {"trained_units": counted["units"], "dead": counted["dead"], "always": counted["always"]}
        if name in folders:
            shares = measure_explained_variance(target, target.sites, sample)
            results[name]["explained_variance"] = dict(zip(LAYERS, shares, strict=True))
        if name == "latents":
            sparse = match_rates(neurons, count_rates(drawn.calibration))
            results["sparse_neurons"] = measure(replace(evaluation, active=sparse))
        print(name, rounded(results[name]), flush=True)
    return results


def main() -> None:
    if not REVIEWS.exists() or "DESCRY_DICTIONARIES" not in os.environ:
        print(f"{RESULT}: not written: needs {REVIEWS}, and DESCRY_DICTIONARIES as `make dictionaries` says")
        return
    folders = {name: train(name) for name in TRAININGS}
    evaluation = replace(read_evaluation(), controls={})
    results = compare(evaluation, folders) | measure_planted(evaluation)
    difference = max(map(measure_encoding_difference, folders.values()))
    write_json(RESULT, rounded(results) | {"encoding_difference": float(f"{difference:.2g}")})


if __name__ == "__main__":
    main()
