"""Is what `triggers` says the same on other reviews, and do a neuron's words tell where it fires, beside chance?"""

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
from descry.assignment import log_tail
from descry.evaluation.chance import Draws, repeat
from descry.splits import REPLICATES, Pair


@dataclass(frozen=True)
class WordEvidence:
    """Whether some words tell where a neuron fires, for every neuron of a split.

    count: int64, of its exemplars, those that hold any of its words; positives: int64, of all sentences; log_p:
    float64, log of the chance that as many would, were the exemplars drawn at random; pearson: float64, of its
    activation and of holding any, over a sample of the sentences, 0 where either does not vary.
    """

    count: np.ndarray
    positives: np.ndarray
    log_p: np.ndarray
    pearson: np.ndarray


def check_words(
    words: np.ndarray, held: csr_array, exemplars: np.ndarray, rows: np.ndarray, probe: np.ndarray
) -> WordEvidence:
    """How well each neuron's words tell where it fires.

    words: int [neurons, n], columns of `held`, -1 for none; held: int16 [sentences, forms], see `presence`; exemplars:
    int [neurons, k], rows of the sentences, -1 for none; rows: int [sample], the sampled sentences, and probe: float16
    [sample, neurons], the activations there. Memory is O(BLOCK x sentences).
    """
    sizes = (exemplars >= 0).sum(axis=1)
    count, positives = np.zeros((2, len(words)), dtype=np.int64)
    pearson = np.zeros(len(words))
    for start in range(0, len(words), BLOCK):
        here = slice(start, start + BLOCK)
        given = words[here] >= 0
        ends = np.cumsum(np.append(0, given.sum(axis=1)))
        own = csr_array((np.ones(ends[-1], np.int16), words[here][given], ends), shape=(len(given), held.shape[1]))
        holds = (held @ own.T).toarray() > 0
        positives[here] = holds.sum(axis=0)
        inside = holds[np.maximum(exemplars[here], 0), np.arange(len(given))[:, None]] & (exemplars[here] >= 0)
        count[here] = inside.sum(axis=1)
        pearson[here] = _correlations(probe[:, here].astype(np.float64), holds[rows])
    log_p = np.zeros(len(words))
    for hits, draws in {*zip(positives.tolist(), sizes.tolist(), strict=True)}:
        alike = (positives == hits) & (sizes == draws)
        log_p[alike] = log_tail(held.shape[0], hits, draws)[count[alike]]
    return WordEvidence(count, positives, log_p, pearson)


def _correlations(values: np.ndarray, holds: np.ndarray) -> np.ndarray:
    """Pearson correlation of every two columns alike: float64 [columns]."""
    values = values - values.mean(axis=0)
    given = holds - holds.mean(axis=0)
    spread = np.sqrt((values**2).sum(axis=0) * (given**2).sum(axis=0))
    product = (values * given).sum(axis=0)
    return np.asarray(np.divide(product, spread, out=np.zeros(len(spread)), where=spread > 1e-12))


@dataclass(frozen=True)
class WordChecker:
    """What `check_words` needs besides words: `held` of validation's sentences, its activations with a probe, and the
    size of an exemplar set."""

    held: csr_array
    active: Activations
    exemplars: int

    def __call__(self, words: np.ndarray, neurons: np.ndarray) -> WordEvidence:
        """What the words [n, count] tell of as many neurons, int [n]."""
        sets = self.active.exemplars(self.exemplars)[neurons]
        return check_words(words, self.held, sets, self.active.probe_rows, self.active.probe[:, neurons])


def class_shares(found: np.ndarray) -> dict[str, float]:
    """Share of some neurons that are bound to one and to a few words; found: int8 [neurons]. 0.0 without any."""
    counts = np.bincount(found, minlength=len(CLASSES)) / max(len(found), 1)
    return {"token_bound": float(counts[TOKEN_BOUND]), "lexical": float(counts[LEXICAL])}


def measure_class_agreement(found: Pair[np.ndarray]) -> float:
    """Share of neurons that have the same class on both splits; 0.0 where there is none."""
    return float((found.calibration == found.validation).mean()) if len(found.calibration) else 0.0


def _tells(told: WordEvidence) -> dict[str, float]:
    if not len(told.count):
        return {"replication": 0.0, "words_correlation": 0.0}
    again = told.log_p <= np.log(REPLICATES)
    return {"replication": float(again.mean()), "words_correlation": float(np.median(told.pearson))}


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
    """The measures, under `tokens`, and each null's values of them.

    agreement: share of the `strongest` neurons that have the same class on both splits; agreement_described: of all
    described ones; token_bound, lexical: share of the described ones; of those that are not contextual:
    replication: share whose words tell where they fire on validation (p <= REPLICATES); words_correlation: the median
    of `WordEvidence.pearson`, descriptor_correlation: the same of their first descriptor.
    Nulls: `permuted_neurons` (the classes, and within a layer the words, of another neuron), `shuffled_tokens` (see
    `shuffle_tokens`). read: of calibration, as `measure_word_shares` takes it; described: int [n], the neurons that
    have a descriptor, strongest first, and its correlation.
    """
    neurons, correlation = described
    kinds = driven.map(lambda split: split.classes[neurons])
    bound = kinds.calibration != CONTEXTUAL
    own, layer = neurons[bound], judge.active.layer[neurons[bound]]
    given = driven.calibration.words.column

    def agreement(found: Pair[np.ndarray]) -> dict[str, float]:
        return {
            "agreement": measure_class_agreement(found.map(lambda split: split[:strongest])),
            "agreement_described": measure_class_agreement(found),
        }

    def permuted(generator: np.random.Generator) -> Mapping[str, Any]:
        first = np.arange(len(neurons)) < strongest
        order = np.lexsort((generator.random(len(neurons)), ~first))  # the strongest among themselves
        others = np.empty(len(own), dtype=np.int64)
        others[np.argsort(layer, kind="stable")] = own[np.lexsort((generator.random(len(own)), layer))]
        moved = Pair(kinds.calibration, kinds.validation[order])
        return {"tokens": agreement(moved) | _tells(judge(given[others], own))}

    def without_words(generator: np.random.Generator) -> Mapping[str, Any]:
        borne = measure_word_shares(shuffle_tokens(read[0], generator), *read[1:])
        return {"tokens": class_shares(classify_neurons(find_leading(borne.beyond, rule.words), rule.share)[neurons])}

    found = {
        **agreement(kinds),
        **class_shares(kinds.calibration),
        **_tells(judge(given[own], own)),
        "descriptor_correlation": float(np.median(correlation[bound])) if bound.any() else 0.0,
    }
    nulls = {"permuted_neurons": permuted, "shuffled_tokens": without_words}
    return {"tokens": found}, {null: repeat(draw, draws) for null, draw in nulls.items()}


def tabulate_triggers(driven: Pair[NeuronTriggers], judge: WordChecker) -> pd.DataFrame:
    """Every neuron, by layer and index: its classes on both splits, its words on calibration and what they carry beyond
    their part, the share of a sentence's activation on its strongest token, the pattern that carries more than a word,
    and what the words tell of it on validation."""
    own = driven.calibration
    neurons = np.arange(len(own.classes))
    tells = judge(own.words.column, neurons)
    names = [[own.names[column] for column in row if column >= 0] for row in own.words.column.tolist()]
    pattern, pattern_share = find_patterns(own.beyond, own.names)
    return pd.DataFrame(
        {
            "layer": judge.active.layer,
            "index": judge.active.index,
            "class": [CLASSES[one] for one in own.classes.tolist()],
            "validation_class": [CLASSES[one] for one in driven.validation.classes.tolist()],
            "words": names,
            "shares": [row[: len(held)] for row, held in zip(own.words.value.tolist(), names, strict=True)],
            "peak": own.peak.astype(np.float64),
            "pattern": pattern,
            "pattern_share": pattern_share.astype(np.float64),
            "validation_count": tells.count,
            "validation_sentences": tells.positives,
            "validation_p": np.exp(tells.log_p),
            "pearson": tells.pearson,
        }
    )
