"""Where models run, and in which arithmetic."""

from __future__ import annotations

import torch

from descry.errors import InputError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device itself calculates in bfloat16; a CPU that does not is several times slower in it."""
    if device.type != "cpu":
        return True
    can = torch.cpu.get_capabilities()
    return any(can.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))


def usable(name: str, key: str = "runtime.device") -> torch.device:
    """The device of that name (`cpu`, `cuda`, `cuda:N`, `mps`), which params.yaml gives under `key`. Errors:
    InputError where this machine has none."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"params.yaml: {key} is {name}, which cannot be used here ({reason}); try cpu") from None
