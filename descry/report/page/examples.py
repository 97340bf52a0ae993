"""Ready examples: sentences that were read token by token, explained as `descry explain` explains any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from descry.activations.record import Activations
from descry.assignment import Findings
from descry.evaluation.explanation import explain
from descry.evaluation.voting import Electorate, measure_firing, standardise
from descry.report.content import Explained, Guess

GUESSES = 3
"""Descriptors of a sentence that are shown."""


def explain_examples(
    calibration: Activations,
    findings: Findings,
    examples: Mapping[str, np.ndarray],
    texts: Sequence[str],
    aspects: Sequence[Sequence[str] | None],
) -> list[Explained]:
    """Every example with its GUESSES best descriptors among those that some neuron carries.

    calibration: with its probe; findings: on calibration; examples: arrays of that kind, as descry.artifacts has them;
    texts, aspects: of each, None where they are not known.
    """
    fired = measure_firing(calibration, calibration)
    electorate = Electorate.of(fired, findings)
    heard = electorate.scores(fired)
    spoken = set(electorate.spoken.tolist())
    ends = np.concatenate([[0], np.cumsum(examples["lengths"])])
    out = []
    for place, (start, stop) in enumerate(pairwise(ends)):
        pooled = standardise(examples["pooled"][place], calibration)
        tokens = standardise(examples["values"][start:stop], calibration)
        said = explain(electorate, heard, pooled, tokens, descriptors=GUESSES)
        spans = zip(examples["start"][start:stop].tolist(), examples["stop"][start:stop].tolist(), strict=True)
        guesses = [
            Guess(
                int(column),
                round(float(said.score[column]), 4),
                round(float(said.chance[column]), 6),
                [round(float(vote), 4) for vote in said.tokens[:, column]],
                [
                    (int(n), round(float(z), 3), round(float(part), 5))
                    for n, z, part in zip(speakers.neuron, speakers.z, speakers.contribution, strict=True)
                ],
            )
            for column, speakers in zip(said.order, said.speakers, strict=False)
            if column in spoken
        ]
        known = aspects[place]
        out.append(Explained(texts[place], list(spans), [] if known is None else list(known), guesses))
    return out
