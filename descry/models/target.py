"""A model whose neurons are read: what it makes of a batch of sentences, pooled on the fly."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel, AutoTokenizer

from descry.errors import InputError
from descry.models.forward import Finished, Stack, first_tensor, is_encoder_decoder, run_watched
from descry.models.loading import SAFE, check_tokenizer, explain_loading, find_device, has_bfloat16, load_weights
from descry.models.neurons import Site, SiteKind, find_sites, is_causal


def _max(values: Tensor, own: Tensor) -> Tensor:
    return values.masked_fill(~own.unsqueeze(-1), -torch.inf).amax(1)


def _mean(values: Tensor, own: Tensor) -> Tensor:
    weights = own.to(values.dtype) / own.sum(1, keepdim=True)
    return torch.bmm(weights.unsqueeze(1), values).squeeze(1)


def _first(values: Tensor, own: Tensor) -> Tensor:
    return values[torch.arange(len(values)), own.int().argmax(1)]


def _last(values: Tensor, own: Tensor) -> Tensor:
    return values[torch.arange(len(values)), own.shape[1] - 1 - own.flip(1).int().argmax(1)]


See = Callable[[Tensor, Tensor], Tensor]
"""What is kept of values [batch, tokens, width], given the own-token mask [batch, tokens]."""

POOLINGS: dict[str, See] = {
    "max": _max,
    "mean": _mean,
    "first": _first,
    "last": _last,
}
"""How a neuron's values over a sentence's own tokens become one, by name: each gives [batch, width]."""


class Target:
    """A model whose neurons are read: tokenizer, weights, sites."""

    def __init__(
        self,
        folder: Path,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        site: SiteKind = "ffn",
        stack: Stack = "encoder",
        layers: Sequence[int] | None = None,
        modules: str = "",
    ) -> None:
        """folder: a local model folder with safetensors weights. site, stack, layers, modules: which neurons, as
        `neurons.find` takes them. Errors: InputError where it cannot load, the device is not there, or it has no such
        neurons."""
        self.device, self.stack = find_device(device), stack
        if dtype == "bfloat16" and not has_bfloat16(self.device):
            print("runtime.dtype is bfloat16, which this CPU has no arithmetic for: float32 is several times faster")
        with explain_loading(f"{folder}: the target model does not load"):
            self.tokenizer = AutoTokenizer.from_pretrained(folder, **SAFE)
            model = load_weights(AutoModel, folder, dtype)
            check_tokenizer(self.tokenizer, model)
        self.model: Any = model.to(self.device)
        self._find = partial(find_sites, site=site, stack=stack, layers=layers, modules=modules)
        self.sites: list[Site] = self._find(self.model)
        bos = self.tokenizer.bos_token_id
        adds = bos in self.tokenizer("")["input_ids"]
        self._bos = [bos] if bos is not None and not adds and is_causal(self.model) else []

    def load(self) -> Target:
        """Itself: a target that is there is its own source."""
        return self

    @property
    def widths(self) -> list[int]:
        """Neurons of each layer, first layer first."""
        return [site.width for site in self.sites]

    def encode(self, texts: Sequence[str]) -> tuple[list[list[int]], list[list[int]]]:
        """Token ids and special-token masks, cut to the model's longest input. Special are the tokens that the
        tokenizer adds, and those of its start, end, padding and mask; a causal model reads its BOS first in any case,
        since the first token soaks up attention."""
        if not texts:
            return [], []
        out = self.tokenizer(
            list(texts), truncation=True, max_length=self._longest(), return_special_tokens_mask=True, verbose=False
        )
        known = {getattr(self.tokenizer, f"{name}_token_id") for name in ("bos", "eos", "cls", "sep", "pad", "mask")}
        special = known - {self.tokenizer.unk_token_id}
        marks = [
            [int(mark or token in special) for token, mark in zip(*pair, strict=True)]
            for pair in zip(out["input_ids"], out["special_tokens_mask"], strict=True)
        ]
        return [self._bos + ids for ids in out["input_ids"]], [[1] * len(self._bos) + mark for mark in marks]

    def offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Where in its text each token of `encode` lies: characters from the first number up to the second, (0, 0)
        for those that are not of the text. The tokenizer must be a fast one (`tokenizer.is_fast`)."""
        out = self.tokenizer(
            list(texts), truncation=True, max_length=self._longest(), return_offsets_mapping=True, verbose=False
        )
        return [[(0, 0)] * len(self._bos) + row for row in out["offset_mapping"]]

    def _longest(self) -> int:
        """Tokens of a sentence that the model's positions hold, beside those put before them."""
        offset = [  # RoBERTa counts positions from its padding's
            module.num_embeddings - module.padding_idx - 1
            for name, module in self.model.named_modules()
            if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
        ]
        known = getattr(self.model.config, "max_position_embeddings", None) or 512
        start = is_encoder_decoder(self.model) and self.stack != "encoder"
        return int(min(self.tokenizer.model_max_length, known, *offset)) - len(self._bos) - start

    def replaced(self, model: nn.Module, width: int | None = None) -> Target:
        """The same tokenizer and device with another model, of which the last `width` neurons of every layer are
        read (None: all)."""
        other = copy(self)
        other.model = model.eval().to(self.device)
        other.sites = self._find(model)
        if width is not None:
            other.sites = [replace(site, width=width) for site in other.sites]
        return other

    def batch(self, ids: list[list[int]], special: list[list[int]]) -> tuple[Tensor, Tensor, Tensor]:
        """Token ids and attention mask, int64, and the mask of own tokens, bool: each [batch, tokens], padded on the
        right. Errors: InputError where a sentence has no token of its own."""
        filler = self.tokenizer.pad_token_id or 0
        rows = [torch.tensor(i, dtype=torch.int64) for i in ids]
        tokens = pad_sequence(rows, batch_first=True, padding_value=filler)
        length = torch.tensor([len(i) for i in ids])
        attention = (torch.arange(tokens.shape[1]) < length[:, None]).to(torch.int64)
        marks = pad_sequence([torch.tensor(s, dtype=torch.int64) for s in special], batch_first=True)
        own = (attention == 1) & (marks == 0)
        if not bool(own.any(1).all()):
            raise InputError("a sentence has no token that the target's tokenizer knows as its own; drop it")
        packed = torch.stack([tokens, attention, own])  # one copy to the device, which need not be waited for
        if self.device.type == "cuda":
            packed = packed.pin_memory()
        tokens, attention, own = packed.to(self.device, non_blocking=True)
        return tokens, attention, own.bool()

    @torch.inference_mode()
    def inputs(
        self, ids: list[list[int]], special: list[list[int]], sights: Sequence[tuple[Site, See]]
    ) -> list[Tensor]:
        """What each sight makes of the values of its site's module, in one pass over a batch, which ends after the
        last of them; in the order of the sights."""
        tokens, attention, own = self.batch(ids, special)
        ahead = torch.cat([torch.zeros_like(own[:, :1]), own], dim=1)  # the decoder reads its start token first
        seen: dict[int, Tensor] = {}

        def reader(wanted: Mapping[int, list[int]]) -> Callable[..., None]:
            calls = count()

            def hook(_: nn.Module, *values: Any) -> None:
                for place in wanted.get(next(calls), ()):
                    (site, see), read = sights[place], first_tensor(values[-1])
                    assert read is not None
                    mask = ahead if site.decoder else own
                    seen[place] = see(read.reshape(*mask.shape, -1), mask)
                if len(seen) == len(sights):
                    raise Finished

            return hook

        places: dict[tuple[nn.Module, bool], dict[int, list[int]]] = {}
        for place, (site, _) in enumerate(sights):
            places.setdefault((site.module, site.output), {}).setdefault(site.call, []).append(place)
        hooks = [
            module.register_forward_hook(reader(wanted)) if output else module.register_forward_pre_hook(reader(wanted))
            for (module, output), wanted in places.items()
        ]
        run_watched(self.model, self.stack, tokens, attention, hooks)
        return [seen[place] for place in range(len(sights))]

    def pooled(self, ids: list[list[int]], special: list[list[int]], poolings: Sequence[str]) -> list[Tensor]:
        """Each neuron pooled over each sentence's own tokens: float32 [batch, neurons] on the device, one a pooling.

        Padding and special tokens ([CLS], [SEP], BOS) never enter.
        """

        def sight(site: Site) -> See:
            def see(values: Tensor, own: Tensor) -> Tensor:
                neurons = site.read(values).to(torch.float32)
                return torch.stack([POOLINGS[pooling](neurons, own) for pooling in poolings])

            return see

        layers = self.inputs(ids, special, [(site, sight(site)) for site in self.sites])
        return list(torch.cat(layers, dim=2))


class TargetSource(Protocol):
    """Gives a target, on any machine."""

    def load(self) -> Target:
        """The target. Errors: InputError where it cannot be had."""


@dataclass(frozen=True)
class TargetLoader:
    """A target by its folder. folder: absolute where other machines are to load it; device, dtype: as `Target` takes
    them; neurons: which, the other options of `Target`, by name."""

    folder: Path
    device: str = "cpu"
    dtype: str = "float32"
    neurons: tuple[tuple[str, Any], ...] = ()

    def load(self) -> Target:
        """The target, loaded once in a process."""
        return _loaded(self)


@lru_cache(maxsize=1)
def _loaded(source: TargetLoader) -> Target:
    return Target(source.folder, device=source.device, dtype=source.dtype, **dict(source.neurons))
