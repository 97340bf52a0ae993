"""Sections about what is measured and shown."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from descry.settings.base import Different, Section, Share, Switched


class Consistency(Section):
    """How the two splits' findings are compared."""

    section = "consistency"

    repeats: int = Field(ge=1)
    "Random repeats behind every chance value."
    seed: int = Field(ge=0)
    "Seed of those repeats."


class Associate(Section):
    """How strongly the assigned pairs go together on validation's sentences."""

    section = "associate"

    repeats: int = Field(ge=2)
    "Bootstrap samples of reviews behind each interval."
    seed: int = Field(ge=0)
    "Seed of those samples."


class Sweep(Section):
    """Settings that are varied, one at a time, on the same activations."""

    section = "sweep"

    thresholds: Different[Annotated[float, Field(gt=0.0, le=1.0)]] = Field(min_length=1)
    "Shares of the exemplars that must bear a descriptor, under either rule."
    exemplars: Different[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    "Sizes of the exemplar set; those above extract.top_k are left out."
    ks: Different[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    "Ranks at which precision and recall are taken."
    seed: int = Field(ge=0)
    "Seed of the random exemplars that are drawn in as chance."

    @field_validator("ks")
    @classmethod
    def _drawn(cls, ks: list[int]) -> list[int]:
        if not {1, 2} <= set(ks):
            raise PydanticCustomError("drawn", "name 1 and 2 at least, which the page draws")
        return ks


class Evaluate(Section):
    """How findings are measured."""

    section = "evaluate"

    ks: Different[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    "Ranks at which precision and recall are taken."
    repeats: int = Field(ge=1)
    "Random repeats behind every chance value."
    seed: int = Field(ge=0)
    "Seed of those repeats."


class Triggers(Switched, Section):
    """Which words drive neurons."""

    section = "triggers"

    words: int = Field(ge=1, le=100)
    "Word forms that a neuron may be told to be driven by, at most."
    share: Share
    """What they carry of it beyond their part: where one word form carries as much, the neuron is token-bound; where
    `words` of them do together, lexical; else contextual."""
    strongest: int = Field(ge=1)
    "Neurons by the p of their first descriptor, the lowest first, whose classes on both splits are compared."
    repeats: int = Field(ge=1)
    "Random repeats behind every chance value."
    seed: int = Field(ge=0)
    "Seed of those repeats."


class Relations(Switched, Section):
    """Which descriptors go together."""

    section = "relations"

    alpha: Share
    "False discovery rate over all ordered pairs of descriptors."
    repeats: int = Field(ge=1)
    "Random repeats behind every chance value."
    seed: int = Field(ge=0)
    "Seed of those repeats."


class Depth(Switched, Section):
    """Where in depth descriptors live."""

    section = "depth"

    repeats: int = Field(ge=1)
    "Random repeats behind every chance value."
    seed: int = Field(ge=0)
    "Seed of those repeats."


class Ablate(Switched, Section):
    """Neurons switched off."""

    section = "ablate"

    neurons: int = Field(ge=1)
    "Of a descriptor, those with the lowest p, at most; beside them as many random ones of the same layers."
    value: Literal["mean", "zero"]
    "What a neuron that is switched off gives: its mean over tokens of calibration, or nothing."
    sentences: int = Field(ge=2)
    "Of validation, drawn at random, on which all descriptors are looked at."
    positives: int = Field(ge=1)
    "Sentences that bear a descriptor, at most, which join them for that descriptor alone."
    draws: int = Field(ge=1, le=100)
    "Random sets of neurons for each descriptor."
    words: int = Field(ge=1)
    "Where the target predicts words: places of each descriptor's words in sentences of validation, at most."
    seed: int = Field(ge=0)
    "Seed of the random sets."


class Report(Section):
    """What the page shows."""

    section = "report"

    exemplars: int = Field(ge=1, le=100)
    "Sentences of each neuron and split, at most `tokens.exemplars`."
