"""The section `models`: where weights come from. Its defaults can change results: stages that read it depend on it."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from descry.settings.base import NAME, Part, Section


class ModelSource(Part):
    """Where one model comes from."""

    source: str = Field(min_length=1)
    """`package:NAME` (an installed Python package), a local folder, a `.gguf` file, or a Hugging Face Hub id
    `owner/name`."""
    revision: str = ""
    "Commit of a Hub id, 40 hexadecimal digits; empty for a package or a folder."
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """SHA-256 that the model's files must have, all together, as the stage `models` prints it; empty to skip the
    check."""


class TargetModel(ModelSource, Section):
    """The model whose neurons are described."""

    section = "models.target"


class EmbedderModel(ModelSource, Section):
    """The sentence encoder that `generate`, `cluster` and `label` embed text with."""

    section = "models.embedder"


class Dictionaries(ModelSource, Section):
    """Sparse dictionaries of the target (autoencoders, transcoders), whose latents `extract.units` makes its units."""

    section = "models.dictionaries"

    source: str
    """A local folder, `package:NAME`, or a folder of a Hugging Face Hub repository, `owner/name/folder`, with a
    subfolder for each dictionary (SAELens, sparsify, Gemma Scope); empty for none."""


class LlmWeights(Section):
    """Weights of the language models that run on this machine, under the names that `llms` gives them; {} for none."""

    section = "models.llms"
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Annotated[str, Field(pattern=NAME)], ModelSource] = Field(init=False)

    @property
    def entries(self) -> dict[str, ModelSource]:
        """Where each model comes from, by name."""
        return dict(self.__pydantic_extra__)
