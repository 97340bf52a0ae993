"""Find the role of a layer's linear maps from a pass over a few tokens: which mix tokens, and which feed which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from descry.errors import InputError
from descry.models.forward import Finished, Stack, find_block, first_tensor, run_watched

TOKENS = 8
"""Length of that pass; the decoder of an encoder-decoder reads one token more."""
_SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "cls_token_id", "decoder_start_token_id")


@dataclass(frozen=True)
class Map:
    """A linear map as one layer runs it.

    name: within the layer; shape: number of inputs and outputs; feeders: the earlier maps of the layer whose outputs
    reach its input without passing through another map; mixes: whether outputs at other tokens reach it; ahead:
    whether outputs at later tokens do.
    """

    name: str
    shape: tuple[int, int]
    feeders: tuple[str, ...]
    mixes: bool
    ahead: bool


@dataclass(frozen=True)
class Call:
    """One call of a module in a forward pass.

    number: which of the module's calls, from 0; width: of its input or output; decoder: whether it ran over the
    decoder's tokens; tokens_first: whether its values are [tokens, batch, width].
    """

    name: str
    number: int
    width: int
    decoder: bool
    tokens_first: bool


def linear_shape(module: nn.Module) -> tuple[int, int] | None:
    """Inputs and outputs of a linear map, or None for any other module."""
    if type(module).__name__ == "Conv1D":  # GPT-2's linear map, weight [in, out]
        weight = module.get_parameter("weight")
        return weight.shape[0], weight.shape[1]
    inputs, outputs = (getattr(module, name, None) for name in ("in_features", "out_features"))
    if isinstance(inputs, int) and isinstance(outputs, int):  # nn.Linear, and what stands in for it (I-BERT)
        return inputs, outputs
    return None


def sample_tokens(model: Any, count: int) -> list[int]:
    """Ordinary tokens of the model's vocabulary, distinct if it has enough."""
    weight = model.get_input_embeddings().weight
    special = [getattr(model.config, name, None) for name in _SPECIAL]
    words = [token for token in range(len(weight) // 2, len(weight)) if token not in special]
    return list(islice(cycle(words), count))


def run_sample(model: Any, stack: Stack, hooks: Iterable[RemovableHandle]) -> None:
    """Run a pass over a few tokens with hooks. Errors: InputError if the model does not run over token ids."""
    with torch.inference_mode(False), torch.no_grad():
        try:
            tokens = torch.tensor([sample_tokens(model, _count_tokens(model))], device=next(model.parameters()).device)
            run_watched(model, stack, tokens, torch.ones_like(tokens), hooks)
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(f"model {type(model).__name__}: it does not run over {TOKENS} tokens: {reason}") from error


def _count_tokens(model: Any) -> int:
    """Length of that pass for a model: TOKENS, or the next number that it reads."""
    block = find_block(model)
    return -(-TOKENS // block) * block


def trace_calls(model: nn.Module, stack: Stack, modules: Mapping[str, nn.Module], *, output: bool) -> list[Call]:
    """The calls of modules, in order of execution, whose input (or output) has one vector per token."""
    calls: list[Call] = []
    counts, tokens = dict.fromkeys(modules, 0), _count_tokens(model)

    def record(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, *values: Any) -> None:
            value, number = first_tensor(values[-1]), counts[name]
            counts[name] += 1
            if value is not None and value.dim() > 1 and (rows := value.shape[:-1].numel()) in (tokens, tokens + 1):
                first = value.dim() > 2 and value.shape[0] == rows
                calls.append(Call(name, number, value.shape[-1], rows == tokens + 1, first))

        return hook

    run_sample(
        model,
        stack,
        [
            module.register_forward_hook(record(name)) if output else module.register_forward_pre_hook(record(name))
            for name, module in modules.items()
        ],
    )
    return calls


def trace_maps(model: nn.Module, stack: Stack, layer: nn.Module) -> list[Map]:
    """The linear maps of a layer, in the order in which its first call runs them.

    Each map's output is detached from its input, so that the gradient of a later map's input shows which maps feed it
    directly, and at which tokens. A map that is not run for every token is left out.
    """
    rows = 0
    run: list[tuple[str, tuple[int, int], Tensor, Tensor]] = []

    def begin(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        torch.set_grad_enabled(True)

    def end(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal rows
        value = first_tensor(output)
        rows = value.shape[:-1].numel() if value is not None else 0
        raise Finished

    def cut(name: str, shape: tuple[int, int]) -> Callable[..., Any]:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
            values, result = first_tensor(inputs), first_tensor(output)
            if values is None or result is None:
                return output
            leaf = result.detach().requires_grad_()
            run.append((name, shape, values, leaf))
            clone = leaf.clone()  # a model may change its map's output in place
            return (clone, *output[1:]) if isinstance(output, tuple) else clone

        return hook

    maps = [(name, module, shape) for name, module in layer.named_modules() if (shape := linear_shape(module))]
    run_sample(
        model,
        stack,
        [
            layer.register_forward_pre_hook(begin),
            *(module.register_forward_hook(cut(name, shape)) for name, module, shape in maps),
            layer.register_forward_hook(end),
        ],
    )
    names, leaves = [name for name, *_ in run], [leaf for *_, leaf in run]
    with torch.inference_mode(False):
        return [
            _find_role(name, shape, values.reshape(rows, -1), names, leaves)
            for name, shape, values, _ in run
            if values.shape[:-1].numel() == rows
        ]


def _find_role(name: str, shape: tuple[int, int], values: Tensor, names: list[str], leaves: list[Tensor]) -> Map:
    last, front = _find_dependencies(values, -1, leaves), _find_dependencies(values, 0, leaves)
    return Map(
        name,
        shape,
        feeders=tuple(dict.fromkeys(name for name, reached in zip(names, last, strict=True) if bool(reached.any()))),
        mixes=any(len(reached) != len(values) or bool(reached[:-1].any()) for reached in last if bool(reached.any())),
        ahead=any(bool(reached[1:].any()) for reached in front if len(reached) == len(values)),
    )


def _find_dependencies(values: Tensor, token: int, leaves: list[Tensor]) -> list[Tensor]:
    """The tokens of each leaf on which the values [tokens, width] at one token depend: bool [tokens] for each leaf."""
    if not values.requires_grad:
        return [torch.zeros(1, dtype=torch.bool) for _ in leaves]
    weights = torch.randn(values.shape[-1], generator=torch.Generator().manual_seed(0)).to(values)
    with torch.enable_grad():
        total = (values[token] * weights).sum()
    gradients = torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True, materialize_grads=True)
    return [gradient.flatten(0, -2).ne(0).any(1) for gradient in gradients]
