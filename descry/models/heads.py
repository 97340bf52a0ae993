"""Language-model heads: which models have one, and what reads words directly off their stream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForMaskedLM

from descry.models.fetch import find_transformer
from descry.models.forward import first_tensor
from descry.models.loading import SAFE, agree, explain_loading, load_weights
from descry.models.neurons import Site, find_sites
from descry.models.surgery import weight_matrix
from descry.models.target import Target
from descry.models.tracing import linear_shape, run_sample

Head = Literal["masked", "causal"]
_HEADS: dict[str, Head] = {"ForMaskedLM": "masked", "ForCausalLM": "causal", "LMHeadModel": "causal"}
"""How names of architectures with a language-model head end, and the kind of that head."""


def find_head(folder: Path) -> Head | None:
    """The language-model head of the model in a folder; None if its weights have none."""
    with explain_loading(f"{folder}: the target model does not load"):
        names = getattr(AutoConfig.from_pretrained(find_transformer(folder), **SAFE), "architectures", None) or [""]
    return next((head for ending, head in _HEADS.items() if names[0].endswith(ending)), None)


def load_with_head(target: Target, folder: Path, dtype: str, how: Head) -> Target:
    """Load the target with its language-model head. Errors: InputError if it cannot be loaded."""
    auto: Any = AutoModelForMaskedLM if how == "masked" else AutoModelForCausalLM
    with explain_loading(f"{folder}: the target model does not load as a {how} language model"):
        return target.replace_model(load_weights(auto, find_transformer(folder), dtype))


@dataclass(frozen=True)
class Unembedding:
    """What turns the last layer's output into the logits of all tokens.

    norm: the final norm, the identity where there is none; weight: float [vocabulary, width].
    """

    norm: nn.Module
    weight: Tensor

    @torch.no_grad()
    def logits(self, vectors: Tensor) -> Tensor:
        """How directions [..., width] that are added to the stream change the logits of all tokens: float32 [...,
        vocabulary], each direction's up to a positive factor.

        A norm divides by the size of the stream, which is unknown here; a direction is brought to size 1 instead. The
        norm is applied to it and to its opposite, and half of the difference taken: what is left is its scale, without
        its constant part.
        """
        kind = self.weight.dtype
        size = vectors.to(torch.float32).square().mean(-1, keepdim=True).sqrt()
        unit = (vectors / size.clamp(min=torch.finfo(torch.float32).tiny)).to(kind)
        scaled: Tensor = (self.norm(unit).to(torch.float32) - self.norm(-unit).to(torch.float32)) / 2
        return scaled @ self.weight.to(torch.float32).T


def find_unembedding(target: Target) -> Unembedding | None:
    """What turns the target's stream into logits. target: from `load_with_head`.

    None unless the head reads the last layer's output through a norm alone (BERT's has layers of its own), and unless
    a layer adds what its units write unchanged: one that normalises afterwards, as in Gemma 2, does not, and what
    attention writes passes through the rest of its layer.
    """
    head: Any = target.model.get_output_embeddings()
    streams = find_sites(target.model, "hidden", stack=target.stack)
    if head is None or linear_shape(head) is None or not all(map(_is_written, target.sites)):
        return None
    norm = _find_norm(target, streams[-1].module, head)
    site = target.sites[-1]
    layer = next((stream.module for stream in streams if site.name.startswith(f"{stream.name}.")), None)
    weight = weight_matrix(head)
    if norm is None or layer is None or weight_matrix(site.module).shape[0] != weight.shape[1]:
        return None
    return Unembedding(norm, weight) if _adds(target, site.module, layer) else None


def list_written(site: Site) -> Tensor:
    """The direction that each unit of a site adds to the stream per unit of activation: float [units, width]."""
    return weight_matrix(site.module)[:, -site.width :].T


def _is_written(site: Site) -> bool:
    return not site.output and site.encoder is None and linear_shape(site.module) is not None


def _list_norms(model: nn.Module) -> Iterator[nn.Module]:
    """The modules that may be norms: with a few weights a channel, and none between channels."""
    for module in model.modules():
        weights = list(module.parameters())
        if weights and not list(module.children()) and all(weight.dim() == 1 for weight in weights):
            yield module


def _find_norm(target: Target, last: nn.Module, head: nn.Module) -> nn.Module | None:
    """The module that leads from the output of `last` to the input of `head`; the identity if they are the same; None
    if there is no such module."""
    stream: list[Tensor] = []
    passed: list[tuple[nn.Module, Tensor, Tensor]] = []
    read: list[Tensor] = []

    def keep(kept: list[Tensor], which: int) -> Callable[..., None]:
        def hook(_: nn.Module, *values: Any) -> None:
            value = first_tensor(values[which])
            if value is not None:
                kept.append(value)

        return hook

    def keep_both(module: nn.Module, inputs: Any, output: Any) -> None:
        before, after = first_tensor(inputs), first_tensor(output)
        if before is not None and after is not None:
            passed.append((module, before, after))

    hooks = [last.register_forward_hook(keep(stream, -1)), head.register_forward_pre_hook(keep(read, 0))]
    hooks += [module.register_forward_hook(keep_both) for module in _list_norms(target.model)]
    run_sample(target.model, target.stack, hooks)
    if not stream or not read:
        return None
    if torch.equal(stream[-1], read[-1]):
        return nn.Identity()
    fits = (
        module for module, before, after in passed if torch.equal(before, stream[-1]) and torch.equal(after, read[-1])
    )
    return next(fits, None)


def _adds(target: Target, writing: nn.Module, layer: nn.Module) -> bool:
    """Whether the output of `layer` changes by a positive multiple of what is added to the output of `writing`."""

    def run(size: float) -> tuple[Tensor, Tensor]:
        added: list[Tensor] = []
        outputs: list[Tensor] = []

        def add(_: nn.Module, inputs: Any, output: Tensor) -> Tensor:
            noise = torch.randn(output.shape, generator=torch.Generator().manual_seed(0)).to(output)
            added.append(noise.flatten())
            return output + size * noise

        def keep(_: nn.Module, inputs: Any, output: Any) -> None:
            value = first_tensor(output)
            outputs.extend([] if value is None else [value.flatten()])

        run_sample(target.model, target.stack, [writing.register_forward_hook(add), layer.register_forward_hook(keep)])
        return added[-1].to(torch.float32), outputs[-1].to(torch.float32)

    noise, before = run(0.0)
    change = run(float(before.square().mean().sqrt()))[1] - before
    factor = change @ noise / (noise @ noise)
    return bool(factor > 0) and agree(change, factor * noise, target.model.dtype)
