"""Find the neurons of a model by what its modules do, whatever they are called.

`ffn`: the inputs of each feed-forward block's down projection (in BERT, the values after GELU). `attention`: the inputs
of each attention's output projection (in a decoder with cross-attention, of the self-attention's). `hidden`: the
outputs of each layer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from torch import Tensor, nn

from descry.errors import InputError
from descry.models.dictionary import Dictionary
from descry.models.forward import Stack, is_encoder_decoder
from descry.models.tracing import Map, linear_shape, trace_calls, trace_maps

SiteKind = Literal["ffn", "hidden", "attention"]
Encoder = Callable[[Tensor], Tensor]
"""Values [..., width of a module's values] -> units [..., units]."""


@dataclass(frozen=True)
class Site:
    """The units of one layer: the last `width` values per token of a module's input, or of its output.

    layer: from 1, in order of execution; call: which of the module's calls in a pass, from 0 (layers may share a
    module); decoder: whether its tokens are the decoder's; tokens_first: whether the module's values are [tokens,
    batch, width] (XLNet) in place of [batch, tokens, width]; ups: names of the linear maps that lead into the neurons'
    non-linearity; encoder: what turns the values into the units, where these are not the values themselves; written:
    the site whose values the units make up, where these are not those that they are read from.
    """

    layer: int
    name: str
    module: nn.Module
    width: int
    call: int = 0
    output: bool = False
    decoder: bool = False
    tokens_first: bool = False
    ups: tuple[str, ...] = ()
    encoder: Encoder | None = None
    written: Site | None = None

    def arrange(self, values: Tensor, own: Tensor) -> Tensor:
        """The module's values as [batch, tokens, width]. own: a mask [batch, tokens]."""
        if self.tokens_first:
            return values.reshape(*own.T.shape, -1).transpose(0, 1)
        return values.reshape(*own.shape, -1)

    def read(self, values: Tensor) -> Tensor:
        """Take the units [..., width] out of the module's values."""
        if self.encoder is not None:
            values = self.encoder(values)
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
        layers = [] if is_encoder_decoder(model) else _find_layers(model, "encoder")
        maps = trace_maps(model, "encoder", layers[0].module) if layers else []
    except InputError:
        return False
    mixing = [down for down in maps if down.mixes and down.shape[1] == layers[0].width]
    return bool(mixing) and not mixing[0].ahead


def _list_parts(model: nn.Module, stack: Stack) -> list[Stack]:
    if stack == "both" and is_encoder_decoder(model):
        return ["encoder", "decoder"]
    return [stack]


def _list_stacks(model: nn.Module) -> Iterator[tuple[str, nn.ModuleList]]:
    """Module lists whose members may be layers: all with linear maps inside, in no other such list."""
    names: list[str] = []
    for name, module in model.named_modules():
        if (
            isinstance(module, nn.ModuleList)
            and len(module)
            and not any(linear_shape(member) for member in module)
            and all(any(linear_shape(inner) for inner in member.modules()) for member in module)
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
    outputs = list_calls(model, part, members, output=True)
    if not outputs:
        if any(isinstance(module, nn.Conv1d) and module.kernel_size == (1,) for module in within):
            raise InputError(
                f"model {type(model).__name__}: its layers are convolutions over [batch, width, tokens], whose neurons "
                "cannot be read; choose another model"
            )
        fault = "the layers do not give one vector a token" if members else "no stack of layers is found"
        raise _describe_failure(model, fault)
    runs = Counter(site.name.rpartition(".")[0] for site in outputs)
    longest, *others = [name for name, count in runs.items() if count == max(runs.values())]
    if others:
        raise _describe_failure(model, f"{longest} and {others[0]} are run equally often: which are the layers?")
    return [site for site in outputs if site.name.rpartition(".")[0] == longest]


def _find_down_maps(maps: Sequence[Map], site: SiteKind, width: int) -> list[Map]:
    """The linear maps of a layer, in order of execution, that may end its attention or its feed-forward block: they
    lead back to the layer's width, from values mixed over tokens or from each token's own.

    Those that feed another of the kind are left out: a feed-forward block that is no wider than the layer has an up
    projection as wide as the layer too, and some blocks are gated by what attention gave.
    """
    back = [down for down in maps if down.shape[1] == width and down.feeders]
    chosen: list[Map] = []
    if site == "attention":
        for down in back:
            if down.mixes and not {earlier.name for earlier in chosen} & {*down.feeders}:
                chosen.append(down)
        return chosen
    mixed = {feeder for linear_map in maps if linear_map.mixes for feeder in linear_map.feeders}
    for down in reversed(back):  # the up projection runs earlier
        if not down.mixes and down.name not in mixed.union(*(later.feeders for later in chosen)):
            chosen.append(down)
    return chosen[::-1]


def _find_experts(layers: Sequence[Site], run: Collection[str]) -> Iterator[str]:
    """Modules that are, or hold, down projections of which a token runs some: several maps in one parameter, or, in the
    first layer, linear maps besides those that are run for every token."""
    for layer in layers:
        for name, module in layer.module.named_modules():
            several = not isinstance(module, nn.modules.conv._ConvNd) and any(
                weights.dim() > 2 and weights.shape[0] not in (1, layer.width) and layer.width in weights.shape[1:]
                for weights in module.parameters(recurse=False)
            )
            inputs, outputs = linear_shape(module) or (0, 0)
            passed_over = layer is layers[0] and name not in run and inputs != layer.width == outputs
            if several or passed_over:
                yield f"{layer.name}.{name}"


def _choose_down_map(model: nn.Module, part: Stack, site: SiteKind, layers: Sequence[Site]) -> Map:
    """The map of the first layer whose inputs are the neurons. Errors: InputError if none may be, or several."""
    first, width = layers[0].name, layers[0].width
    maps = trace_maps(model, part, layers[0].module)
    found = _find_down_maps(maps, site, width)
    if site == "attention" and is_encoder_decoder(model):
        found = found[:1]  # the others are cross-attention
    stack = first.rpartition(".")[0]
    expert = next(_find_experts(layers, {linear_map.name for linear_map in maps}), None)
    if site == "ffn" and expert:
        raise _describe_failure(
            model,
            f"{expert} belongs to a mixture of experts, whose neurons have a value on some tokens only; set "
            "extract.site in params.yaml to hidden or attention, or, for neurons that every token has,",
        )
    if len(found) > 1:
        named = ", ".join(f"{stack}.*.{down.name} ({down.shape[0]} neurons)" for down in found)
        raise _describe_failure(model, f"which are the neurons of {first}? {named} all lead back to its width {width}")
    if not found:
        values = "values mixed over tokens" if site == "attention" else "each token's own values"
        raise _describe_failure(model, f"{first}: no linear map leads from {values} back to the layer's width {width}")
    inputs = {linear_map.name: linear_map.shape[0] for linear_map in maps}
    if site == "ffn" and (other := [name for name in found[0].feeders if inputs[name] != width]):
        raise _describe_failure(
            model,
            f"which are the neurons of {first}? {found[0].name} leads back to its width {width}, but {other[0]}, which "
            "feeds it, does not start there",
        )
    return found[0]


def _find_by_structure(model: nn.Module, part: Stack, site: SiteKind) -> list[Site]:
    layers = _find_layers(model, part)
    if site == "hidden":
        return layers
    chosen = _choose_down_map(model, part, site, layers)
    first = layers[0].name
    holders: dict[str, str] = {}
    for layer in layers:
        present = {name for name, _ in layer.module.named_modules()}
        lacking = {chosen.name, *chosen.feeders} - present
        if lacking:
            raise _describe_failure(model, f"{layer.name} has no {sorted(lacking)[0]}, as {first} has")
        holders[f"{layer.name}.{chosen.name}"] = layer.name
    sites = list_calls(model, part, {name: model.get_submodule(name) for name in holders}, output=False)
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
    sites = list_calls(model, stack, matched, output=output)
    if not sites:
        fault = "matches modules that are not run for every token" if matched else "matches no module"
        raise _describe_failure(model, f"params.yaml: extract.modules {pattern!r} {fault}")
    return sites


def list_calls(model: nn.Module, stack: Stack, modules: dict[str, nn.Module], *, output: bool) -> list[Site]:
    """One site for every call of the modules, in order of execution."""
    return [
        Site(0, call.name, modules[call.name], call.width, call.number, output, call.decoder, call.tokens_first)
        for call in trace_calls(model, stack, modules, output=output)
    ]


def describe_sites(sites: Sequence[Site]) -> str:
    """Which modules' inputs or outputs the units are, or are latents of, numbers in names replaced by `*`."""
    return " and ".join(dict.fromkeys(describe_site(site, _generalise(site.name)) for site in sites))


def describe_site(site: Site, name: str) -> str:
    """Say what the units of a site are. name: of its module."""
    values = f"{'outputs' if site.output else 'inputs'} of {name}"
    return f"latents of a dictionary of {values}" if isinstance(site.encoder, Dictionary) else values


def _generalise(name: str) -> str:
    return re.sub(r"(?<![^.])[0-9]+(?![^.])", "*", name)


def list_linear_maps(model: nn.Module) -> list[str]:
    """The linear maps of a model, with number of inputs and outputs; numbers in their names are replaced by `*`."""
    shapes = ((name, shape) for name, module in model.named_modules() if (shape := linear_shape(module)))
    listed = (f"{_generalise(name)} {ins}->{outs}" for name, (ins, outs) in shapes)
    return list(dict.fromkeys(listed))


def _describe_failure(model: nn.Module, fault: str) -> InputError:
    """An error that says how to go on. fault: what is wrong; one that ends in a comma is followed by advice alone."""
    listing = ", ".join(list_linear_maps(model)) or "none"
    advice = f"set extract.modules in params.yaml to a pattern of module names. Linear maps: {listing}"
    return InputError(f"model {type(model).__name__}: {fault}{' ' if fault.endswith(',') else '; '}{advice}")
