"""Files for other tools, as their sources define them; a field more, or a value out of bounds, is refused."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

Token = str
Layer = Annotated[int, Field(ge=1)]
Unit = Annotated[int, Field(ge=0)]
LONGEST = 512
"""Most characters of a description that Neuronpedia takes."""
BATCH = 128
"""Most features of one of its uploads."""
LOGITS = 20
"""Most tokens of either end that it takes."""


class Strict(BaseModel):
    """No other field, no other type."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class CsvRow(Strict):
    """A row of the csv file."""

    layer: Layer
    unit: Unit
    description: str = Field(min_length=1)
    descriptor: str
    q: FiniteFloat = Field(ge=0, le=1)
    pearson: FiniteFloat = Field(ge=-1, le=1)


class DelphiExplanation(Strict):
    """A file of delphi's folder `explanations`: its name, and the string in it."""

    name: str = Field(pattern=r"^layers\.\d+\.mlp_latent\d+\.txt$")
    text: str = Field(min_length=1)


class NeuronpediaExplanation(Strict):
    """A description; methodName is null, since others than the registered are refused."""

    text: str = Field(min_length=1, max_length=LONGEST)
    methodName: None = None
    modelName: None = None


class NeuronpediaActivation(Strict):
    """An exemplar token by token."""

    tokens: list[Token] = Field(min_length=1, max_length=1024)
    values: list[FiniteFloat] = Field(min_length=1, max_length=1024)


class NeuronpediaFeature(Strict):
    """A unit. density: share of calibration's sampled sentences on which it is above 0."""

    index: Unit
    density: FiniteFloat = Field(ge=0, le=1)
    topLogits: list[str] = Field(max_length=LOGITS)
    bottomLogits: list[str] = Field(max_length=LOGITS)
    explanations: list[NeuronpediaExplanation] = Field(min_length=1, max_length=1)
    activations: list[NeuronpediaActivation]


class NeuronpediaUpload(Strict):
    """A batch for the upload API. source: a layer, counted from 0, and the set's name."""

    modelId: str = Field(min_length=1)
    source: str = Field(pattern=r"^\d+-descry$")
    features: list[NeuronpediaFeature] = Field(min_length=1, max_length=BATCH)


class CircuitTracerExample(Strict):
    """An exemplar token by token. train_token_ind: where it is strongest."""

    tokens_acts_list: list[FiniteFloat] = Field(min_length=1)
    train_token_ind: int = Field(ge=0)
    is_repeated_datapoint: bool
    tokens: list[Token] = Field(min_length=1)


class CircuitTracerQuantile(Strict):
    """Exemplars. quantile_name: the heading over them, where a description stands, since the format has no field for
    one."""

    quantile_name: str = Field(min_length=1)
    examples: list[CircuitTracerExample]


class CircuitTracerFeature(Strict):
    """A unit. transcoder_id: a layer, counted from 0, and the set's name; act_min, act_max, quantile_values (1st to
    99th percentile), histogram (counts between act_min and act_max), activation_frequency (share above 0): of
    calibration's sampled sentences."""

    transcoder_id: str = Field(pattern=r"^\d+-descry$")
    index: Unit
    examples_quantiles: list[CircuitTracerQuantile] = Field(min_length=1, max_length=1)
    top_logits: list[str]
    bottom_logits: list[str]
    act_min: FiniteFloat
    act_max: FiniteFloat
    quantile_values: list[FiniteFloat] = Field(min_length=99, max_length=99)
    histogram: list[FiniteFloat] = Field(min_length=1)
    activation_frequency: FiniteFloat = Field(ge=0, le=1)
