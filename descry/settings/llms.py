"""The section `llms`: language models by name. Its defaults can change results: stages that read it depend on it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator

from descry.settings.base import DEVICE, NAME, VARIABLE, Json, Part, Section


class LocalLlm(Part):
    """A language model that runs on this machine, with the weights that `models.llms` names under the same name."""

    client: Literal["transformers"]
    "Runs the model on this machine with the transformers library."
    device: str = Field(default="cpu", pattern=DEVICE)
    "Where the model runs: `cpu`, `cuda`, `cuda:N` or `mps`."
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    "Floating-point type of the model's weights and arithmetic."
    batch_tokens: int = Field(default=4096, ge=1)
    "Most tokens of a batch, padding and the longest possible answers included. More is faster and takes more memory."
    temperature: float = Field(default=0.0, ge=0.0)
    "0 always gives the most probable answer (greedy); above 0 answers are sampled, the more varied the higher it is."
    seed: int = Field(default=0, ge=0)
    "Seed of the sampling."
    wrap: str = Field(default="{prompt}", pattern=r"\{prompt\}")
    "Text around each prompt, for a model without a chat template; {prompt} marks where the prompt goes."
    complete: bool = False
    """Whether the model continues the prompt as it stands, without its chat template, and its answer ends with the
    line: for models too small to follow instructions, which copy the form of several examples."""
    chat: Json = Field(default_factory=dict)
    "Further variables for the model's chat template, for example enable_thinking: false."


class ServerLlm(Part):
    """A language model behind an OpenAI-compatible server, hosted or on one's own machine."""

    client: Literal["openai"]
    "Asks a server through the OpenAI chat completions API."
    base_url: str
    "Address of the server, for example http://localhost:8000/v1."
    model: str = Field(min_length=1)
    "Name of the model on the server."
    revision: str = ""
    "Any text that tells one version of the model from another. Change it, and cached answers are not used again."
    key: str = ""
    "Name of the environment variable that holds the API key, never the key itself; empty if the server needs none."
    temperature: float | None = Field(default=0.0, ge=0.0)
    "0 asks for the most probable answer (greedy), above 0 for sampled ones; null leaves it to the server."
    seed: int | None = None
    "Sampling seed that is sent to the server; null sends none."
    extra: Json = Field(default_factory=dict)
    "Further fields of every request, for example max_completion_tokens or chat_template_kwargs."

    @field_validator("key")
    @classmethod
    def _no_key_itself(cls, key: str) -> str:
        if key and not re.fullmatch(VARIABLE, key):
            raise ValueError(
                "not the name of an environment variable, which is what belongs here, never the key itself"
            )
        return key

    @field_validator("base_url")
    @classmethod
    def _address(cls, url: str) -> str:
        if not re.fullmatch(r"https?://[^\s@?#]+", url):
            raise ValueError("not an address such as http://localhost:8000/v1; a name and password never belong here")
        return url


Llm = Annotated[LocalLlm | ServerLlm, Field(discriminator="client")]


class Llms(Section):
    """Language models, by name, that propose descriptors or label sentences. The default settings need none."""

    section = "llms"
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Annotated[str, Field(pattern=NAME)], Llm] = Field(init=False)

    @property
    def entries(self) -> dict[str, LocalLlm | ServerLlm]:
        """The models by name."""
        return dict(self.__pydantic_extra__)
