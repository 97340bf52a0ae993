"""Language models by name. Its defaults decide results: stages that read it depend on it."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator

from descry.settings.base import DEVICE, NAME, VARIABLE, Json, Part, Section


class LocalLlm(Part):
    """A language model that runs on this machine; its weights stand in `models.llms` under the same name."""

    client: Literal["transformers"]
    "This kind."
    device: str = Field(default="cpu", pattern=DEVICE)
    "`cpu`, `cuda`, `cuda:N` or `mps`."
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    "Its arithmetic."
    batch_tokens: int = Field(default=4096, ge=1)
    "A batch holds at most this many tokens, padding and the longest answers included."
    temperature: float = Field(default=0.0, ge=0.0)
    "0 for the most probable answer (greedy); above, answers are drawn."
    seed: int = Field(default=0, ge=0)
    "Seed of the drawing."
    wrap: str = Field(default="{prompt}", pattern=r"\{prompt\}")
    "What a prompt is put into where the model has no chat template; {prompt} stands for it."
    chat: Json = Field(default_factory=dict)
    "What the model's chat template is given besides, for example enable_thinking: false."


class ServerLlm(Part):
    """A language model behind an OpenAI-compatible server, hosted or on one's own machine."""

    client: Literal["openai"]
    "This kind."
    base_url: str
    "The server's address, such as http://localhost:8000/v1."
    model: str = Field(min_length=1)
    "What the server calls the model."
    revision: str = ""
    "Any text that tells one build of the model from another; part of every answer's key in the cache."
    key: str = ""
    "The environment variable that holds the server's key; empty for a server that asks for none."
    temperature: float | None = Field(default=0.0, ge=0.0)
    "0 for the most probable answer (greedy); null leaves it to the server."
    seed: int | None = None
    "Sent to the server where it is not null."
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
    """Language models that propose descriptors or label sentences, by name; the default needs none."""

    section = "llms"
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[Annotated[str, Field(pattern=NAME)], Llm] = Field(init=False)

    @property
    def entries(self) -> dict[str, LocalLlm | ServerLlm]:
        """The models by name."""
        return dict(self.__pydantic_extra__)
