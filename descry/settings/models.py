"""Where the weights of every model come from. Its defaults decide results: stages that read it depend on it."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from descry.settings.base import NAME, Part, Section


class ModelSource(Part):
    """Where one model comes from."""

    source: str = Field(min_length=1)
    "`package:NAME` (an installed package), a local folder, or a Hub id `owner/name`."
    revision: str = ""
    "For a Hub id: the 40 hexadecimal digits of the commit."
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    "What model.safetensors must hash to; empty for no check."


class TargetModel(ModelSource, Section):
    """The model whose neurons are described."""

    section = "models.target"


class EmbedderModel(ModelSource, Section):
    """The sentence encoder behind the embedded generator, clustering and labeller."""

    section = "models.embedder"


class LlmWeights(Section):
    """Weights of the language models that `llms` runs on this machine, by the same names; {} for none."""

    section = "models.llms"
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Annotated[str, Field(pattern=NAME)], ModelSource] = Field(init=False)

    @property
    def entries(self) -> dict[str, ModelSource]:
        """The sources by name."""
        return dict(self.__pydantic_extra__)
