"""Load models with all their weights or not at all; choose their device and dtype."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from logging import CRITICAL
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.utils import logging

from descry.errors import InputError

SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""Options for everything read from a model folder: nothing is downloaded, no code of the folder is run."""
SAME = {torch.float32: 1e-3, torch.bfloat16: 0.05, torch.float16: 0.05}
"""By how much, as a share of their size, values of the same sentence in two batches may differ in a dtype."""
_BUFFERS = ("position_ids", "token_type_ids", "masked_bias", "inv_freq", "num_batches_tracked")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def agree(values: Tensor, others: Tensor, dtype: torch.dtype) -> bool:
    """Whether two arrays are the same up to the rounding of a pass in `dtype` (root mean squares); if any value is not
    finite, they count as the same."""
    gap = (values - others).square().mean().sqrt()
    return bool(gap <= SAME[dtype] * others.square().mean().sqrt()) or not bool(gap.isfinite())


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device has native bfloat16 arithmetic; a CPU without it is several times slower in bfloat16."""
    if device.type != "cpu":
        return True
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def find_device(name: str, key: str = "runtime.device") -> torch.device:
    """The device called `name` (`cpu`, `cuda`, `cuda:N`, `mps`), which params.yaml sets under `key`. Errors: InputError
    if this machine has no such device."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"params.yaml: {key} is {name}, which cannot be used here ({reason}); try cpu") from None


@contextmanager
def explain_loading(what: str) -> Iterator[None]:
    """Turn whatever goes wrong while a model folder is read into an InputError that begins with `what`; the logging of
    transformers is off meanwhile."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(CRITICAL)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    except InputError as error:
        raise InputError(f"{what}: {error}") from None
    except Exception as error:  # a broken configuration, tokenizer or weights file may raise anything
        reason = (str(error).strip().splitlines() or [""])[0]
        raise InputError(f"{what} ({type(error).__name__}: {reason}); repair its folder or fetch it again") from error
    finally:
        logging.set_verbosity(verbosity)


def load_weights(kind: Any, folder: Path, dtype: str) -> Any:
    """Load a model with all its weights, in evaluation mode on the CPU. kind: a class of transformers.

    Errors: InputError if weights are missing (except a pooler's, which is never read), are left over, are not finite,
    or have other shapes than config.json says.
    """
    model, info = kind.from_pretrained(
        folder,
        **SAFE,
        use_safetensors=True,
        dtype=DTYPES[dtype],
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    missing = sorted(name for name in info["missing_keys"] if "pooler" not in name)
    if missing:
        raise InputError(
            f"{len(missing)} of the weights that config.json asks for are not in the safetensors files "
            f"({missing[0]} ...); the two belong to different models: fetch both again"
        )
    if info["mismatched_keys"]:
        name, given, wanted = sorted(info["mismatched_keys"])[0]
        raise InputError(
            f"the weights {name} have shape {list(given)}, but config.json asks for {list(wanted)}; the two belong to "
            "different models: fetch both again"
        )
    unread = sorted(name for name in info["unexpected_keys"] if _belongs(name, model))
    if unread:
        raise InputError(
            f"{len(unread)} of the weights in the safetensors files have no place in the model of config.json "
            f"({unread[0]} ...): further layers, an adapter, or scales of quantised weights; correct config.json, or "
            "fetch an unquantised, merged copy"
        )
    for name, weights in model.named_parameters():
        if not bool(torch.isfinite(weights).all()):
            raise InputError(f"the weights {name} are not finite numbers; fetch the model again")
    return model.eval()


def _belongs(name: str, model: Any) -> bool:
    """Whether weights of this name would lie inside a model's body. Heads, poolers and stored buffers (positions, masks
    of attention) do not."""
    base = model.base_model
    parts = name.removeprefix(f"{model.base_model_prefix}.").split(".")
    if parts[0] == "pooler" or parts[-1] in _BUFFERS or not isinstance(getattr(base, parts[0], None), nn.Module):
        return False
    owner = dict(base.named_modules()).get(".".join(parts[:-1]))
    mask = parts[-1] == "bias" and owner is not None and not list(owner.parameters(recurse=False))
    return not mask


def check_tokenizer(tokenizer: Any, model: Any) -> None:
    """Check that a tokenizer fits a model. Errors: InputError if it has no words, or tokens that the model lacks."""
    ids = tokenizer.get_vocab().values()
    if len(ids) <= len(set(tokenizer.all_special_tokens)):
        raise InputError("its tokenizer knows no words (no tokenizer.json or vocabulary?); fetch it again")
    tokens = getattr(model.get_input_embeddings(), "num_embeddings", None)
    if tokens is not None and max(ids) >= tokens:
        raise InputError(
            f"its tokenizer has token ids up to {max(ids)}, but the model has {tokens} embeddings; the two belong to "
            "different models: fetch both again"
        )
