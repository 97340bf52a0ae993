"""How many operations does a batch cost beyond the model's own pass, and does the CPU wait for any of them?

Run in the project's folder: python -m benchmarks.operations. Writes benchmarks/results/operations.json. It needs no
GPU: models of known shapes run on torch's device `meta`, whose tensors have shapes and no values. There the
accumulators take the way of a GPU, and whatever needs a value at once, to read it or to know a shape, fails.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModel, BertConfig, LlamaConfig, PreTrainedConfig

from descry.activations import accumulators
from descry.activations.extraction import make_kept
from descry.activations.kept import Kept
from descry.models.forward import forward
from descry.models.target import Target
from descry.storage.files import write_json

RESULT = Path("benchmarks/results/operations.json")
TARGET = Path("data/models/target")
TOP_K, PROBE, BATCHES, ENTERING = 200, 2500, 12, 20
META = torch.device("meta")
FREE = (torch.ops.aten.empty, torch.ops.aten.lift_fresh)  # no work for a device
WAITED_FOR = (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero, torch.ops.aten.equal)
# name: configuration, what makes it small enough to find its neurons with real weights, tokens a batch
SHAPES: dict[str, tuple[PreTrainedConfig, dict[str, int], int]] = {
    "bert_base": (BertConfig(), {"hidden_size": 24, "intermediate_size": 96}, 65536),
    "llama_1b": (
        LlamaConfig(hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32),
        {"hidden_size": 64, "intermediate_size": 256},
        32768,
    ),
}


class Counter(TorchDispatchMode):
    """Counts the operations that a device would run, and those of them for which the CPU would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.waits = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += not (
            func.is_view or func.overloadpacket in (torch.ops.aten.empty, torch.ops.aten.lift_fresh)
        )
        return func(*args, **(kwargs or {}))


@dataclass
class Elsewhere:
    """Stands for what comes from a device later: as many values as enter the exemplars of a long corpus, or zeros."""

    tensor: Tensor

    def get(self) -> Tensor:
        """What has come: the most of a neuron and how many of all, or a part of the probe."""
        assert self.tensor.device == META
        if self.tensor.dtype == torch.int64:
            return torch.tensor([ENTERING, ENTERING * 1000])
        return torch.zeros(self.tensor.shape, dtype=self.tensor.dtype)


@contextmanager
def without_values() -> Iterator[None]:
    """Let what runs on `meta` go on where the CPU may look: at what has arrived; and where transformers itself waits,
    to see whether a batch has any padding."""
    masks = [f"transformers.masking_utils._ignore_{kind}_mask_sdpa" for kind in ("bidirectional", "causal")]
    with (
        patch.object(accumulators, "Arriving", Elsewhere),
        patch(masks[0], return_value=False),
        patch(masks[1], return_value=False),
    ):
        yield


def imagine(tokenizing: Target, config: PreTrainedConfig, small: dict[str, int]) -> Target:
    """A target of a shape, with another's tokenizer, on the device `meta`."""
    found = copy(tokenizing).replace_model(AutoModel.from_config(type(config)(**{**config.to_dict(), **small})))
    with META:
        model: Any = AutoModel.from_config(config, dtype=torch.bfloat16).eval()
    target = copy(found)
    target.device, target.model = META, model
    target.sites = [
        replace(site, module=(module := model.get_submodule(site.name)), width=module.in_features)
        for site in found.sites
    ]
    return target


def count(target: Target, poolings: tuple[str, ...], tokens: int, top_k: int, probe: int) -> tuple[float, float, float]:
    """Operations a batch of the model's own pass, and of reading and keeping its neurons; and how many the CPU waits
    for. Of full batches of sentences of 18 tokens, once the accumulators are in their stride."""
    sentences = tokens // 18
    ids = [[1] * 18] * sentences
    batch = target.pack(ids, [[0] * 18] * sentences)
    rows = np.linspace(0, BATCHES * sentences - 1, probe).astype(np.int32)
    kept: Kept = make_kept(target, poolings, top_k, np.unique(rows))
    own, both = Counter(), Counter()
    with without_values():
        with torch.inference_mode(), own:
            forward(target.model, target.stack, *target.unpack(batch)[:2])
        for number in range(BATCHES):
            if number == BATCHES // 2:
                both.operations = both.waits = 0
            with both:
                kept.update(target.pool_packed(batch, poolings), number * sentences + np.arange(sentences))
    counted = BATCHES - BATCHES // 2
    return own.operations, both.operations / counted, both.waits / counted


def main() -> None:
    if not TARGET.exists():
        sys.exit("run dvc repro first: the tokenizer of data/models/target is read")
    tokenizing = Target(TARGET)
    content: dict[str, Any] = {}
    for name, (config, small, tokens) in SHAPES.items():
        target = imagine(tokenizing, config, small)
        counts = {
            number: count(target, poolings, tokens, TOP_K, PROBE)
            for number, poolings in enumerate([("mean",), ("mean", "max")], 1)
        }
        content[name] = {
            "tokens_a_batch": tokens,
            "units": sum(target.widths),
            "operations_of_the_model": counts[1][0],
            "operations_a_batch": round(counts[1][1] - counts[1][0], 1),
            "operations_a_further_pooling": round(counts[2][1] - counts[1][1], 1),
            "synchronising_copies_a_batch": counts[1][2],
        }
        print(name, content[name])
    write_json(RESULT, content)


if __name__ == "__main__":
    main()
