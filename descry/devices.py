"""Where models run."""

from __future__ import annotations

import torch

from descry.errors import InputError


def usable(name: str) -> torch.device:
    """The device of that name (`cpu`, `cuda`, `cuda:N`, `mps`). Errors: InputError where this machine has none."""
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(
            f"params.yaml: runtime.device is {name}, which cannot be used here ({reason}); try cpu"
        ) from None
