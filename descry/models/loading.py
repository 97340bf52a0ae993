"""How models are loaded, whole or not at all; where they run, and in which arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from logging import CRITICAL
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from descry.errors import InputError

SAFE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
"""How anything of a model's folder is read: nothing is fetched, no code of the folder is run."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device itself calculates in bfloat16; a CPU that does not is several times slower in it."""
    if device.type != "cpu":
        return True
    can = torch.cpu.get_capabilities()
    return any(can.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def find_device(name: str, key: str = "runtime.device") -> torch.device:
    """The device of that name (`cpu`, `cuda`, `cuda:N`, `mps`), which params.yaml gives under `key`. Errors:
    InputError where this machine has none."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"params.yaml: {key} is {name}, which cannot be used here ({reason}); try cpu") from None


@contextmanager
def explain_loading(what: str) -> Iterator[None]:
    """Turn whatever goes wrong while a model's folder is read into one line that begins with `what`; transformers
    itself says nothing meanwhile."""
    said = logging.get_verbosity()
    logging.set_verbosity(CRITICAL)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    except InputError as error:
        raise InputError(f"{what}: {error}") from None
    except Exception as error:  # whatever a configuration, a tokenizer or weights that are broken may raise
        reason = (str(error).strip().splitlines() or [""])[0]
        raise InputError(f"{what} ({type(error).__name__}: {reason}); mend its folder, or fetch it again") from error
    finally:
        logging.set_verbosity(said)


def load_weights(kind: Any, folder: Path, dtype: str) -> Any:
    """A model with all its weights, in evaluation mode on the CPU. kind: a class of transformers. Errors: InputError
    where weights are missing (but for a pooler, which nothing here reads), of other shapes than config.json says, or
    not finite."""
    model, found = kind.from_pretrained(
        folder,
        **SAFE,
        use_safetensors=True,
        dtype=DTYPES[dtype],
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    missing = sorted(name for name in found["missing_keys"] if "pooler" not in name)
    if missing:
        raise InputError(
            f"{len(missing)} of the weights that config.json asks for are not in the safetensors files "
            f"({missing[0]} ...); they belong to another model: fetch both anew"
        )
    if found["mismatched_keys"]:
        name, given, wanted = sorted(found["mismatched_keys"])[0]
        raise InputError(
            f"the weights {name} are {list(given)}, but config.json asks for {list(wanted)}; they belong to "
            "another model: fetch both anew"
        )
    for name, weights in model.named_parameters():
        if not bool(torch.isfinite(weights).all()):
            raise InputError(f"the weights {name} are not finite numbers; fetch the model anew")
    return model.eval()


def check_tokenizer(tokenizer: Any, model: Any) -> None:
    """Errors: InputError where a tokenizer knows no words, or tokens that the model does not have."""
    known = tokenizer.get_vocab().values()
    if len(known) <= len(set(tokenizer.all_special_tokens)):
        raise InputError("its tokenizer knows no words (no tokenizer.json or vocabulary?); fetch it anew")
    tokens = getattr(model.get_input_embeddings(), "num_embeddings", None)
    if tokens is not None and max(known) >= tokens:
        raise InputError(
            f"its tokenizer counts tokens up to {max(known)}, the model has {tokens}; they belong to "
            "different models: fetch both anew"
        )
