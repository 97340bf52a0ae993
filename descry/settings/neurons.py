"""Sections about the target's neurons: which are read, what is kept of them, which descriptors they are assigned."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from descry.settings.base import Different, Section, Share


class Extract(Section):
    """Which neurons of the target are read, and what is kept of their activations."""

    section = "extract"

    units: Literal["neurons", "dictionary"]
    """What is described: `neurons`, or the latents of the dictionaries in `models.dictionaries`, in the layers that
    have one. Then `site` counts only for dictionaries whose files do not say where they read: `hidden`, the layer's
    outputs; `ffn`, its down projection's outputs; `attention`, the inputs of its attention's output projection."""
    site: Literal["ffn", "hidden", "attention"]
    """Which values count as neurons: `ffn`, the inputs of each feed-forward block's down projection; `hidden`, the
    outputs of each layer; `attention`, the inputs of each attention's output projection."""
    stack: Literal["encoder", "decoder", "both"]
    """Which layers of an encoder-decoder model are read; the decoder's numbers follow the encoder's. Other models have
    one stack and ignore this."""
    layers: list[Annotated[int, Field(ge=1)]] | None
    "Layers to read, as a list of numbers from 1; null for all."
    modules: str = Field(pattern=r"^([^\s.]+(\.[^\s.]+)*)?$")
    """A dotted pattern of module names (`*` stands for any text within a part) whose inputs, or outputs with `hidden`,
    are the neurons. Only for architectures where they are not found without it; else empty."""
    pooling: Literal["max", "mean", "first", "last"]
    "How a neuron's values on the tokens of a sentence become one; special tokens and padding never count."
    also: list[Literal["max", "mean", "first", "last", "negative"]]
    """Further poolings to compare with the first one in the sweeps; they are read in the same pass. `negative` is the
    first one of the negated values: it gives every neuron a negative end with exemplars and descriptors of its own,
    which is worthwhile for gated units (SwiGLU), as often strongly negative as positive."""
    top_k: int = Field(ge=1, le=10_000)
    "Strongest sentences that are kept of every neuron. `assign.exemplars` cannot be larger."
    probe: int = Field(ge=1)
    "Sentences of each split, a fixed random sample, of which every activation is kept, for measures of sentences."

    @property
    def poolings(self) -> list[str]:
        """All poolings by their names in descry/models/pooling.py, the first one first."""
        return [self.pooling, *(f"negative_{self.pooling}" if name == "negative" else name for name in self.also)]

    @model_validator(mode="after")
    def _check_distinct(self) -> Extract:
        if len({self.pooling, *self.also}) <= len(self.also):
            raise ValueError(f"also is {self.also!r}: name each pooling once, and not {self.pooling!r} again")
        if self.layers is not None and not 0 < len(self.layers) == len(set(self.layers)):
            raise ValueError(f"layers is {self.layers!r}: name each layer once, or give null for all")
        return self


class Controls(Section):
    """Controls: other units that go through the same pipeline as the target's."""

    section = "controls"

    kinds: Different[Literal["untrained_target", "random_directions", "target_neurons"]]
    """`untrained_target`: random weights; `random_directions`: random directions in place of neurons; `target_neurons`:
    where latents are described, the neurons of the same layers (otherwise nothing). [] for none."""
    sample: int = Field(ge=2)
    "Most calibration sentences from which the random directions take the neurons' means and spreads."
    seed: int = Field(ge=0)
    "Seed of the random weights and directions."


class Assign(Section):
    """When a descriptor is assigned to a neuron."""

    section = "assign"

    rule: Literal["enrichment", "composition"]
    "`enrichment` tests each descriptor for significance; `composition`, the paper's, takes those that are frequent."
    exemplars: int = Field(ge=1, le=10_000)
    """How many of a neuron's strongest sentences are its exemplars, from which it is described. A neuron that leaves
    its resting value on fewer sentences has fewer."""
    alpha: Share
    "enrichment: the false discovery rate over all neurons and descriptors. Larger assigns more, with more errors."
    min_lift: float = Field(ge=0.0)
    "enrichment: least lift, the descriptor's share of the exemplars divided by its share of all sentences."
    min_count: int = Field(ge=1)
    "enrichment: least number of exemplars that have the descriptor."
    tau: float = Field(gt=0.0, le=1.0)
    "composition: least share of the exemplars that have the descriptor."

    @model_validator(mode="after")
    def _check_reachable(self) -> Assign:
        if self.min_count > self.exemplars:
            raise ValueError(f"min_count ({self.min_count}) is above exemplars ({self.exemplars})")
        return self


class Tokens(Section):
    """On which tokens of their strongest sentences neurons fire."""

    section = "tokens"

    exemplars: int = Field(ge=1, le=100)
    "How many strongest sentences of each neuron and split are read token by token; at most `extract.top_k`."
    examples: int = Field(ge=0, le=100)
    "How many random validation sentences the report explains as `descry explain` does."


class Neighbours(Section):
    """Which neurons fire on the same sentences."""

    section = "neighbours"

    nearest: int = Field(ge=1, le=100)
    "How many neighbours each neuron is given."
    exemplars: int = Field(ge=1, le=1000)
    "How many strongest sentences of each neuron are compared; at most `extract.top_k`."
