"""Sections about the target: which neurons are read, what is kept of them, and when a descriptor is theirs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from descry.settings.base import Different, Section, Share


class Extract(Section):
    """Which neurons of the target are read, and what is kept of their activations."""

    section = "extract"

    site: Literal["ffn", "hidden", "attention"]
    """Which neurons: the inputs of each feed-forward block's down projection, the outputs of each layer, or the inputs
    of each attention's output projection."""
    stack: Literal["encoder", "decoder", "both"]
    """Of an encoder-decoder: whose layers; the decoder's count on from the encoder's. Other models have one stack, and
    this says nothing."""
    layers: list[Annotated[int, Field(ge=1)]] | None
    "Numbers of the layers that are read, from 1; null for all."
    modules: str = Field(pattern=r"^([^\s.]+(\.[^\s.]+)*)?$")
    """For an architecture whose neurons are not found: a dotted pattern of module names, `*` for one part or some of
    it. Their inputs are the neurons (with `hidden` their outputs). Empty where the structure decides."""
    pooling: Literal["max", "mean", "first", "last"]
    "How a neuron's values over a sentence's own tokens become one."
    also: list[Literal["max", "mean", "first", "last"]]
    "Further poolings, extracted in the same pass and compared with the first in the sweeps."
    top_k: int = Field(ge=1, le=10_000)
    "Sentences kept for every neuron, strongest first; `assign.exemplars` may be at most this."
    probe: int = Field(ge=1)
    "Sentences for which every activation is kept: a fixed sample, for sentence-level measures."

    @model_validator(mode="after")
    def _different(self) -> Extract:
        if len({self.pooling, *self.also}) <= len(self.also):
            raise ValueError(f"also is {self.also!r}: name each pooling once, and not {self.pooling!r} again")
        if self.layers is not None and not 0 < len(self.layers) == len(set(self.layers)):
            raise ValueError(f"layers is {self.layers!r}: name each layer once, or give null for all")
        return self


class Controls(Section):
    """Models that should know less than the target, put through the same path."""

    section = "controls"

    kinds: Different[Literal["untrained_target", "random_directions"]]
    "Which: random weights; random directions in place of neurons. An empty list for none."
    sample: int = Field(ge=2)
    "Sentences of calibration from which the directions take their mean and spread, at most."
    seed: int = Field(ge=0)
    "Seed of the weights and of the directions."


class Assign(Section):
    """When a descriptor is a neuron's."""

    section = "assign"

    rule: Literal["enrichment", "composition"]
    "Which rule decides; the figures of both stand in the table."
    exemplars: int = Field(ge=1, le=10_000)
    "Size of a neuron's exemplar set."
    alpha: Share
    "enrichment: the false discovery rate over all neurons and descriptors."
    min_lift: float = Field(ge=0.0)
    "enrichment: least ratio of composition to prevalence."
    min_count: int = Field(ge=1)
    "enrichment: least number of exemplars that bear the descriptor."
    tau: float = Field(gt=0.0, le=1.0)
    "composition: least share of the exemplars that bear the descriptor."

    @model_validator(mode="after")
    def _reachable(self) -> Assign:
        if self.min_count > self.exemplars:
            raise ValueError(f"min_count ({self.min_count}) is above exemplars ({self.exemplars})")
        return self


class Tokens(Section):
    """On which tokens neurons fire."""

    section = "tokens"

    exemplars: int = Field(ge=1, le=100)
    "Sentences of each neuron and split that are read token by token, strongest first."
    examples: int = Field(ge=0, le=100)
    "Sentences of validation, drawn at random, that are explained as `descry explain` explains any other."


class Neighbours(Section):
    """Which neurons fire on the same sentences."""

    section = "neighbours"

    nearest: int = Field(ge=1, le=100)
    "Neighbours of each neuron."
    exemplars: int = Field(ge=1, le=1000)
    "Sentences of each neuron that are compared, strongest first."
