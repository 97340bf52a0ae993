"""Find the neurons of a model by what its modules do, whatever they are called.

`ffn`: the inputs of each feed-forward block's down projection (in BERT, the values after GELU). `attention`: the inputs
of each attention's output projection (in a decoder with cross-attention, of the self-attention's). `hidden`: the
outputs of each layer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from torch import Tensor, nn

from descry.errors import InputError
from descry.models.forward import Stack, is_encoder_decoder
from descry.models.tracing import Map, linear_shape, trace_calls, trace_maps

SiteKind = Literal["ffn", "hidden", "attention"]


@dataclass(frozen=True)
class Site:
    """The neurons of one layer: the last `width` values per token of a module's input, or of its output.

    layer: from 1, in order of execution; call: which of the module's calls in a pass, from 0 (layers may share a
    module); decoder: whether its tokens are the decoder's; ups: names of the linear maps that lead into the neurons'
    non-linearity; directions: a linear map applied to the values before they are read.
    """

    layer: int
    name: str
    module: nn.Module
    width: int
    call: int = 0
    output: bool = False
    decoder: bool = False
    ups: tuple[str, ...] = ()
    directions: nn.Linear | None = None

    def read(self, values: Tensor) -> Tensor:
        """Take the neurons [..., width] out of the module's values."""
        if self.directions is not None:
            values = self.directions(values.to(self.directions.weight))
        return values[..., -self.width :]


def find_sites(
    model: nn.Module,
    site: SiteKind = "ffn",
    *,
    stack: Stack = "encoder",
    layers: Sequence[int] | None = None,
    modules: str = "",
) -> list[Site]:
    """The neurons of every layer, in order of execution.

    stack: of an encoder-decoder; the decoder's layers are numbered after the encoder's. layers: numbers from 1, None
    for all. modules: a dotted pattern of module names, `*` for a part or any characters of one, which overrides the
    search by structure: the modules' inputs (for `hidden`, their outputs) are the neurons.
    Errors: InputError if there are none, if a layer has other modules than the first, or a number is out of range.
    """
    sites: list[Site] = []
    if modules:
        sites = _find_by_pattern(model, stack, modules, output=site == "hidden")
    else:
        for part in _list_parts(model, stack):
            sites += _find_by_structure(model, part, site)
    sites = [replace(found, layer=number) for number, found in enumerate(sites, start=1)]
    wrong = sorted({number for number in layers or () if not 1 <= number <= len(sites)})
    if wrong:
        raise InputError(
            f"params.yaml: extract.layers names {', '.join(map(str, wrong))}; the layers are 1 to {len(sites)}"
        )
    return [found for found in sites if layers is None or found.layer in layers]


def is_causal(model: nn.Module) -> bool:
    """Whether no token attends to later ones: a decoder-only model."""
    try:
        maps = [] if is_encoder_decoder(model) else _trace_down_maps(model, "encoder", _find_layers(model, "encoder"))
    except InputError:
        return False
    mixing = [linear_map for linear_map in maps if linear_map.mixes]
    return bool(mixing) and not mixing[0].ahead


def _list_parts(model: nn.Module, stack: Stack) -> list[Stack]:
    if stack == "both" and is_encoder_decoder(model):
        return ["encoder", "decoder"]
    return [stack]


def _list_stacks(model: nn.Module) -> Iterator[tuple[str, nn.ModuleList]]:
    """Module lists whose members may be layers: all of one type, with linear maps inside, in no other such list."""
    names: list[str] = []
    for name, module in model.named_modules():
        if (
            isinstance(module, nn.ModuleList)
            and len({type(member) for member in module}) == 1
            and not linear_shape(module[0])
            and any(linear_shape(inner) for inner in module[0].modules())
            and not any(name.startswith(f"{outer}.") for outer in names)
        ):
            names.append(name)
            yield name, module


def _find_layers(model: Any, part: Stack) -> list[Site]:
    """The outputs of the layers, in order of execution; the layers are the stack whose members are run most often."""
    root = model
    if is_encoder_decoder(model):
        root = model.get_decoder() if part == "decoder" else model.get_encoder()
    within = set(root.modules())
    members = {
        f"{name}.{index}": member
        for name, stack in _list_stacks(model)
        if stack in within
        for index, member in enumerate(stack)
    }
    outputs = _list_calls(model, part, members, output=True)
    if not outputs:
        raise _describe_failure(model, "no stack of layers is found")
    runs = Counter(site.name.rpartition(".")[0] for site in outputs)
    longest, *others = [name for name, count in runs.items() if count == max(runs.values())]
    if others:
        raise _describe_failure(model, f"{longest} and {others[0]} are run equally often: which are the layers?")
    return [site for site in outputs if site.name.rpartition(".")[0] == longest]


def _trace_down_maps(model: nn.Module, part: Stack, layers: Sequence[Site]) -> list[Map]:
    """The linear maps of the first layer whose output is as wide as the layer's, in order of execution."""
    maps = trace_maps(model, part, layers[0].module)
    return [linear_map for linear_map in maps if linear_map.shape[1] == layers[0].width]


def _find_by_structure(model: nn.Module, part: Stack, site: SiteKind) -> list[Site]:
    layers = _find_layers(model, part)
    if site == "hidden":
        return layers
    down_maps = _trace_down_maps(model, part, layers)
    if site == "attention":
        chosen = next((down for down in down_maps if down.mixes), None)
        missing = "no linear map leads from values mixed over tokens"
    else:  # in a block as narrow as the layer, the up projection qualifies too, but runs earlier: hence `reversed`
        chosen = next((down for down in reversed(down_maps) if down.feeders and not down.mixes), None)
        missing = "no linear map leads from each token's own values"
    first = layers[0].name
    if chosen is None:
        raise _describe_failure(model, f"{first}: {missing} back to the layer's width {layers[0].width}")
    holders: dict[str, str] = {}
    for layer in layers:
        present = {name for name, _ in layer.module.named_modules()}
        lacking = {chosen.name, *chosen.feeders} - present
        if lacking:
            raise _describe_failure(model, f"{layer.name} has no {sorted(lacking)[0]}, as {first} has")
        holders[f"{layer.name}.{chosen.name}"] = layer.name
    sites = _list_calls(model, part, {name: model.get_submodule(name) for name in holders}, output=False)
    if len(sites) != len(layers):
        raise _describe_failure(model, f"{chosen.name} of {first} is run {len(sites)} times in {len(layers)} layers")
    if site == "attention":
        return sites
    return [replace(found, ups=tuple(f"{holders[found.name]}.{up}" for up in chosen.feeders)) for found in sites]


def _find_by_pattern(model: nn.Module, stack: Stack, pattern: str, *, output: bool) -> list[Site]:
    parts = pattern.split(".")

    def matches(name: str) -> bool:
        own_parts = name.split(".")
        return len(own_parts) == len(parts) and all(map(fnmatchcase, own_parts, parts))

    matched = {name: module for name, module in model.named_modules() if matches(name)}
    sites = _list_calls(model, stack, matched, output=output)
    if not sites:
        fault = "matches modules that are not run for every token" if matched else "matches no module"
        raise _describe_failure(model, f"params.yaml: extract.modules {pattern!r} {fault}")
    return sites


def _list_calls(model: nn.Module, stack: Stack, modules: dict[str, nn.Module], *, output: bool) -> list[Site]:
    """One site for every call of the modules, in order of execution."""
    return [
        Site(0, call.name, modules[call.name], call.width, call.number, output, call.decoder)
        for call in trace_calls(model, stack, modules, output=output)
    ]


def list_linear_maps(model: nn.Module) -> list[str]:
    """The linear maps of a model, with number of inputs and outputs; numbers in their names are replaced by `*`."""
    shapes = ((name, shape) for name, module in model.named_modules() if (shape := linear_shape(module)))
    listed = (f"{re.sub(r'(?<![^.])[0-9]+(?![^.])', '*', name)} {ins}->{outs}" for name, (ins, outs) in shapes)
    return list(dict.fromkeys(listed))


def _describe_failure(model: nn.Module, fault: str) -> InputError:
    listing = ", ".join(list_linear_maps(model)) or "none"
    return InputError(
        f"model {type(model).__name__}: {fault}; set extract.modules in params.yaml to a pattern of module names. "
        f"Linear maps: {listing}"
    )
