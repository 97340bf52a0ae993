"""How models are run, corpora cut up and language models asked: sections that many stages share."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from descry.settings.base import DEVICE, Part, Section


class Runtime(Section):
    """How models are run; shared by every stage that runs one."""

    section = "runtime"

    device: str = Field(pattern=DEVICE)
    "`cpu`, `cuda`, `cuda:N` or `mps`."
    dtype: Literal["float32", "bfloat16"]
    "Arithmetic of the target model."
    batch_tokens: int = Field(ge=1)
    "A batch holds at most this many tokens, padding included; 1,024 suits a CPU, more a GPU."


class RayOptions(Part):
    """Options of the engine `ray`."""

    address: str
    "Of a running cluster, such as head:6379; empty: a cluster is started on this machine."
    workers: int = Field(ge=1)
    "Shards that are worked on at the same time, at most; each loads the model once."
    cpus: float = Field(gt=0.0)
    "CPU cores of a worker, and its threads."
    gpus: float = Field(ge=0.0)
    "GPUs of a worker; a fraction lets several share one."


class Sharding(Section):
    """How a corpus is cut up and who works on it; shared by generate, label, extract and controls."""

    section = "runtime"

    shard: int = Field(ge=1)
    "Sentences of a shard: what is worked on in one go, and what a run that is broken off may lose."
    engine: Literal["local", "ray"]
    "`local`: this process, or `ray`: the workers of a Ray cluster (pip install .[ray]). The results are the same."
    ray: RayOptions
    "Options of that engine."


class Asking(Section):
    """How language models are asked; shared by every stage that asks one."""

    section = "runtime"

    concurrency: int = Field(ge=1, le=1024)
    "Requests that a server answers at the same time."
    timeout: float = Field(gt=0.0)
    "Seconds that one answer of a server may take."
    retries: int = Field(ge=0, le=100)
    "Further tries of a request that was throttled, cut off, timed out or answered with nonsense."
    answers: str = Field(min_length=1)
    "Folder of the answer cache: nothing in it is ever asked again. One folder may serve many projects."
