"""Sections of the stages that measure and show."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from descry.settings.base import NAME, Different, Section, Share, Switched


class Consistency(Section):
    """How the descriptors that neurons get on calibration and on validation are compared."""

    section = "consistency"

    repeats: int = Field(ge=1)
    "Random draws behind every chance level. More are more precise and take longer."
    seed: int = Field(ge=0)
    "Seed of those draws."


class Associate(Section):
    """How strongly each neuron and its descriptors go together on validation sentences."""

    section = "associate"

    repeats: int = Field(ge=2)
    "Bootstrap samples of reviews behind each interval. More are more precise and take longer."
    seed: int = Field(ge=0)
    "Seed of those samples."


class Sweep(Section):
    """Settings that are varied one at a time, on the same activations, to see what the measures owe to them."""

    section = "sweep"

    thresholds: Different[Annotated[float, Field(gt=0.0, le=1.0)]] = Field(min_length=1)
    "Least shares of exemplars with the descriptor to try, under both rules of `assign`."
    exemplars: Different[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    "Numbers of exemplars to try; those above `extract.top_k` are left out."
    ks: Different[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    "Numbers of first guesses (k) for precision at k and recall at k."
    seed: int = Field(ge=0)
    "Seed of the random exemplars that give the chance level."

    @field_validator("ks")
    @classmethod
    def _check_drawn(cls, ks: list[int]) -> list[int]:
        if not {1, 2} <= set(ks):
            raise PydanticCustomError("drawn", "name 1 and 2 at least, which the page draws")
        return ks


class Resplit(Section):
    """How often the measures are repeated on other splits of the same sentences, to see how much they vary."""

    section = "resplit"

    splits: int = Field(ge=0)
    "Other splits, at least 2; 0 for none. Differences are then not judged."
    seed: int = Field(ge=0)
    "Seed of the keys of those splits."

    @field_validator("splits")
    @classmethod
    def _check_two(cls, splits: int) -> int:
        if splits == 1:
            raise PydanticCustomError("two", "one split does not tell how measures vary; give 2 or more, or 0 for none")
        return splits


class Evaluate(Section):
    """How descriptors, labels and neurons are measured against labels and gold aspects."""

    section = "evaluate"

    ks: Different[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    "Numbers of first guesses (k) for precision at k and recall at k."
    repeats: int = Field(ge=1)
    "Random draws behind every chance level. More are more precise and take longer."
    seed: int = Field(ge=0)
    "Seed of those draws."


class Triggers(Switched, Section):
    """Which words drive neurons."""

    section = "triggers"

    words: int = Field(ge=1, le=100)
    "Most word forms that are named as driving a neuron."
    share: Share
    """Share of a neuron's activation that words must carry, beyond their share of the tokens, to drive it: if one word
    form does, the neuron is token-bound; if `words` of them do together, lexical; else contextual."""
    strongest: int = Field(ge=1)
    "How many described neurons, lowest p first, have their class on both splits compared."
    repeats: int = Field(ge=1)
    "Random draws behind every chance level. More are more precise and take longer."
    seed: int = Field(ge=0)
    "Seed of those draws."


class Relations(Switched, Section):
    """Which descriptors go together, in sentences and in neurons."""

    section = "relations"

    alpha: Share
    """False discovery rate over all ordered pairs of descriptors, and over all pairs of neurons that may split one.
    Larger finds more pairs, with more errors."""
    repeats: int = Field(ge=1)
    "Random draws behind every chance level. More are more precise and take longer."
    seed: int = Field(ge=0)
    "Seed of those draws."


class Depth(Switched, Section):
    """In which layers descriptors are found."""

    section = "depth"

    repeats: int = Field(ge=1)
    "Random draws behind every chance level. More are more precise and take longer."
    seed: int = Field(ge=0)
    "Seed of those draws."


class Writes(Switched, Section):
    """Which tokens neurons promote, if the target predicts words."""

    section = "writes"

    tokens: int = Field(ge=1, le=100)
    "How many tokens are kept that a neuron promotes most, and as many that it suppresses most."
    repeats: int = Field(ge=1)
    "Random draws behind the chance level. More are more precise and take longer."
    seed: int = Field(ge=0)
    "Seed of those draws."


class Ablate(Switched, Section):
    """Each descriptor's neurons switched off: what does the model lose of it?"""

    section = "ablate"

    neurons: int = Field(ge=1)
    "Most neurons of a descriptor to switch off, lowest p first; compared with as many random ones of the same layers."
    value: Literal["mean", "zero"]
    "What replaces the value of a neuron that is switched off: its mean over calibration tokens, or zero."
    sentences: int = Field(ge=2)
    "How many random validation sentences all descriptors are measured on."
    positives: int = Field(ge=1)
    "Most sentences with a descriptor that are added for that descriptor alone, since random ones may hold few."
    draws: int = Field(ge=1, le=100)
    "Random sets of neurons per descriptor. More are more precise and take longer."
    words: int = Field(ge=1)
    "Most places of a descriptor's words in validation sentences; ignored if the target does not predict words."
    seed: int = Field(ge=0)
    "Seed of the random sets."


class Describe(Section):
    """Sentences that a language model writes of the strongest neurons, from their calibration exemplars, and of every
    descriptor, from its clearest sentences."""

    section = "describe"

    llm: str = Field(pattern=rf"^$|{NAME}")
    "Name in `llms` of the language model that writes; empty for none."
    neurons: int = Field(ge=2)
    "How many described neurons, lowest p first, are written about."
    candidates: int = Field(ge=1, le=100)
    """Descriptions written of a neuron or descriptor, each from other sentences; the one is kept that fits best the
    sentences that no prompt shows."""
    exemplars: int = Field(ge=1, le=100)
    """Sentences in a prompt on which the neuron is strongest (that have the descriptor most clearly), and as many that
    almost activate it (not where the prompt is completed, `llms.NAME.complete`)."""
    max_tokens: int = Field(ge=1)
    "Most tokens of an answer."


class Judge(Section):
    """Descriptions of neurons in free text, scored on held-out sentences beside other neurons' descriptions."""

    section = "judge"

    source: str = Field(min_length=1)
    """Descriptions by anybody: a csv file with the columns layer, unit and description, or another tool's file or
    folder (docs/judge.md). Where it has none, only those that the stage `describe` wrote are judged."""
    llm: str = Field(pattern=rf"^$|{NAME}")
    """Name in `llms` of a language model on this machine, by whose likelihood a description fits a sentence; empty for
    the sentence encoder's similarity."""


class Report(Section):
    """What the report shows."""

    section = "report"

    exemplars: int = Field(ge=1, le=100)
    "How many strongest sentences of each neuron and split are shown; no more than `tokens.exemplars` are."
