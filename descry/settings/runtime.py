"""The section `runtime`: how models run, how corpora are cut into shards, how language models are asked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from descry.settings.base import DEVICE, Part, Section


class Runtime(Section):
    """How models run, in every stage that runs one."""

    section = "runtime"

    device: str = Field(pattern=DEVICE)
    "Where models run: `cpu`, `cuda`, `cuda:N` or `mps`."
    dtype: Literal["float32", "bfloat16"]
    "Floating-point type in which the target model computes; `bfloat16` is faster only on hardware that supports it."
    batch_tokens: int = Field(ge=1)
    "Most tokens of a batch, padding included: about 1,024 on a CPU, more on a GPU. More takes more memory."


class RayOptions(Part):
    """Options of the engine `ray`; the engine `local` ignores them."""

    address: str
    "Address of a running Ray cluster, for example head:6379; empty starts one on this machine."
    workers: int = Field(ge=1)
    "Number of workers, each with a shard at a time. Every worker loads its own copy of the model."
    cpus: float = Field(gt=0.0)
    "CPU cores of each worker, which runs as many threads."
    gpus: float = Field(ge=0.0)
    "GPUs of each worker; a fraction lets several workers share one."


class Sharding(Section):
    """How a corpus is cut into shards and who works on them, in generate, label, extract, controls and transfer."""

    section = "runtime"

    shard: int = Field(ge=1)
    "Sentences of a shard. Finished shards are kept: an interrupted run loses at most the shard that it was at."
    engine: Literal["local", "ray"]
    "`local` works in this process, `ray` on a Ray cluster (`pip install .[ray]`). Results are the same."
    ray: RayOptions
    "Options of the engine `ray`."


class Asking(Section):
    """How language models are asked, in every stage that asks one."""

    section = "runtime"

    concurrency: int = Field(ge=1, le=1024)
    "Most requests that are sent to a server at the same time."
    timeout: float = Field(gt=0.0)
    "Seconds to wait for one answer of a server."
    retries: int = Field(ge=0, le=100)
    "How often a request is repeated that was throttled, cut off, timed out or got no usable answer."
    answers: str = Field(min_length=1)
    "Folder of the answer cache: what was answered once is not asked again. Several projects may share one folder."
