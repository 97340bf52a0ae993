"""Ready-made examples: sentences explained token by token, as `descry explain` does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from descry.activations.record import Activations
from descry.evaluation.explanation import explain
from descry.evaluation.voting import Electorate, standardise
from descry.report.content import Explained, Guess

GUESSES = 3
"""Descriptors of a sentence that are shown."""


def explain_examples(
    calibration: Activations,
    electorate: Electorate,
    examples: Mapping[str, np.ndarray],
    texts: Sequence[str],
    aspects: Sequence[Sequence[str] | None],
) -> list[Explained]:
    """Every example with its GUESSES best descriptors among those that some neuron has.

    electorate: fitted on calibration; examples: arrays of EXAMPLE_ARRAYS; texts: of each; aspects:
    of each, None where they are not known.
    """
    votable = set(electorate.spoken.tolist())
    ends = np.concatenate([[0], np.cumsum(examples["lengths"])])
    explained = []
    for place, (start, stop) in enumerate(pairwise(ends)):
        pooled = standardise(examples["pooled"][place], calibration)
        tokens = standardise(examples["values"][start:stop], calibration)
        explanation = explain(electorate, pooled, tokens, descriptors=GUESSES)
        spans = zip(examples["start"][start:stop].tolist(), examples["stop"][start:stop].tolist(), strict=True)
        guesses = [
            Guess(
                int(column),
                round(float(explanation.probability[column]), 4),
                round(float(explanation.prevalence[column]), 4),
                [round(float(vote), 4) for vote in explanation.tokens[:, column]],
                [
                    (int(n), round(float(z), 3), round(float(part), 5))
                    for n, z, part in zip(speakers.neuron, speakers.z, speakers.contribution, strict=True)
                ],
            )
            for column, speakers in zip(explanation.order, explanation.speakers, strict=False)
            if column in votable
        ]
        gold = aspects[place]
        explained.append(Explained(texts[place], list(spans), [] if gold is None else list(gold), guesses))
    return explained
