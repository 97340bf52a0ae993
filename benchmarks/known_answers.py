"""Known answers: planted neurons for which it is known what they fire on, and the share of them described correctly.

Two kinds: a synthetic world (`build_synthetic`, `measure_planted_recovery`), and neurons appended to a copy of a real
model along the directions of linear probes, which leave the model's outputs unchanged (`read_ffn_inputs` to
`measure_output_change`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from descry.activations.accumulators import TopK
from descry.activations.extraction import extract
from descry.assignment.evidence import gather_evidence
from descry.assignment.exemplars import select_exemplars
from descry.assignment.rules import Findings, Rule, assign
from descry.models.forward import forward
from descry.models.surgery import Directions, append_neurons, find_up_maps, weight_matrix
from descry.models.target import Target

PLANTED = ("one", "two", "conjunction", "rare_conjunction")
KINDS = (*PLANTED, "opposed", "decoy", "dead")
"""What a synthetic neuron fires on: one descriptor, either of two, both of two (which co-occur often or rarely), or the
absence of one. A decoy is pure noise; a dead neuron's activation never changes."""


@dataclass(frozen=True)
class Synthetic:
    """A synthetic world, in which it is known what every neuron fires on.

    truth: bool [sentences, descriptors], which descriptors apply; observed: int8, same shape, the noisy labels, 1 or 0;
    activations: float32 [sentences, neurons]; kind: str [neurons], of KINDS; about: bool [neurons, descriptors], the
    descriptors in each neuron's condition.
    """

    truth: np.ndarray
    observed: np.ndarray
    activations: np.ndarray
    kind: np.ndarray
    about: np.ndarray

    @property
    def planted(self) -> np.ndarray:
        """The pairs that should be found, and no others: bool [neurons, descriptors]."""
        return np.asarray(self.about & np.isin(self.kind, PLANTED)[:, None])


def add_label_noise(generator: np.random.Generator, truth: np.ndarray, dropped: float, added: float) -> np.ndarray:
    """Make noisy labels, int8, from the truth, bool [sentences, descriptors].

    Each positive is dropped with probability `dropped`; per true positive, `added` false ones are expected.
    """
    chance, prevalence = generator.random(truth.shape), truth.mean(axis=0)
    return np.where(truth, chance >= dropped, chance < added * prevalence / (1 - prevalence)).astype(np.int8)


def build_synthetic(
    seed: int,
    *,
    sentences: int = 4000,
    descriptors: int = 40,
    neurons: int = 80,
    prevalences: tuple[float, float] = (0.01, 0.2),
    signals: tuple[float, float] = (2.0, 3.0),
    dropped: float = 0.2,
    added: float = 0.1,
) -> Synthetic:
    """Draw a synthetic world from a seed, with `neurons` of each kind and independent descriptors.

    prevalences: of the rarest and the most common descriptor, with the others between them at equal ratios; a
    conjunction is rare if it holds less often than the rarest descriptor is expected to. signals: bounds of a neuron's
    d', which is added to its standard normal noise where its condition holds. dropped, added: see `add_label_noise`.
    """
    generator = np.random.default_rng(seed)
    truth = generator.random((sentences, descriptors)) < np.geomspace(*prevalences, descriptors)
    kind = np.repeat(KINDS, neurons)
    together = truth.T.astype(np.float32) @ truth
    often = together >= prevalences[0] * sentences
    pairs = generator.permuted(np.tile(np.arange(descriptors), (len(kind), 1)), axis=1)[:, :2]
    for name, eligible in (("conjunction", often), ("rare_conjunction", ~often)):
        pairs[kind == name] = generator.choice(np.argwhere(np.triu(eligible, 1)), neurons)
    first, second = truth[:, pairs[:, 0]], truth[:, pairs[:, 1]]
    holds = np.select(
        [kind == "one", kind == "two", np.isin(kind, PLANTED[2:]), kind == "opposed"],
        [first, first | second, first & second, ~first],
        False,
    )
    activations = generator.normal(size=holds.shape) + generator.uniform(*signals, len(kind)) * holds
    about = np.zeros((len(kind), descriptors), dtype=bool)
    spoken = np.stack([~np.isin(kind, ("decoy", "dead")), np.isin(kind, PLANTED[1:])], axis=1)
    np.put_along_axis(about, pairs, spoken, axis=1)
    activations = np.where(kind == "dead", 0.0, activations).astype(np.float32)
    return Synthetic(truth, add_label_noise(generator, truth, dropped, added), activations, kind, about)


def take_exemplars(activations: np.ndarray, k: int) -> np.ndarray:
    """Select exemplars by activation, float32 [sentences, neurons]: int32 [neurons, k], -1 for none."""
    top = TopK(activations.shape[1], k)
    top.update(torch.from_numpy(activations), torch.arange(len(activations)))
    return select_exemplars(*top.compute(), k)


def measure_planted_recovery(world: Synthetic, rule: Rule) -> dict[str, Any]:
    """Assign descriptors in a synthetic world, and compare them with the planted pairs.

    `recall`: share of the planted pairs that are assigned, without rare conjunctions (`recall_with_rare`: with them);
    `fdr`: share of the assigned pairs that were not planted; `opposed`: share of opposed neurons that are assigned the
    descriptor whose absence they fire on; `kinds`: for every kind, `false_pairs` (per neuron) and, if pairs were
    planted, `recall` and `fdr`.
    """
    evidence = gather_evidence(take_exemplars(world.activations, rule.exemplars), world.observed)
    assigned = assign(evidence, rule).assigned
    planted = world.planted

    def found(rows: np.ndarray) -> dict[str, float]:
        right, given = int((assigned & planted)[rows].sum()), int(assigned[rows].sum())
        return {"recall": right / int(planted[rows].sum()), "fdr": (given - right) / max(given, 1)}

    kinds: dict[str, dict[str, float]] = {}
    for name in KINDS:
        rows = world.kind == name
        kinds[name] = {"false_pairs": float((assigned & ~planted)[rows].sum() / rows.sum())}
        kinds[name] |= found(rows) if name in PLANTED else {}
    everything = found(np.ones(len(planted), dtype=bool))
    return {
        "recall": found(np.isin(world.kind, PLANTED[:3]))["recall"],
        "recall_with_rare": everything["recall"],
        "fdr": everything["fdr"],
        "opposed": float(assigned[world.about & (world.kind == "opposed")[:, None]].mean()),
        "kinds": kinds,
    }


def read_ffn_inputs(target: Target, texts: Sequence[str], **options: Any) -> dict[int, np.ndarray]:
    """Read the inputs of each layer's feed-forward block, pooled as by `extract`: layer -> float32 [sentences, hidden].

    options: pooling and batch_tokens of `extract`.
    """
    view = copy(target)
    ups = [next(iter(find_up_maps(target.model, site).values())) for site in target.sites]
    hidden = weight_matrix(ups[0]).shape[1]
    view.sites = [replace(site, module=up, width=hidden) for site, up in zip(target.sites, ups, strict=True)]
    probe = extract(view, texts, np.arange(len(texts)), top_k=1, **options).probe.astype(np.float32)
    return {site.layer: probe[:, n * hidden : (n + 1) * hidden] for n, site in enumerate(view.sites)}


def train_linear_probes(
    inputs: np.ndarray, relevant: np.ndarray, reviews: Sequence[str], *, repeats: int, seed: int, strength: float = 1e-3
) -> np.ndarray:
    """Train linear probes, each on a bootstrap sample of the reviews: float64 [repeats, aspects, hidden].

    Logistic regression with balanced classes on standardised inputs; `strength` is the inverse of its L2 penalty.
    inputs: float [sentences, hidden]; relevant: bool [sentences, aspects]; reviews: of each sentence.
    """
    generator, spread = np.random.default_rng(seed), inputs.std(axis=0)
    features = (inputs - inputs.mean(axis=0)) / spread
    _, review = np.unique(reviews, return_inverse=True)
    count, out = int(review.max()) + 1, np.empty((repeats, relevant.shape[1], inputs.shape[1]))
    for repeat in range(repeats):
        drawn = generator.multinomial(count, np.full(count, 1 / count))[review]
        probe = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
        for aspect, holds in enumerate(relevant.T):
            out[repeat, aspect] = probe.fit(features, holds, sample_weight=drawn).coef_[0] / spread
    return out


def set_thresholds(
    weights: np.ndarray, inputs: np.ndarray, *, quantile: float = 0.95, scale: float = 4.0
) -> Directions:
    """Turn directions into neurons that are active on few sentences.

    Weights are scaled so that the pooled input of the non-linearity has standard deviation `scale` over the sentences
    (large compared with the curved part of a GELU); biases shift its `quantile` over the sentences to 0.
    weights: float [neurons, hidden]; inputs: float [sentences, hidden].
    """
    weights = weights * (scale / (inputs @ weights.T).std(axis=0))[:, None]
    return Directions(torch.from_numpy(weights), torch.from_numpy(-np.quantile(inputs @ weights.T, quantile, axis=0)))


def save_copy(target: Target, additions: Mapping[int, Directions], folder: Path) -> None:
    """Write a copy of the target with appended neurons as a model folder: weights (safetensors) and tokenizer."""
    model = deepcopy(target.model)
    append_neurons(model, additions, target.stack)
    model.save_pretrained(folder)
    target.tokenizer.save_pretrained(folder)


@torch.inference_mode()
def read_last_hidden_state(target: Target, texts: Sequence[str]) -> Tensor:
    """Run the model on one padded batch and return its last hidden state: float [texts, tokens, hidden]."""
    tokens, attention, _ = target.batch(*target.encode(texts))
    out: Tensor = forward(target.model, target.stack, tokens, attention).last_hidden_state
    return out


def measure_output_change(one: Target, other: Target, texts: Sequence[str], batch: int = 32) -> float:
    """Measure the largest absolute difference between two models' last hidden states, over all texts."""
    starts = range(0, len(texts), batch)
    batches = [texts[start : start + batch] for start in starts]
    return max(float((read_last_hidden_state(one, b) - read_last_hidden_state(other, b)).abs().max()) for b in batches)


def share_named(findings: Findings, neurons: np.ndarray, wanted: np.ndarray) -> float:
    """Measure the share of the neurons whose strongest assigned descriptor is wanted.

    neurons: int [chosen], rows of the findings; wanted: bool [chosen, descriptors].
    """
    assigned, strength = findings.assigned[neurons], findings.strength[neurons]
    first = np.where(assigned, strength, -np.inf).argmax(axis=1)
    return float((assigned & wanted)[np.arange(len(neurons)), first].mean())
