"""Sparse dictionaries as files: the formats of SAELens, sparsify and Gemma Scope. Nothing is unpickled.

Every format is a folder of a configuration and weights. Errors are InputErrors that name file and key.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from descry.errors import InputError
from descry.models.dictionary import Activation, Dictionary, Gated, GroupMax, JumpReLU, Normalisation, TopK

Point = Literal["hidden", "ffn", "ffn_in", "ffn_out", "attention", "attention_out"]
"""Values of a layer: its outputs; the inputs of its feed-forward block's down projection, of its up projection, the
outputs of its down projection; the inputs and the outputs of its attention's output projection."""
PICKLES = (".pt", ".pth", ".bin", ".pkl", ".ckpt")
_POINTS: dict[str, Point] = {
    "hook_resid_post": "hidden",
    "hook_mlp_out": "ffn_out",
    "hook_mlp_in": "ffn_in",
    "ln2.hook_normalized": "ffn_in",
    "mlp.hook_post": "ffn",
    "attn.hook_z": "attention",
    "hook_attn_out": "attention_out",
}
"""TransformerLens' names of a block's values."""
_LAYER = re.compile(r"layers?[._](\d+)")


@dataclass(frozen=True)
class Hook:
    """Where a dictionary reads, or writes: a point of a layer, numbered from 1, or the outputs (or inputs) of a module.
    Fields that the file leaves open are None or empty."""

    point: Point | None = None
    layer: int | None = None
    module: str = ""
    output: bool = True


class Weights:
    """The arrays of a safetensors or npz file, read one at a time."""

    keys: set[str]

    def __init__(self, path: Path, name: str, device: torch.device | str) -> None:
        """name: of the file in errors; device: to which arrays are moved."""
        self.name, self._device = name, device
        self._read: Callable[[str], Any]
        try:
            if path.suffix == ".npz":
                arrays = np.load(path, allow_pickle=False)
                self.keys, self._read = {*arrays.files}, lambda key: torch.from_numpy(np.asarray(arrays[key]))
            else:
                tensors: Any = safe_open(path, framework="pt")
                self.keys, self._read = set(tensors.keys()), tensors.get_tensor
        except (OSError, ValueError, EOFError, BadZipFile, SafetensorError) as error:
            raise InputError(f"{name}: is damaged ({_first_line(error)}); fetch it again") from error

    def take(self, key: str, *shape: int | None) -> Tensor:
        """Read an array as float32. shape: what it must be, None for any size. Errors: InputError if it is missing, has
        another shape, or is not finite."""
        if key not in self.keys:
            raise InputError(
                f"{self.name}: has no {key}, only {', '.join(sorted(self.keys)) or 'nothing'}; fetch it again"
            )
        try:
            values: Tensor = self._read(key).to(torch.float32)
        except (OSError, ValueError, TypeError, EOFError, BadZipFile, SafetensorError) as error:
            raise InputError(f"{self.name}: {key} cannot be read ({_first_line(error)}); fetch it again") from error
        if values.dim() != len(shape) or any(
            want not in (None, size) for want, size in zip(shape, values.shape, strict=True)
        ):
            wanted = " x ".join("any" if size is None else str(size) for size in shape) or "one number"
            raise InputError(
                f"{self.name}: {key} has shape {list(values.shape)}, not {wanted}; it belongs to another dictionary"
            )
        if not bool(torch.isfinite(values).all()):
            raise InputError(f"{self.name}: {key} holds values that are not finite; fetch it again")
        return values.contiguous().to(self._device)


class Config:
    """A configuration file; empty where a format's folders may lack it."""

    def __init__(self, path: Path, name: str, *, needed: bool = True) -> None:
        self.name, self._content = name, dict[str, Any]()
        if path.is_file() or needed:
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError) as error:
                raise InputError(f"{name}: is not there, or not JSON; fetch it again") from error
            if not isinstance(content, dict):
                raise InputError(f"{name}: is not a configuration; fetch it again")
            self._content = content

    def get(self, key: str, kind: type | tuple[type, ...], default: Any) -> Any:
        """The value under a key, `default` where there is none. Errors: InputError if it is of another type."""
        value = self._content.get(key)
        if value is None:
            return default
        if not isinstance(value, kind):
            raise InputError(f"{self.name}: {key} is {value!r}, which no dictionary has; fetch it again")
        return value

    def choose(self, key: str, table: Mapping[Any, Any], default: Any) -> Any:
        """What a table holds under the value of a key. Errors: InputError if it is not in there."""
        value = self.get(key, (str, bool, int), default)
        if value not in table:
            known = ", ".join(map(str, table))
            raise InputError(f"{self.name}: {key} is {value!r}, which is not supported; supported are {known}")
        return table[value]

    def refuse(self, key: str, reason: str) -> None:
        """Errors: InputError if the key has a value."""
        if self._content.get(key):
            raise InputError(f"{self.name}: {key} is {self._content[key]!r}: {reason}; choose another dictionary")

    def nested(self, key: str) -> dict[str, Any]:
        """The mapping under a key, empty where there is none."""
        return dict(self.get(key, dict, {}))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _parse_hook(name: str, config: str) -> Hook:
    """The hook that TransformerLens' or a module's name stands for."""
    block = re.fullmatch(r"blocks\.(\d+)\.(.+)", name)
    if block is None:
        stem, _, end = name.rpartition(".")
        return Hook(module=stem, output=end == "output") if end in ("input", "output") else Hook(module=name)
    layer, point = int(block[1]), block[2]
    if point == "hook_resid_pre" and layer:
        return Hook("hidden", layer)
    if point not in _POINTS:
        known = ", ".join(["hook_resid_pre (not of block 0)", *_POINTS])
        raise InputError(f"{config}: reads {name}, which is not supported; supported are {known}, and names of modules")
    return Hook(_POINTS[point], layer + 1)


def _name_hook(name: str | None, config: str, folder: str) -> Hook:
    """The hook of a name; without one, what the folder says of its layer."""
    if name:
        return _parse_hook(name, config)
    number = _LAYER.search(folder)
    return Hook(layer=int(number[1]) + 1 if number else None)


# SAELens

_ARCHITECTURES = ("standard", "gated", "jumprelu", "topk", "batchtopk")
_TRANSCODERS = {f"{kind}transcoder": "standard" for kind in ("", "skip_")} | {
    f"jumprelu_{kind}transcoder": "jumprelu" for kind in ("", "skip_")
}
_NORMALISATIONS: dict[Any, Normalisation] = {
    "none": "none",
    "layer_norm": "layer_norm",
    "constant_norm_rescale": "constant_norm_rescale",
    # of which SAELens' encoders expect that they are folded into the weights
    **dict.fromkeys(["expected_average_only_in", "covariance_whitening", True, False], "none"),
}


def _find_saelens_hooks(config: Config, folder: str) -> tuple[Hook, Hook | None]:
    metadata = config.nested("metadata")
    for key in ("hook_head_index", "hook_point_head_index"):
        config.refuse(key, "it reads one head alone, which is not supported")
    flat = config.get("hook_name", str, None) or config.get("hook_point", str, None)
    out = metadata.get("hook_name_out") or config.get("hook_name_out", str, None)
    reads = _name_hook(metadata.get("hook_name") or flat, config.name, folder)
    return reads, _parse_hook(out, config.name) if out else None


def _build_saelens(config: Config, weights: Weights) -> Dictionary:
    transcodes = "transcoder" in str(config.get("architecture", str, ""))
    kind = config.choose("architecture", {name: name for name in _ARCHITECTURES} | _TRANSCODERS, "standard")
    kind = "topk" if config.choose(*_find_flat_activation(config)) else kind
    encoder = weights.take("W_enc", config.get("d_in", int, None), config.get("d_sae", int, None))
    width, latents = encoder.shape
    decoder = weights.take("W_dec", latents, config.get("d_out", int, None) if transcodes else width)
    norms = (
        decoder.norm(dim=-1) if config.get("rescale_acts_by_decoder_norm", bool, False) else encoder.new_ones(latents)
    )
    gated = kind == "gated"
    bias = encoder.new_zeros(latents) if gated else weights.take("b_enc", latents)
    if "scaling_factor" in weights.keys and bool((weights.take("scaling_factor", latents) != 1).any()):
        raise InputError(
            f"{weights.name}: has a scaling_factor, which SAELens no longer reads; fold it in and save again"
        )
    return Dictionary(
        weight=(encoder * norms).T,
        bias=bias * norms,
        activation=_build_saelens_activation(kind, config, weights, latents),
        decoder=decoder / norms[:, None],
        decoder_bias=weights.take("b_dec", decoder.shape[1]),
        centred=not transcodes and config.get("apply_b_dec_to_input", bool, True),
        normalisation=config.choose("normalize_activations", _NORMALISATIONS, "none"),
        skip=weights.take("W_skip", decoder.shape[1], width) if "W_skip" in weights.keys else None,
        transcodes=transcodes,
    )


def _find_flat_activation(config: Config) -> tuple[str, dict[str, bool], str]:
    """How configurations before SAELens 6 name TopK: key, whether each value means it, default."""
    key = "activation_fn_str" if config.get("activation_fn_str", str, None) else "activation_fn"
    return key, {"relu": False, "topk": True}, "relu"


def _build_saelens_activation(kind: str, config: Config, weights: Weights, latents: int) -> Activation:
    if kind == "gated":
        gate, scale, magnitude = (weights.take(key, latents) for key in ("b_gate", "r_mag", "b_mag"))
        return Gated(gate, scale.exp(), magnitude)
    if kind == "batchtopk" and "threshold" not in weights.keys:
        return JumpReLU(weights.take("topk_threshold").expand(latents))
    if kind in ("jumprelu", "batchtopk"):
        return JumpReLU(weights.take("threshold", latents))
    if kind == "topk":
        return TopK(_check_k(config, config.nested("activation_fn_kwargs").get("k"), latents))
    return torch.relu


def _check_k(config: Config, default: Any, latents: int) -> int:
    k = config.get("k", int, default)
    if not isinstance(k, int) or not 0 < k <= latents:
        raise InputError(f"{config.name}: k is {k!r}, not a number from 1 to its {latents} latents; fetch it again")
    return k


# sparsify


def _find_sparsify_hooks(config: Config, folder: str) -> tuple[Hook, Hook | None]:
    module = Path(folder).name
    if config.get("transcode", bool, False):
        return Hook(module=module, output=False), Hook(module=module)
    return Hook(module=module), None


def _build_sparsify(config: Config, weights: Weights) -> Dictionary:
    config.refuse("signed", "its latents are negative too, which is not supported")
    width = config.get("d_in", int, None)
    latents = config.get("num_latents", int, 0) or None
    weight = weights.take("encoder.weight", latents, width)
    latents, width = weight.shape
    transcodes = config.get("transcode", bool, False)
    activation = config.choose("activation", {"topk": TopK, "groupmax": GroupMax}, "topk")
    return Dictionary(
        weight=weight,
        bias=weights.take("encoder.bias", latents),
        activation=activation(_check_k(config, None, latents)),
        decoder=weights.take("W_dec", latents, width),
        decoder_bias=weights.take("b_dec", width),
        centred=not transcodes,
        skip=weights.take("W_skip", width, width) if config.get("skip_connection", bool, False) else None,
        transcodes=transcodes,
    )


# Gemma Scope


def _find_gemma_hooks(config: Config, folder: str) -> tuple[Hook, Hook | None]:
    reads, writes = (config.get(f"hf_hook_point_{end}", str, None) for end in ("in", "out"))
    same = not writes or reads == writes
    return _name_hook(reads, config.name, folder), None if same else _parse_hook(writes, config.name)


def _build_gemma(config: Config, weights: Weights) -> Dictionary:
    lower = "w_enc" in weights.keys
    config.choose("architecture", {"jump_relu": None}, "jump_relu")
    encoder = weights.take("w_enc" if lower else "W_enc", None, None)
    width, latents = encoder.shape
    decoder = weights.take("w_dec" if lower else "W_dec", latents, None)
    skip = "affine_skip_connection"
    return Dictionary(
        weight=encoder.T,
        bias=weights.take("b_enc", latents),
        activation=JumpReLU(weights.take("threshold", latents)),
        decoder=decoder,
        decoder_bias=weights.take("b_dec", decoder.shape[1]),
        skip=weights.take(skip, width, decoder.shape[1]).T if skip in weights.keys else None,
        transcodes=_find_gemma_hooks(config, "")[1] is not None,
    )


@dataclass(frozen=True)
class Format:
    """A format of files: its configuration, whether there must be one, and what reads hooks and weights."""

    config: str
    needed: bool
    find_hooks: Callable[[Config, str], tuple[Hook, Hook | None]]
    build: Callable[[Config, Weights], Dictionary]


FORMATS = {
    "sae_weights.safetensors": Format("cfg.json", True, _find_saelens_hooks, _build_saelens),
    "sae.safetensors": Format("cfg.json", True, _find_sparsify_hooks, _build_sparsify),
    "params.safetensors": Format("config.json", False, _find_gemma_hooks, _build_gemma),
    "params.npz": Format("config.json", False, _find_gemma_hooks, _build_gemma),
}
"""Formats by the name of their weights' file: SAELens, sparsify, Gemma Scope 2 and Gemma Scope."""


@dataclass(frozen=True)
class Stored:
    """A dictionary in a folder: its name (the path within the folder of all), where it reads, and where it writes, None
    for the values that it reads."""

    name: str
    folder: Path
    weights: str
    reads: Hook
    writes: Hook | None

    @property
    def files(self) -> list[Path]:
        """Its configuration, if there is one, and its weights."""
        return [path for name in (FORMATS[self.weights].config, self.weights) if (path := self.folder / name).is_file()]

    def load(self, device: torch.device | str = "cpu") -> Dictionary:
        """Read the weights. Errors: InputError if they are damaged, incomplete, or not supported."""
        format_, where = FORMATS[self.weights], f"dictionary {self.name}"
        config = _read_config(self.folder, self.name, format_)
        return format_.build(config, Weights(self.folder / self.weights, f"{where}/{self.weights}", device))


def _read_config(folder: Path, name: str, format_: Format) -> Config:
    return Config(folder / format_.config, f"dictionary {name}/{format_.config}", needed=format_.needed)


def list_dictionaries(root: Path) -> Iterator[Stored]:
    """The dictionaries in `root` and its subfolders, by name. Errors: InputError if there is none."""
    paths = sorted(path for weights in FORMATS for path in root.rglob(weights) if path.is_file())
    if not paths:
        pickles = sorted(path.relative_to(root) for path in root.rglob("*") if path.suffix in PICKLES)
        pickle = f"{pickles[0]} is a pickle, which can run code when it is loaded; " if pickles else ""
        raise InputError(
            f"{pickle}there is no dictionary of SAELens, sparsify or Gemma Scope ({', '.join(FORMATS)}); convert it"
        )
    for path in paths:
        name, format_ = path.parent.relative_to(root).as_posix(), FORMATS[path.name]
        shown = root.name if name == "." else name
        hooks = format_.find_hooks(_read_config(path.parent, shown, format_), shown)
        yield Stored(shown, path.parent, path.name, *hooks)
