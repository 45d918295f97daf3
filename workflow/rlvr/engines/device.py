"""Which device a stage computes on."""

from __future__ import annotations

import torch

from rlvr import console, nvidia
from rlvr.errors import RlvrError


def half(device: torch.device) -> str:
    """The 16-bit type that a device computes in: `bfloat16`, or `float16` on a GPU from before 2020."""
    if device.type == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return "float16"
    return "bfloat16"


def choose(wanted: str) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`; says which and why.

    Raises RlvrError for `cuda` without CUDA, and for `auto` where there is an NVIDIA GPU that torch can't use: on the
    CPU, days would go by before somebody looked.
    """
    chosen = decide(wanted)
    describe(chosen)
    return chosen


def decide(wanted: str) -> torch.device:
    """As `choose`, without a look at the GPU: CUDA is not initialised, as Unsloth wants when it is imported."""
    there = torch.cuda.is_available()
    if not there and (wanted == "cuda" or (wanted == "auto" and not nvidia.hidden() and nvidia.gpus())):
        raise RlvrError(f"device: {wanted}, but {_obstacle()}")
    reason = "as configured"
    if wanted == "auto":
        reason = "auto: CUDA is there" if there else "auto: no CUDA device"
        wanted = "cuda" if there else "cpu"
    threads = f" ({torch.get_num_threads()} threads)" if wanted == "cpu" else ""
    console.note(f"device: {wanted}{threads}; {reason}")
    return torch.device(wanted)


def describe(device: torch.device) -> None:
    """Says which GPU it is; initialises CUDA."""
    if device.type != "cuda":
        return
    console.note(f"device: {torch.cuda.get_device_name()}")
    if len(listed := nvidia.gpus()) > 1:
        console.note(f"device: one of {len(listed)} GPUs, {nvidia.VISIBLE}={nvidia.visible()}; a process uses one")


def _obstacle() -> str:
    """Why torch sees no CUDA device, and what to do, in one line."""
    gpus = nvidia.gpus()
    if not gpus:
        return f"torch {torch.__version__} sees no CUDA device; allowed here: auto or cpu"
    if torch.version.cuda is None:
        return (
            f"torch {torch.__version__} is built for the CPU and can't use {gpus[0]}; install the GPU set "
            "(docs/installing.md), or set device: cpu"
        )
    try:
        torch.cuda.init()
        why = "it sees no device"
    except (RuntimeError, AssertionError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
    cure = f"look at the driver ({nvidia.driver()})"
    if nvidia.driver_too_old(torch.version.cuda):
        needed = nvidia.oldest_driver(torch.version.cuda)
        cure = f"the driver is {nvidia.driver()}, CUDA {torch.version.cuda} needs {needed}: install that"
    elif nvidia.visible() is not None:
        cure = f"{nvidia.VISIBLE} is {nvidia.visible()!r}, of {len(gpus)}: set it to one that is there"
    return f"torch {torch.__version__} can't use {gpus[0]} ({why}); {cure}, or set device: cpu (--config device=cpu)"
