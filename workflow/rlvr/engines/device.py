"""Which device a stage computes on."""

from __future__ import annotations

import torch

from rlvr import console
from rlvr.errors import RlvrError


def half(device: torch.device) -> str:
    """The 16-bit type that a device computes in: `bfloat16`, or `float16` on a GPU from before 2020."""
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "float16"
    return "bfloat16"


def choose(wanted: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`; says which and why. Raises RlvrError without CUDA."""
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise RlvrError(f"device: cuda, but torch {torch.__version__} sees no CUDA device; allowed here: auto or cpu")
    if wanted == "auto":
        reason = "auto: CUDA is there" if there else "auto: no CUDA device"
        wanted = "cuda" if there else "cpu"
    else:
        reason = "as configured"
    name = torch.cuda.get_device_name() if wanted == "cuda" else f"{torch.get_num_threads()} threads"
    console.note(f"device: {wanted} ({name}); {reason}")
    return torch.device(wanted)
