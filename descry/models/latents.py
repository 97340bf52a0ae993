"""Find where a model has the values that dictionaries read, so that their latents are its units."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from descry.errors import InputError
from descry.models.dictionary import Dictionary
from descry.models.dictionary_files import Hook, Point, Stored, list_dictionaries
from descry.models.forward import Stack
from descry.models.neurons import Site, SiteKind, find_sites, list_calls
from descry.models.tracing import linear_shape

_UNNAMED: dict[SiteKind, Point] = {"hidden": "hidden", "ffn": "ffn_out", "attention": "attention"}
"""Which values of its layer a dictionary reads whose files do not say it, by `extract.site`."""
_KINDS: dict[Point, SiteKind] = {"hidden": "hidden", "attention": "attention", "attention_out": "attention"}


class Latents:
    """The dictionaries in a folder, each loaded once, and the search for their sites in a model."""

    def __init__(
        self,
        folder: Path,
        *,
        device: torch.device | str = "cpu",
        site: SiteKind = "hidden",
        stack: Stack = "encoder",
        layers: Sequence[int] | None = None,
    ) -> None:
        """site: the values that are read where files do not say it; stack, layers: as for `find_sites`. Errors:
        InputError if there is no dictionary, or one is not supported."""
        self._stored = list(list_dictionaries(folder))
        self._device, self._site, self._stack, self._layers = device, site, stack, layers
        self._loaded: dict[str, Dictionary] = {}

    def find_sites(self, model: nn.Module) -> list[Site]:
        """The latents of every layer that has a dictionary, in order.

        Errors: InputError if the model lacks a hook or has values of another width there, if a layer has two
        dictionaries, or one that is asked for has none.
        """
        found: dict[int, tuple[Stored, Site]] = {}
        for stored in self._stored:
            site = self._find_values(model, stored, stored.reads)
            if site.layer in found:
                other = found[site.layer][0].name
                raise InputError(
                    f"dictionaries {other} and {stored.name} are both of layer {site.layer}; keep one of them"
                )
            found[site.layer] = stored, site
        if lacking := sorted({*(self._layers or ())} - {*found}):
            listed = ", ".join(map(str, sorted(found)))
            raise InputError(f"params.yaml: extract.layers names {lacking[0]}; dictionaries are of the layers {listed}")
        wanted = [layer for layer in sorted(found) if self._layers is None or layer in self._layers]
        return [self._attach(model, *found[layer]) for layer in wanted]

    def _attach(self, model: nn.Module, stored: Stored, site: Site) -> Site:
        """The latents of a dictionary that reads a site's values."""
        dictionary = self._loaded.get(stored.name) or stored.load(self._device)
        self._loaded[stored.name] = dictionary
        _check_width(stored, site, dictionary.width)
        written = None
        if dictionary.transcodes:
            written = self._find_values(model, stored, stored.writes or Hook("ffn_out", site.layer))
            _check_width(stored, written, dictionary.decoder.shape[1])
        return replace(site, width=dictionary.latents, encoder=dictionary, written=written, ups=())

    def _find_values(self, model: nn.Module, stored: Stored, hook: Hook) -> Site:
        """The values at a hook, with the number of their layer."""
        if hook.module:
            return self._find_module(model, stored, hook)
        if hook.layer is None:
            raise InputError(
                f"dictionary {stored.name}: neither its files nor its folder say which layer it reads; put it into a "
                "folder called layer_N, N from 0"
            )
        sites = list(self._list_values(model, hook.point or _UNNAMED[self._site]))
        if not 0 < hook.layer <= len(sites):
            raise InputError(
                f"dictionary {stored.name}: is of layer {hook.layer}, but {type(model).__name__} has {len(sites)} "
                "layers; it belongs to another model"
            )
        return sites[hook.layer - 1]

    def _list_values(self, model: nn.Module, point: Point) -> Iterator[Site]:
        """The values at a point of every layer, in order."""
        for site in find_sites(model, _KINDS.get(point, "ffn"), stack=self._stack):
            if point == "ffn_in":
                module = model.get_submodule(site.ups[0])
                yield replace(site, name=site.ups[0], module=module, width=_get_shape(module)[0])
            elif point in ("ffn_out", "attention_out"):
                yield replace(site, output=True, width=_get_shape(site.module)[1])
            else:
                yield site

    def _find_module(self, model: nn.Module, stored: Stored, hook: Hook) -> Site:
        """The inputs or outputs of a module, whose name may begin with what holds this model, or lack what holds it."""
        modules, parts = dict(model.named_modules()), hook.module.split(".")
        names = [tail for start in range(len(parts)) if (tail := ".".join(parts[start:])) in modules]
        names += [held for held in modules if held.endswith(f".{hook.module}")]
        name = names[0] if names else None
        if name is None:
            raise InputError(
                f"dictionary {stored.name}: reads {hook.module}, and {type(model).__name__} has no such module; it "
                "belongs to another model"
            )
        calls = list_calls(model, self._stack, {name: modules[name]}, output=hook.output)
        layers = [
            site.layer for site in find_sites(model, stack=self._stack, site="hidden") if _lies_in(name, site.name)
        ]
        if len(calls) != 1 or len(layers) != 1:
            fault = "lies in no single layer" if len(calls) == 1 else f"is run {len(calls)} times for every token"
            raise InputError(f"dictionary {stored.name}: reads {name}, which {fault}; choose another dictionary")
        return replace(calls[0], layer=layers[0])


def _lies_in(name: str, layer: str) -> bool:
    return name == layer or name.startswith(f"{layer}.")


def _get_shape(module: nn.Module) -> tuple[int, int]:
    shape: Any = linear_shape(module)
    inputs, outputs = shape
    return inputs, outputs


def _check_width(stored: Stored, site: Site, width: int) -> None:
    if site.width != width:
        which = "outputs" if site.output else "inputs"
        raise InputError(
            f"dictionary {stored.name}: has vectors of {width} values, but the {which} of {site.name} have "
            f"{site.width}; it belongs to another model, or another place (extract.site, if its files do not name it)"
        )
