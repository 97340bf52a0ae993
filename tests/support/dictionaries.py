"""Random dictionaries for the tiny BERT, and its values read without descry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from descry.models.target import Target

WIDTH, LATENTS, K = 24, 40, 4


def save_dictionary(folder: Path, width: int = WIDTH, outputs: int | None = None, seed: int = 0, **config: Any) -> Path:
    """A folder with a random dictionary in SAELens' format; with `outputs`, a transcoder."""
    generator = torch.Generator().manual_seed(seed)
    folder.mkdir(parents=True)
    shapes = {"W_enc": (width, LATENTS), "W_dec": (LATENTS, outputs or width), "b_enc": (LATENTS,)}
    weights = {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}
    weights["b_dec"] = torch.randn(outputs or width, generator=generator)
    save_file(weights, folder / "sae_weights.safetensors")
    kind = {"architecture": "transcoder" if outputs else "topk", "k": K, "d_in": width, "d_sae": LATENTS}
    (folder / "cfg.json").write_text(json.dumps(kind | config))
    return folder


def save_mirrored_dictionary(folder: Path, width: int = WIDTH) -> Path:
    """A folder with a dictionary in SAELens' format that reconstructs the K largest values of what it reads: it has a
    latent for each value where that is positive, and one where it is negative."""
    folder.mkdir(parents=True)
    both = torch.cat([torch.eye(width), -torch.eye(width)])
    weights = {
        "W_enc": both.T.contiguous(),
        "W_dec": both,
        "b_enc": torch.zeros(2 * width),
        "b_dec": torch.zeros(width),
    }
    save_file(weights, folder / "sae_weights.safetensors")
    kind = {"architecture": "topk", "k": K, "d_in": width, "d_sae": 2 * width}
    (folder / "cfg.json").write_text(json.dumps(kind))
    return folder


def run_by_hand(target: Target, text: str, module: str, *, output: bool) -> torch.Tensor:
    """The inputs or outputs of a module on a sentence's own tokens, by a hook of torch's own."""
    seen = []
    ids, special = target.encode([text])
    tokens = torch.tensor(ids)

    def hook(_: Any, *values: Any) -> None:
        value = values[-1]
        seen.append(value[0] if isinstance(value, tuple) else value)

    found = target.model.get_submodule(module)
    handle = found.register_forward_hook(hook) if output else found.register_forward_pre_hook(hook)
    with torch.inference_mode():
        target.model(input_ids=tokens, attention_mask=torch.ones_like(tokens))
    handle.remove()
    return seen[0][0][torch.tensor(special[0]) == 0]
