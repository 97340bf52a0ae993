"""The target, the model whose neurons are described: its activations on sentences, pooled during the pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import chain, count, pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer

from descry.compute.batching import batch_by_tokens
from descry.errors import InputError
from descry.models.fetch import check_transformer, find_transformer
from descry.models.forward import Finished, Stack, find_block, first_tensor, is_encoder_decoder, run_watched
from descry.models.latents import Latents
from descry.models.loading import SAFE, agree, check_tokenizer, explain_loading, find_device, has_bfloat16, load_weights
from descry.models.neurons import Site, SiteKind, find_sites, is_causal
from descry.models.pooling import POOLINGS, Reduction
from descry.models.tracing import sample_tokens

SHOWN = 3
"""Texts that an error shows."""
MOST_ADDED = 8
"""More tokens than a tokenizer puts around a text."""


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
        dictionaries: Path | None = None,
    ) -> None:
        """folder: a local model folder with safetensors weights. site, stack, layers, modules: which neurons, see
        `find_sites`. dictionaries: a folder of dictionaries, whose latents are read in place of neurons, see `Latents`.
        Errors: InputError if the model cannot be loaded, has no such units, or the device is missing.
        """
        self.device, self.stack = find_device(device), stack
        if dtype == "bfloat16" and not has_bfloat16(self.device):
            print(
                "params.yaml: runtime.dtype is bfloat16, which this CPU does not support natively; "
                "float32 is several times faster"
            )
        with explain_loading(f"{folder}: the target model does not load"):
            check_transformer(folder)
            inner = find_transformer(folder)
            self.tokenizer = AutoTokenizer.from_pretrained(inner, **SAFE)
            model = load_weights(AutoModel, inner, dtype)
            check_tokenizer(self.tokenizer, model)
        self.model: Any = model.to(self.device)
        self._find_sites: Callable[[nn.Module], list[Site]]
        self._find_neurons = partial(find_sites, stack=stack, modules=modules)
        if dictionaries is None:
            self._find_sites = partial(self._find_neurons, site=site, layers=layers)
        else:
            self._find_sites = Latents(
                dictionaries, device=self.device, site=site, stack=stack, layers=layers
            ).find_sites
        self.sites: list[Site] = self._find_sites(self.model)
        bos = self.tokenizer.bos_token_id
        adds_bos = bos in self.tokenizer("")["input_ids"]
        self._bos = [bos] if bos is not None and not adds_bos and is_causal(self.model) else []
        self._equal_lengths = self._lets_padding_in()

    def _lets_padding_in(self) -> bool:
        """Whether only sentences of equal length may share a batch, since padding changes what the model makes of a
        sentence. Errors: InputError if even those change each other."""

        def read(*sentences: list[int]) -> Tensor:
            return self.pool(list(sentences), [[0] * len(ids) for ids in sentences], ["mean"])[0]

        def share(*sentences: list[int]) -> bool:
            return agree(read(*sentences), torch.cat([read(ids) for ids in sentences]), self.model.dtype)

        named = f"model {type(self.model).__name__}"
        longest = max(2, min(12, self._find_longest_input()))
        ids = sample_tokens(self.model, longest)
        short, other = ids[: longest // 3 + 1], ids[-(longest // 3) - 1 :]
        if share(short, ids):
            return False
        if share(short, other):
            print(f"{named}: padding changes its values; only sentences of equal length share a batch")
            return True
        raise InputError(
            f"{named}: its values on a sentence change with the other sentences of a batch, even of equal length, so "
            "its neurons cannot be read; choose another model"
        )

    def make_batches(self, ids: Sequence[Sequence[int]], batch_tokens: int) -> list[np.ndarray]:
        """Batch sentences by `batch_by_tokens`, as this model can read them."""
        return batch_by_tokens([len(i) for i in ids], batch_tokens, equal=self._equal_lengths)

    def load(self) -> Target:
        """Itself: a target in memory is its own source."""
        return self

    @property
    def widths(self) -> list[int]:
        """Number of neurons of each layer, in order."""
        return [site.width for site in self.sites]

    def encode(self, texts: Sequence[str]) -> tuple[list[list[int]], list[list[int]]]:
        """Token ids and special-token masks (1: special) of each text, cut to the model's longest input.

        Special are the tokens that the tokenizer adds, and its start, end, padding and mask tokens; all others are the
        text's own. A causal model always reads BOS first, since the first token attracts much of the attention. Errors:
        InputError that shows the texts without a token of their own.
        """
        if not texts:
            return [], []
        ids, added = self._tokenize(list(texts))
        stops = np.cumsum([len(row) for row in ids])
        flat = np.fromiter(chain.from_iterable(ids), np.int64, stops[-1])
        fillers = {getattr(self.tokenizer, f"{name}_token_id") for name in ("bos", "eos", "cls", "sep", "pad", "mask")}
        special = np.isin(flat, [token for token in fillers - {self.tokenizer.unk_token_id} if token is not None])
        special |= np.fromiter(chain.from_iterable(added), np.bool_, stops[-1])
        flags = special.astype(np.int64).tolist()
        marks = [flags[start:stop] for start, stop in pairwise([0, *stops.tolist()])]
        if empty := [text for text, mark in zip(texts, marks, strict=True) if all(mark)]:
            shown = ", ".join([repr(text[:80]) for text in empty[:SHOWN]] + ["..."] * (len(empty) > SHOWN))
            raise InputError(
                f"models.target: {len(empty):,} of {len(texts):,} sentences have no token of their own in its "
                f"tokenizer ({shown}); remove them from the corpus, or choose another model"
            )
        return [self._bos + row for row in ids], [[1] * len(self._bos) + mark for mark in marks]

    def _tokenize(self, texts: list[str]) -> tuple[list[list[int]], list[list[int]]]:
        """Token ids and marks (1: added by the tokenizer) of each text, cut to the model's longest input."""
        options: Any = {"truncation": True, "max_length": self._find_longest_input(), "verbose": False}
        if not self.tokenizer.is_fast:
            encoded = self.tokenizer(texts, **options, return_special_tokens_mask=True)
            return encoded["input_ids"], encoded["special_tokens_mask"]
        self.tokenizer("", **options)  # sets up the tokenizer inside, which leaves Python's threads alone
        found = self.tokenizer.backend_tokenizer.encode_batch_fast(texts)
        return [row.ids for row in found], [row.special_tokens_mask for row in found]

    def count_cut(self, texts: Sequence[str]) -> int:
        """How many texts are longer than the model's longest input, so that `encode` cuts them."""
        longest = self._find_longest_input()
        long = [text for text in texts if len(text.encode()) + MOST_ADDED > longest]  # a token has at least a byte
        encoded = self.tokenizer(long, verbose=False)["input_ids"] if long else []
        return sum(len(ids) > longest for ids in encoded)

    def offsets(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """The characters [start, stop) of its text that each token of `encode` covers, (0, 0) for added tokens. The
        tokenizer must be a fast one (`tokenizer.is_fast`)."""
        encoded = self.tokenizer(
            list(texts),
            truncation=True,
            max_length=self._find_longest_input(),
            return_offsets_mapping=True,
            verbose=False,
        )
        return [[(0, 0)] * len(self._bos) + row for row in encoded["offset_mapping"]]

    def _find_longest_input(self) -> int:
        """The most tokens of a text that fit into the model's positions, besides those put in front of them."""
        tables = [  # RoBERTa's positions start after the padding id
            len(module.weight) - module.padding_idx - 1
            for name, module in self.model.named_modules()
            if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None
        ]
        configured = getattr(self.model.config, "max_position_embeddings", None) or 0
        configured = configured if configured > 0 else 512  # XLNet, which has no limit, says -1
        start = is_encoder_decoder(self.model) and self.stack != "encoder"
        return int(min(self.tokenizer.model_max_length, configured, *tables)) - len(self._bos) - start

    @property
    def neurons(self) -> tuple[np.ndarray, np.ndarray]:
        """Layer int16 (from 1) and index int32 (from 0) of every neuron, in order."""
        layer = np.repeat([site.layer for site in self.sites], self.widths).astype(np.int16)
        return layer, np.concatenate([np.arange(width, dtype=np.int32) for width in self.widths])

    def replace_model(self, model: nn.Module, width: int | None = None) -> Target:
        """A target with the same tokenizer and device and another model, of which the last `width` neurons of every
        layer are read (None: all)."""
        other = copy(self)
        other.model = model.eval().to(self.device)
        other.sites = self._find_sites(model)
        if width is not None:
            other.sites = [replace(site, width=width) for site in other.sites]
        return other

    def read_neurons(self) -> Target:
        """The same model, with the neurons of the same layers' feed-forward blocks in place of a dictionary's latents.
        Errors: InputError if they are not found."""
        other = copy(self)
        other._find_sites = partial(self._find_neurons, layers=[site.layer for site in self.sites])
        other.sites = other._find_sites(self.model)
        return other

    def pack(self, ids: Sequence[Sequence[int]], special: Sequence[Sequence[int]]) -> Tensor:
        """A batch in one tensor on the CPU, int64 [3, batch, tokens], padded on the right: token ids, attention mask,
        own-token mask."""
        lengths = np.array([len(row) for row in ids])
        tokens = int(lengths.max())
        tokens += -tokens % find_block(self.model)
        packed = np.zeros((3, len(ids), tokens), np.int64)
        packed[0] = self.tokenizer.pad_token_id or 0
        read = np.arange(tokens) < lengths[:, None]
        packed[0][read] = np.fromiter(chain.from_iterable(ids), np.int64, lengths.sum())
        packed[1] = read
        packed[2][read] = 1 - np.fromiter(chain.from_iterable(special), np.int64, lengths.sum())
        tensor = torch.from_numpy(packed)
        return tensor.pin_memory() if self.device.type == "cuda" else tensor

    def unpack(self, packed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Token ids and attention mask, int64, and own-token mask, bool: each [batch, tokens], on the device."""
        tokens, attention, own = packed.to(self.device, non_blocking=True)
        return tokens, attention, own.bool()

    def batch(self, ids: list[list[int]], special: list[list[int]]) -> tuple[Tensor, Tensor, Tensor]:
        """`unpack` of `pack`."""
        return self.unpack(self.pack(ids, special))

    def read(
        self, ids: list[list[int]], special: list[list[int]], requests: Sequence[tuple[Site, Reduction]]
    ) -> list[Tensor]:
        """`read_packed` of `pack`."""
        return self.read_packed(self.pack(ids, special), requests)

    @torch.inference_mode()
    def read_packed(self, packed: Tensor, requests: Sequence[tuple[Site, Reduction]]) -> list[Tensor]:
        """Reduce the values of each requested site's module, in one forward pass over a batch; in the order of the
        requests. The pass ends as soon as all of them are served."""
        tokens, attention, own = self.unpack(packed)
        decoder_own = torch.cat([torch.zeros_like(own[:, :1]), own], dim=1)  # the decoder reads its start token first
        results: dict[int, Tensor] = {}

        def make_hook(wanted: Mapping[int, list[int]]) -> Callable[..., None]:
            calls = count()

            def hook(_: nn.Module, *values: Any) -> None:
                for place in wanted.get(next(calls), ()):
                    (site, reduce), read = requests[place], first_tensor(values[-1])
                    assert read is not None
                    mask = decoder_own if site.decoder else own
                    results[place] = reduce(site.arrange(read, mask), mask)
                if len(results) == len(requests):
                    raise Finished

            return hook

        places: dict[tuple[nn.Module, bool], dict[int, list[int]]] = {}
        for place, (site, _) in enumerate(requests):
            places.setdefault((site.module, site.output), {}).setdefault(site.call, []).append(place)
        hooks = [
            (module.register_forward_hook if output else module.register_forward_pre_hook)(make_hook(wanted))
            for (module, output), wanted in places.items()
        ]
        run_watched(self.model, self.stack, tokens, attention, hooks)
        return [results[place] for place in range(len(requests))]

    def pool(self, ids: list[list[int]], special: list[list[int]], poolings: Sequence[str]) -> Tensor:
        """`pool_packed` of `pack`."""
        return self.pool_packed(self.pack(ids, special), poolings)

    def pool_packed(self, packed: Tensor, poolings: Sequence[str]) -> Tensor:
        """Pool each neuron over each sentence's own tokens: float32 [poolings, batch, neurons] on the device.

        Padding and special tokens ([CLS], [SEP], BOS) never count.
        """

        def make_reduction(site: Site) -> Reduction:
            def reduce(values: Tensor, own: Tensor) -> Tensor:
                neurons = site.read(values).to(torch.float32)
                return torch.stack([POOLINGS[pooling](neurons, own) for pooling in poolings])

            return reduce

        layers = self.read_packed(packed, [(site, make_reduction(site)) for site in self.sites])
        return torch.cat(layers, dim=2)


class TargetSource(Protocol):
    """Something that loads a target, on any machine."""

    def load(self) -> Target:
        """The target. Errors: InputError if it cannot be loaded."""


@dataclass(frozen=True)
class TargetLoader:
    """Loads a target from its folder.

    folder: absolute if other machines are to load it; device, dtype: see `Target`; neurons: the other options of
    `Target`, by name.
    """

    folder: Path
    device: str = "cpu"
    dtype: str = "float32"
    neurons: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, models: Path, extract: Mapping[str, Any], device: str, dtype: str) -> TargetLoader:
        """What loads a run's target. models: the run's folder of models; extract: its settings of that name."""
        neurons = {name: extract[name] for name in ("site", "stack", "layers", "modules")}
        neurons["layers"] = neurons["layers"] and tuple(neurons["layers"])
        if extract.get("units") == "dictionary":
            neurons["dictionaries"] = (models / "dictionaries").absolute()
        return cls((models / "target").absolute(), device, dtype, tuple(neurons.items()))

    def load(self) -> Target:
        """The target, loaded once per process."""
        return _load_once(self)


@lru_cache(maxsize=1)
def _load_once(loader: TargetLoader) -> Target:
    return Target(loader.folder, device=loader.device, dtype=loader.dtype, **dict(loader.neurons))
