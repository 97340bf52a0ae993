"""One frozen, validated model per section of params.yaml, with a sentence under each field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from descry.errors import InputError

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class Section(BaseModel):
    """A section of params.yaml: unknown keys and values of another type are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
    section: ClassVar[str]


class ModelSource(BaseModel):
    """Where one model comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    source: str = Field(min_length=1)
    "`package:NAME` (an installed package), a local folder, or a Hub id `owner/name`."
    revision: str = ""
    "For a Hub id: the 40 hexadecimal digits of the commit."
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    "What model.safetensors must hash to; empty for no check."


class Models(Section):
    """Which models take part."""

    section = "models"

    target: ModelSource
    "The model whose neurons are described."
    embedder: ModelSource
    "The sentence encoder behind the embedded generator, clustering and labeller."


class Split(Section):
    """Which reviews, and how they are divided."""

    section = "split"

    source: str = Field(min_length=1)
    "A .jsonl, .csv, .tsv, .parquet or .txt file (one review a line), or `hf://owner/name[@revision][/split]`."
    text_field: str = Field(min_length=1)
    "Field or column that holds the text."
    id_field: str = Field(min_length=1)
    "Field or column that holds the review's id; where a review has none, a hash of its text serves."
    product_field: str = Field(min_length=1)
    "Field or column that names the product; it may be absent."
    limit: int | None = Field(ge=2)
    "Read at most this many reviews, first ones first; null for all."
    validation: Share
    "Share of the reviews that goes to validation."
    key: str = Field(min_length=1, max_length=64)
    "Key of the hash that decides a review's side; another key, another split."
    language: str = Field(min_length=2, max_length=8)
    "ISO 639 code of the language, for sentence segmentation."


class Runtime(Section):
    """How models are run; shared by every stage that runs one."""

    section = "runtime"

    device: str = Field(pattern=r"^(cpu|cuda(:\d+)?|mps)$")
    "`cpu`, `cuda`, `cuda:N` or `mps`."
    dtype: Literal["float32", "bfloat16"]
    "Arithmetic of the target model."
    batch_tokens: int = Field(ge=1)
    "A batch holds at most this many tokens, padding included; 1,024 suits a CPU, more a GPU."


class Extract(Section):
    """What is kept of the target's activations."""

    section = "extract"

    pooling: Literal["max", "mean", "first", "last"]
    "How a neuron's values over a sentence's own tokens become one."
    top_k: int = Field(ge=1, le=10_000)
    "Sentences kept for every neuron, strongest first; `assign.exemplars` may be at most this."
    probe: int = Field(ge=1)
    "Sentences for which every activation is kept: a fixed sample, for sentence-level measures."


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


class Consistency(Section):
    """How the two splits' findings are compared."""

    section = "consistency"

    repeats: int = Field(ge=1)
    "Random repeats behind every chance value."
    seed: int = Field(ge=0)
    "Seed of those repeats."


class Evaluate(Section):
    """How findings are measured."""

    section = "evaluate"

    ks: list[Annotated[int, Field(ge=1)]] = Field(min_length=1)
    "Ranks at which precision and recall are taken."
    repeats: int = Field(ge=1)
    "Random repeats behind every chance value."
    seed: int = Field(ge=0)
    "Seed of those repeats."


class Report(Section):
    """What the page shows."""

    section = "report"

    neurons: int = Field(ge=1, le=1000)
    "Neurons shown for each descriptor, best first."
    exemplars: int = Field(ge=1, le=100)
    "Sentences shown for each of those."


S = TypeVar("S", bound=Section)


def parse(section: type[S], values: Mapping[str, Any]) -> S:
    """A validated section out of all of params.yaml. Errors: InputError, one line a fault."""
    name = section.section
    if not isinstance(values.get(name), Mapping):
        raise InputError(f"params.yaml: section `{name}` is not there or not a mapping")
    try:
        return section.model_validate(dict(values[name]))
    except ValidationError as error:
        faults = [f"{_key(name, fault['loc'])} {_said(fault)}" for fault in error.errors()]
        raise InputError("params.yaml: " + "; ".join(faults)) from None


def _key(section: str, location: tuple[int | str, ...]) -> str:
    return ".".join([section, *map(str, location)])


def _said(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return "is not a known key"
    if fault["type"] == "missing":
        return "is missing"
    message = fault["msg"].removeprefix("Value error, ")
    return f"is {fault['input']!r}: {message[0].lower() + message[1:]}" if fault["type"] != "value_error" else f": {message}"
