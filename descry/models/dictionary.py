"""Sparse dictionaries of units, as trained by others: autoencoders and transcoders, whose latents are the units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Activation = Callable[[Tensor], Tensor]
"""Pre-activations [..., latents] -> latents of the same shape, never negative."""
Normalisation = Literal["none", "layer_norm", "constant_norm_rescale"]
"""What is done to every input vector first: nothing; mean 0 and standard deviation 1; norm sqrt(width)."""
_EPSILON = 1e-5


@dataclass(frozen=True)
class JumpReLU:
    """The pre-activation where it is above the latent's threshold and positive, else 0. threshold: float [latents]."""

    threshold: Tensor

    def __call__(self, values: Tensor) -> Tensor:
        return values.relu() * (values > self.threshold)


@dataclass(frozen=True)
class Gated:
    """A magnitude where a gate is open, else 0. gate, scale, magnitude: float [latents]; the magnitude is the
    pre-activation times `scale` plus `magnitude`, if positive; the gate is open where it plus `gate` is positive."""

    gate: Tensor
    scale: Tensor
    magnitude: Tensor

    def __call__(self, values: Tensor) -> Tensor:
        return (values * self.scale + self.magnitude).relu() * (values + self.gate > 0)


@dataclass(frozen=True)
class TopK:
    """The k largest pre-activations of a token, if positive, and 0 for all others."""

    k: int

    def __call__(self, values: Tensor) -> Tensor:
        top = values.topk(self.k, dim=-1, sorted=False)
        return torch.zeros_like(values).scatter_(-1, top.indices, top.values.relu())


@dataclass(frozen=True)
class GroupMax:
    """The largest pre-activation of each of k groups of neighbouring latents, if positive, and 0 for all others."""

    k: int

    def __call__(self, values: Tensor) -> Tensor:
        groups = values.reshape(*values.shape[:-1], self.k, -1)
        top = groups.max(dim=-1, keepdim=True)
        return torch.zeros_like(groups).scatter_(-1, top.indices, top.values.relu()).flatten(-2)


@dataclass(frozen=True, eq=False)
class Dictionary:
    """A sparse dictionary: called with values [..., width], it returns its latents, float32 [..., latents], >= 0.

    weight [latents, width] and bias [latents] of the encoder; activation: of the latents; decoder [latents, outputs]
    and decoder_bias [outputs]: what each latent writes, and what is written without any; centred: whether the
    decoder's bias is subtracted from the input; skip [outputs, width]: a linear map of the input that is added to the
    reconstruction; transcodes: whether it reconstructs other values than those it reads. All tensors are float32.
    """

    weight: Tensor
    bias: Tensor
    activation: Activation
    decoder: Tensor
    decoder_bias: Tensor
    centred: bool = False
    normalisation: Normalisation = "none"
    skip: Tensor | None = None
    transcodes: bool = False

    @property
    def width(self) -> int:
        """Of the values that are encoded."""
        return self.weight.shape[1]

    @property
    def latents(self) -> int:
        """Number of latents."""
        return self.weight.shape[0]

    def prepare(self, values: Tensor) -> Tensor:
        """What the encoder's weights are applied to: float32 [..., width]."""
        values = values.to(self.weight)
        if self.normalisation != "none":
            shift, size = self._measure(values)
            values = (values - shift) / (size + _EPSILON if self.normalisation == "layer_norm" else size)
        return values - self.decoder_bias if self.centred else values

    def _measure(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """The shift and the size, [..., 1], that normalisation takes out of values [..., width]."""
        if self.normalisation == "layer_norm":
            return values.mean(-1, keepdim=True), values.std(-1, keepdim=True)
        return torch.zeros_like(values[..., :1]), values.norm(dim=-1, keepdim=True) / self.width**0.5

    def __call__(self, values: Tensor) -> Tensor:
        return self.activation(self.prepare(values) @ self.weight.T + self.bias)

    def reconstruct(self, values: Tensor) -> Tensor:
        """What values [..., width] are made of, or lead to: float32 [..., outputs]."""
        written = self.restore(self(values) @ self.decoder + self.decoder_bias, values)
        return written if self.skip is None else written + values.to(self.weight) @ self.skip.T

    def change(self, values: Tensor, latents: Tensor, constants: Tensor) -> Tensor:
        """By how much the reconstruction of values [..., width] changes if some latents are fixed to constants: float32
        [..., outputs]. latents: int [n]; constants: float [n]."""
        written = (constants - self(values)[..., latents]) @ self.decoder[latents]
        return self.restore(written, values) - self.restore(torch.zeros_like(written), values)

    def restore(self, written: Tensor, values: Tensor) -> Tensor:
        """Bring what latents write, [..., outputs], back to the scale of the values [..., width] that were encoded."""
        if self.normalisation == "none" or self.transcodes:
            return written
        shift, size = self._measure(values.to(self.weight))
        return written * size + shift
