"""Measures of triggers and their chance levels: are classes stable, and do a neuron's words predict where it fires?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from descry.activations.record import Activations
from descry.activations.token_words import TokenReadings, WordForms
from descry.analyses.triggers import (
    BLOCK,
    CLASSES,
    CONTEXTUAL,
    LEXICAL,
    TOKEN_BOUND,
    NeuronTriggers,
    WordRule,
    classify_neurons,
    find_leading,
    find_patterns,
    measure_word_shares,
    shuffle_tokens,
)
from descry.assignment.false_discovery import log_tail
from descry.evaluation.chance import Draws, repeat
from descry.splits import REPLICATES, Pair


@dataclass(frozen=True)
class WordEvidence:
    """How well some words predict where a neuron fires, for every neuron of a split: arrays [neurons].

    count: int64, exemplars that contain any of its words; positives: int64, sentences that do; log_p: float64, log of
    the probability of at least as many among random exemplars; pearson: float64, correlation of its activation with
    containing any, over a sample of the sentences, 0 if either is constant.
    """

    count: np.ndarray
    positives: np.ndarray
    log_p: np.ndarray
    pearson: np.ndarray


def check_words(
    words: np.ndarray, held: csr_array, exemplars: np.ndarray, rows: np.ndarray, probe: np.ndarray
) -> WordEvidence:
    """Check how well each neuron's words predict where it fires.

    words: int [neurons, n], columns of `held`, -1 for none; held: int16 [sentences, forms], see `build_word_presence`;
    exemplars: int [neurons, k], rows of the sentences, -1 for none; rows: int [sample], the sampled sentences; probe:
    float16 [sample, neurons], the activations on them. Memory is O(BLOCK x sentences).
    """
    sizes = (exemplars >= 0).sum(axis=1)
    count, positives = np.zeros((2, len(words)), dtype=np.int64)
    pearson = np.zeros(len(words))
    for start in range(0, len(words), BLOCK):
        here = slice(start, start + BLOCK)
        present = words[here] >= 0
        ends = np.cumsum(np.append(0, present.sum(axis=1)))
        chosen = csr_array(
            (np.ones(ends[-1], np.int16), words[here][present], ends), shape=(len(present), held.shape[1])
        )
        holds = (held @ chosen.T).toarray() > 0
        positives[here] = holds.sum(axis=0)
        inside = holds[np.maximum(exemplars[here], 0), np.arange(len(present))[:, None]] & (exemplars[here] >= 0)
        count[here] = inside.sum(axis=1)
        pearson[here] = _correlate_columns(probe[:, here].astype(np.float64), holds[rows])
    log_p = np.zeros(len(words))
    for hits, draws in {*zip(positives.tolist(), sizes.tolist(), strict=True)}:
        alike = (positives == hits) & (sizes == draws)
        log_p[alike] = log_tail(held.shape[0], hits, draws)[count[alike]]
    return WordEvidence(count, positives, log_p, pearson)


def _correlate_columns(values: np.ndarray, holds: np.ndarray) -> np.ndarray:
    """Pearson correlation of each column of `values` with the same column of `holds`: float64 [columns]."""
    values = values - values.mean(axis=0)
    centred = holds - holds.mean(axis=0)
    spread = np.sqrt((values**2).sum(axis=0) * (centred**2).sum(axis=0))
    product = (values * centred).sum(axis=0)
    return np.asarray(np.divide(product, spread, out=np.zeros(len(spread)), where=spread > 1e-12))


@dataclass(frozen=True)
class WordChecker:
    """Calls `check_words` on validation. held: of its sentences; active: its activations, with a probe; exemplars: size
    of an exemplar set."""

    held: csr_array
    active: Activations
    exemplars: int

    def __call__(self, words: np.ndarray, neurons: np.ndarray) -> WordEvidence:
        """Check words, int [n, count], of some neurons, int [n]."""
        sets = self.active.exemplars(self.exemplars)[neurons]
        return check_words(words, self.held, sets, self.active.probe_rows, self.active.probe[:, neurons])


def class_shares(classes: np.ndarray) -> dict[str, float]:
    """Shares of token-bound and of lexical neurons. classes: int8 [neurons]. 0.0 without any neuron."""
    shares = np.bincount(classes, minlength=len(CLASSES)) / max(len(classes), 1)
    return {"token_bound": float(shares[TOKEN_BOUND]), "lexical": float(shares[LEXICAL])}


def measure_class_agreement(classes: Pair[np.ndarray]) -> float:
    """Share of neurons with the same class on both splits; 0.0 without any neuron."""
    return float((classes.calibration == classes.validation).mean()) if len(classes.calibration) else 0.0


def _measure_evidence(evidence: WordEvidence) -> dict[str, float]:
    if not len(evidence.count):
        return {"replication": 0.0, "words_correlation": 0.0}
    replicated = evidence.log_p <= np.log(REPLICATES)
    return {"replication": float(replicated.mean()), "words_correlation": float(np.median(evidence.pearson))}


def measure_triggers(
    driven: Pair[NeuronTriggers],
    read: tuple[TokenReadings, WordForms, np.ndarray],
    judge: WordChecker,
    described: tuple[np.ndarray, np.ndarray],
    *,
    strongest: int,
    rule: WordRule,
    draws: Draws,
) -> tuple[Mapping[str, Any], dict[str, dict[str, np.ndarray]]]:
    """The measures, under `tokens`, and their values under each null.

    agreement: share of the `strongest` neurons with the same class on both splits; agreement_described: the same of all
    described neurons; token_bound, lexical: shares of the described neurons. Of those that are not contextual:
    replication: share whose words predict where they fire on validation (p <= REPLICATES); words_correlation: median
    of `WordEvidence.pearson`; descriptor_correlation: median correlation of their first descriptor.
    read: the arguments of `measure_word_shares` on calibration; described: int [n], the neurons that have a descriptor,
    strongest first, and the correlation of the first one.
    Nulls: `permuted_neurons` (the classes of another neuron, and the words of another one of the same layer),
    `shuffled_tokens` (see `shuffle_tokens`).
    """
    neurons, correlation = described
    kinds = driven.map(lambda split: split.classes[neurons])
    bound = kinds.calibration != CONTEXTUAL
    bound_neurons, layer = neurons[bound], judge.active.layer[neurons[bound]]
    words = driven.calibration.words.column

    def measure_agreement(classes: Pair[np.ndarray]) -> dict[str, float]:
        return {
            "agreement": measure_class_agreement(classes.map(lambda split: split[:strongest])),
            "agreement_described": measure_class_agreement(classes),
        }

    def permute_neurons(generator: np.random.Generator) -> Mapping[str, Any]:
        first = np.arange(len(neurons)) < strongest
        order = np.lexsort((generator.random(len(neurons)), ~first))  # the strongest among themselves
        others = np.empty(len(bound_neurons), dtype=np.int64)
        drawn = generator.random(len(bound_neurons))
        others[np.argsort(layer, kind="stable")] = bound_neurons[np.lexsort((drawn, layer))]
        permuted = Pair(kinds.calibration, kinds.validation[order])
        return {"tokens": measure_agreement(permuted) | _measure_evidence(judge(words[others], bound_neurons))}

    def shuffle_words(generator: np.random.Generator) -> Mapping[str, Any]:
        shares = measure_word_shares(shuffle_tokens(read[0], generator), *read[1:])
        return {"tokens": class_shares(classify_neurons(find_leading(shares.beyond, rule.words), rule.share)[neurons])}

    measures = {
        **measure_agreement(kinds),
        **class_shares(kinds.calibration),
        **_measure_evidence(judge(words[bound_neurons], bound_neurons)),
        "descriptor_correlation": float(np.median(correlation[bound])) if bound.any() else 0.0,
    }
    nulls = {"permuted_neurons": permute_neurons, "shuffled_tokens": shuffle_words}
    return {"tokens": measures}, {null: repeat(draw, draws) for null, draw in nulls.items()}


def tabulate_triggers(driven: Pair[NeuronTriggers], judge: WordChecker) -> pd.DataFrame:
    """One row for every neuron, by layer and index: its classes on both splits, its words on calibration with their
    excess, the share of a sentence's strongest token, its pattern, and the evidence for its words on validation."""
    calibration = driven.calibration
    neurons = np.arange(len(calibration.classes))
    evidence = judge(calibration.words.column, neurons)
    names = [[calibration.names[column] for column in row if column >= 0] for row in calibration.words.column.tolist()]
    pattern, pattern_share = find_patterns(calibration.beyond, calibration.names)
    return pd.DataFrame(
        {
            "layer": judge.active.layer,
            "index": judge.active.index,
            "class": [CLASSES[code] for code in calibration.classes.tolist()],
            "validation_class": [CLASSES[code] for code in driven.validation.classes.tolist()],
            "words": names,
            "shares": [row[: len(held)] for row, held in zip(calibration.words.value.tolist(), names, strict=True)],
            "peak": calibration.peak.astype(np.float64),
            "pattern": pattern,
            "pattern_share": pattern_share.astype(np.float64),
            "validation_count": evidence.count,
            "validation_sentences": evidence.positives,
            "validation_p": np.exp(evidence.log_p),
            "pearson": evidence.pearson,
        }
    )
