"""What does reading every neuron cost on a GPU, compared with the model's plain forward pass over the same batches?

Run after `dvc repro`, where torch finds CUDA: python -m benchmarks.gpu. Writes benchmarks/results/gpu.json, or says
that there is no GPU. Models of known shapes with random weights read real sentences, tokenizing included; the bare pass
has its batches ready. All ways take turns in several rounds; a ratio is the median over the rounds.
"""

from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModel, PreTrainedConfig

from benchmarks.extract import sentences
from benchmarks.operations import SHAPES, TARGET
from descry.activations.extraction import extract_poolings
from descry.activations.record import Activations
from descry.corpus.sampling import sample_probe
from descry.models.forward import forward
from descry.models.target import Target
from descry.splits import SPLITS
from descry.storage.files import write_json

RESULT = Path("benchmarks/results/gpu.json")
SENTENCES, ROUNDS, TOP_K, PROBE = 100_000, 3, 200, 2500


def read_sentences() -> list[str]:
    """The sentences of the run, each repeated with another number, until they are SENTENCES."""
    texts = [text for split in SPLITS for text in sentences(split)]
    return [f"{text} {number % 1000}" for number, text in enumerate(islice(cycle(texts), SENTENCES))]


def load(config: PreTrainedConfig) -> Target:
    """A target of a shape, with random weights in bfloat16 and the tokenizer of the run's target."""
    torch.manual_seed(0)
    model: Any = AutoModel.from_config(config, dtype=torch.bfloat16)
    target = Target(TARGET)
    target.device = torch.device("cuda")
    return target.replace_model(model)


@torch.inference_mode()
def run_bare(target: Target, batches: list[Tensor]) -> None:
    """The plain forward pass over batches that are ready."""
    for batch in batches:
        forward(target.model, target.stack, *target.unpack(batch)[:2])


def pack(target: Target, texts: list[str], batch_tokens: int, shard: int) -> tuple[list[Tensor], int]:
    """The batches of a run, and their tokens without padding."""
    batches, tokens = [], 0
    for start in range(0, len(texts), shard):
        ids, special = target.encode(texts[start : start + shard])
        tokens += sum(map(len, ids))
        for rows in target.make_batches(ids, batch_tokens):
            batches.append(target.pack([ids[i] for i in rows], [special[i] for i in rows]))
    return batches, tokens


def seconds(work: Callable[[], Any]) -> float:
    """Time one call, to the end of what it has started on the GPU."""
    torch.cuda.synchronize()
    start = perf_counter()
    work()
    torch.cuda.synchronize()
    return perf_counter() - start


def are_equal(one: list[Activations], other: list[Activations]) -> bool:
    """Whether two runs have kept the same, to the last bit."""
    return all(
        np.array_equal(value, vars(b)[name]) for a, b in zip(one, other, strict=True) for name, value in vars(a).items()
    )


def measure(config: PreTrainedConfig, batch_tokens: int, texts: list[str], shard: int) -> dict[str, Any]:
    """Time a shape's ways in rounds."""
    target = load(config)
    batches, tokens = pack(target, texts, batch_tokens, shard)
    probe = sample_probe(map(str, range(len(texts))), PROBE, "benchmark")
    read = partial(extract_poolings, target, texts, probe, top_k=TOP_K, batch_tokens=batch_tokens, shard=shard)
    ways: dict[str, Callable[[], Any]] = {
        "bare": partial(run_bare, target, batches),
        "one": partial(read, poolings=["mean"]),
        "two": partial(read, poolings=["mean", "max"]),
    }
    for way in ways.values():
        way()
    torch.cuda.reset_peak_memory_stats()
    rounds = [{name: seconds(way) for name, way in ways.items()} for _ in range(ROUNDS)]
    return {
        "over_bare_forward": round(median(times["one"] / times["bare"] for times in rounds), 3),
        "two_poolings_over_bare_forward": round(median(times["two"] / times["bare"] for times in rounds), 3),
        "tokens_per_second": round(tokens / median(times["one"] for times in rounds)),
        "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2),
        "identical": are_equal(read(poolings=["mean"]), read(poolings=["mean"])),
        "seconds": {name: round(median(times[name] for times in rounds), 3) for name in ways},
    }


def main() -> None:
    if not torch.cuda.is_available():
        print(f"{RESULT}: not written: torch finds no CUDA device")
        return
    texts = read_sentences()
    found = {
        f"{name}_bfloat16": measure(config, tokens, texts, shard=4 * tokens // 18)
        for name, (config, _, tokens) in SHAPES.items()
    }
    columns = ["over_bare_forward", "two_poolings_over_bare_forward", "tokens_per_second", "peak_gb", "identical"]
    content = {column: {name: figures[column] for name, figures in found.items()} for column in [*columns, "seconds"]}
    content |= {"device": torch.cuda.get_device_name(), "sentences": len(texts)}
    for name, value in content.items():
        print(f"{name:32} {value}")
    write_json(RESULT, content)


if __name__ == "__main__":
    main()
