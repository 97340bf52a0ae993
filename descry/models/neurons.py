"""Which tensors of a model are its neurons: found by what its modules do, whatever they are called.

`ffn`: the inputs of each feed-forward block's down projection; for BERT the values after GELU. `attention`: the inputs
of each attention's output projection (in a decoder that also reads an encoder: of the self-attention's). `hidden`: the
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
    """The neurons of one layer: the last `width` values a token of a module's input, or of its output.

    layer: from 1, in order of execution; call: which of the module's calls in a pass, from 0 (layers may share a
    module); decoder: whether its tokens are the decoder's; ups: names of the linear maps that lead into the neurons'
    non-linearity; directions: a linear map that the values go through before they are read.
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
        """The neurons [..., width] out of the module's values."""
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

    stack: of an encoder-decoder; the decoder's layers count on from the encoder's. layers: numbers from 1, None for
    all. modules: a dotted pattern of module names, `*` for one part or some of it, where the structure is not to
    decide: their inputs, for `hidden` their outputs, are the neurons.
    Errors: InputError where there are none, where a layer's are unlike the first's, and for numbers out of range.
    """
    found: list[Site] = []
    if modules:
        found = _matched(model, stack, modules, output=site == "hidden")
    else:
        for part in _parts(model, stack):
            found += _structural(model, part, site)
    found = [replace(one, layer=number) for number, one in enumerate(found, start=1)]
    wrong = sorted({number for number in layers or () if not 1 <= number <= len(found)})
    if wrong:
        raise InputError(
            f"params.yaml: extract.layers names {', '.join(map(str, wrong))}; the layers are 1 to {len(found)}"
        )
    return [one for one in found if layers is None or one.layer in layers]


def is_causal(model: nn.Module) -> bool:
    """Whether tokens see none that come after them: a decoder that stands alone."""
    try:
        maps = [] if is_encoder_decoder(model) else _maps(model, "encoder", _layers(model, "encoder"))
    except InputError:
        return False
    mixing = [one for one in maps if one.mixes]
    return bool(mixing) and not mixing[0].ahead


def _parts(model: nn.Module, stack: Stack) -> list[Stack]:
    if stack == "both" and is_encoder_decoder(model):
        return ["encoder", "decoder"]
    return [stack]


def _stacks(model: nn.Module) -> Iterator[tuple[str, nn.ModuleList]]:
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


def _layers(model: Any, part: Stack) -> list[Site]:
    """The outputs of the layers, in order of execution: of the stack whose members are run most often."""
    inside = model
    if is_encoder_decoder(model):
        inside = model.get_decoder() if part == "decoder" else model.get_encoder()
    within = set(inside.modules())
    members = {
        f"{name}.{index}": member
        for name, stack in _stacks(model)
        if stack in within
        for index, member in enumerate(stack)
    }
    outputs = _executed(model, part, members, output=True)
    if not outputs:
        raise _unknown(model, "no stack of layers is found")
    runs = Counter(site.name.rpartition(".")[0] for site in outputs)
    longest, *others = [name for name, count in runs.items() if count == max(runs.values())]
    if others:
        raise _unknown(model, f"{longest} and {others[0]} are run equally often: which are the layers?")
    return [site for site in outputs if site.name.rpartition(".")[0] == longest]


def _maps(model: nn.Module, part: Stack, layers: Sequence[Site]) -> list[Map]:
    """The linear maps of the first layer that lead back to the width between layers, in order of execution."""
    maps = trace_maps(model, part, layers[0].module)
    return [one for one in maps if one.shape[1] == layers[0].width]


def _structural(model: nn.Module, part: Stack, site: SiteKind) -> list[Site]:
    layers = _layers(model, part)
    if site == "hidden":
        return layers
    back = _maps(model, part, layers)
    if site == "attention":
        chosen = next((one for one in back if one.mixes), None)
        missing = "no linear map leads from values mixed over tokens"
    else:  # position-wise; where the block is as narrow as the layer its up projection is one as well, but runs before
        chosen = next((one for one in reversed(back) if one.feeders and not one.mixes), None)
        missing = "no linear map leads from each token's own values"
    where = layers[0].name
    if chosen is None:
        raise _unknown(model, f"{where}: {missing} back to the layer's width {layers[0].width}")
    holders: dict[str, str] = {}
    for layer in layers:
        present = {name for name, _ in layer.module.named_modules()}
        lacking = {chosen.name, *chosen.feeders} - present
        if lacking:
            raise _unknown(model, f"{layer.name} has no {sorted(lacking)[0]}, as {where} has")
        holders[f"{layer.name}.{chosen.name}"] = layer.name
    found = _executed(model, part, {name: model.get_submodule(name) for name in holders}, output=False)
    if len(found) != len(layers):
        raise _unknown(model, f"{chosen.name} of {where} is run {len(found)} times in {len(layers)} layers")
    if site == "attention":
        return found
    return [replace(one, ups=tuple(f"{holders[one.name]}.{up}" for up in chosen.feeders)) for one in found]


def _matched(model: nn.Module, stack: Stack, pattern: str, *, output: bool) -> list[Site]:
    parts = pattern.split(".")

    def matches(name: str) -> bool:
        own = name.split(".")
        return len(own) == len(parts) and all(map(fnmatchcase, own, parts))

    matched = {name: module for name, module in model.named_modules() if matches(name)}
    found = _executed(model, stack, matched, output=output)
    if not found:
        end = "matches modules that are not run for every token" if matched else "matches no module"
        raise _unknown(model, f"params.yaml: extract.modules {pattern!r} {end}")
    return found


def _executed(model: nn.Module, stack: Stack, modules: dict[str, nn.Module], *, output: bool) -> list[Site]:
    """A site for every call of the modules, in order of execution."""
    return [
        Site(0, call.name, modules[call.name], call.width, call.number, output, call.decoder)
        for call in trace_calls(model, stack, modules, output=output)
    ]


def list_linear_maps(model: nn.Module) -> list[str]:
    """The linear maps of a model, numbers in their names given as `*`, with inputs and outputs."""
    shapes = ((name, shape) for name, module in model.named_modules() if (shape := linear_shape(module)))
    listed = (f"{re.sub(r'(?<![^.])[0-9]+(?![^.])', '*', name)} {ins}->{outs}" for name, (ins, outs) in shapes)
    return list(dict.fromkeys(listed))


def _unknown(model: nn.Module, fault: str) -> InputError:
    listing = ", ".join(list_linear_maps(model)) or "none"
    return InputError(
        f"model {type(model).__name__}: {fault}; set extract.modules in params.yaml to a pattern of module names. "
        f"Linear maps: {listing}"
    )
