"""Controls: what neurons that know nothing would score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from descry.artifacts import Activations
from descry.assignment import Evidence, Findings, assign, gather
from descry.evaluation import (
    Pair,
    Reference,
    at_k,
    flat,
    nested,
    prediction_measures,
    replication,
)


def random_subsets(generator: np.random.Generator, sets: int, population: int, k: int) -> np.ndarray:
    """Uniform k-subsets of range(population): int32 [sets, k].

    Each shuffle of the population is cut into as many disjoint subsets as it holds: every one of them is uniform,
    those of one shuffle are not independent. Cost: sets x k, whatever the population.
    """
    each = population // k
    shuffles = np.tile(np.arange(population, dtype=np.int32), (-(-sets // each), 1))
    cut = generator.permuted(shuffles, axis=1)[:, : each * k]
    return cut.reshape(-1, k)[:sets]


def most_common(found: Pair[Findings], references: Mapping[str, Reference], ks: Sequence[int]) -> dict[str, Any]:
    """`neuron` and `sentence.<reference>` measures of always naming the most prevalent descriptors."""
    order = np.argsort(-found.calibration.evidence.prevalence, kind="stable")[None, :]
    relevant = found.validation.assigned[found.calibration.described]
    return {
        "neuron": at_k(np.broadcast_to(order, relevant.shape), relevant, ks),
        "sentence": {name: reference.measure(order, ks) for name, reference in references.items()},
    }


def random_exemplars(
    labels: Pair[np.ndarray], neurons: int, k: int, rule: Mapping[str, Any], generator: np.random.Generator
) -> Pair[Findings]:
    """Findings of neurons whose exemplars are random k-subsets of each split."""

    def found(split: np.ndarray) -> Findings:
        return assign(gather(random_subsets(generator, neurons, len(split), k), split), **rule)

    return Pair(found(labels.calibration), found(labels.validation))


def permuted_neurons(found: Pair[Findings], generator: np.random.Generator) -> Pair[Findings]:
    """Findings whose neurons are paired at random across the splits: how often each descriptor is assigned and
    how many a neuron carries stay as they are, only which neuron is which is lost."""
    order = generator.permutation(len(found.validation.assigned))
    other = found.validation
    evidence = other.evidence
    shuffled = Evidence(evidence.counts[order], evidence.known[order], evidence.positives, evidence.population)
    return Pair(
        found.calibration,
        Findings(shuffled, other.log_p[order], other.log_q[order], other.strength[order], other.assigned[order]),
    )


def repeated(
    measure: Callable[[np.random.Generator], Mapping[str, Any]], *, repeats: int, seed: int
) -> dict[str, np.ndarray]:
    """Every value that `measure` gives over independent generators: dotted name -> float64 [repeats]."""
    generators = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(repeats)]
    runs = [flat(measure(generator)) for generator in generators]
    return {name: np.array([run[name] for run in runs]) for name in runs[0]}


def means(values: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The mean of every measure over its repeats."""
    return {name: float(runs.mean()) for name, runs in values.items()}


def beside_chance(
    labels: Pair[np.ndarray],
    active: Pair[Activations],
    fired: Pair[np.ndarray],
    references: Mapping[str, Reference],
    *,
    rule: Mapping[str, Any],
    exemplars: int,
    ks: Sequence[int],
    repeats: int,
    seed: int,
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Measures of the findings under some labels, and the same measures under each null.

    labels: int8 [sentences, columns] of each split; active, fired: Activations of each split, and `firing` of
    them; rule: options of `assign`. Returns {neuron, sentence, replication} and {null: {neuron, sentence}}.
    """
    calibration, validation = active.calibration, active.validation
    found = Pair(
        assign(gather(calibration.rows[:, :exemplars], labels.calibration), **rule),
        assign(gather(validation.rows[:, :exemplars], labels.validation), **rule),
    )

    def at_random(generator: np.random.Generator) -> dict[str, Any]:
        drawn = random_exemplars(labels, len(calibration.layer), exemplars, rule, generator)
        return prediction_measures(drawn, fired, references, ks)

    own = prediction_measures(found, fired, references, ks)
    own["replication"] = replication(found.calibration.assigned, found.validation.log_p)
    return own, {
        "most_common": most_common(found, references, ks),
        "random_exemplars": nested(means(repeated(at_random, repeats=repeats, seed=seed))),
    }


def adjusted(value: float, null: float) -> float:
    """How far a value lies from chance towards perfection: (value - null) / (1 - null); 0.0 where null is 1."""
    return (value - null) / (1 - null) if null < 1 else 0.0
