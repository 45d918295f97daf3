"""What the NVIDIA driver says of this machine; neither torch nor CUDA is touched."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

LAUNCHED = ("WORLD_SIZE", "LOCAL_RANK")
"""Set by torchrun and accelerate in each of several processes."""
DRIVERS = {13: 580, 12: 525}
"""Oldest driver for each major release of CUDA; NVIDIA's table of CUDA compatibility."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
DEV = Path("/dev")
DEFAULT_CUDA = Path("/usr/local/cuda")


def gpus() -> list[str]:
    """The GPUs that the driver lists, or the slices of those that are cut into slices.

    Where no tool can ask it, a device file that this process may open stands for one.
    """
    listed = [line.strip() for line in _smi("-L")]
    slices = [line for line in listed if line.startswith("MIG ")]
    found = slices or [line for line in listed if line.startswith("GPU ")]
    return found or [f"GPU {file}" for file in sorted(DEV.glob("nvidia[0-9]*")) if os.access(file, os.R_OK | os.W_OK)]


def driver() -> str:
    """Its version, or `unknown`."""
    return next(iter(_smi("--query-gpu=driver_version", "--format=csv,noheader")), "unknown")


def _smi(*arguments: str) -> list[str]:
    try:
        done = subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def visible() -> str | None:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES says; None: all."""
    return os.environ.get(VISIBLE)


def hidden() -> bool:
    """Whether the user keeps all GPUs from this process."""
    return visible() in ("", "-1", "NoDevFiles")  # the last by older releases of Slurm


def driver_too_old(cuda: str) -> bool:
    """Whether the driver is older than a CUDA release such as 13.0 needs; False where that is not known."""
    oldest, major = DRIVERS.get(int(cuda.partition(".")[0])), driver().partition(".")[0]
    return oldest is not None and major.isdigit() and int(major) < oldest


def oldest_driver(cuda: str) -> str:
    """The oldest driver for a CUDA release such as 13.0, in words."""
    number = DRIVERS.get(int(cuda.partition(".")[0]))
    return f"{number} or newer" if number else "one made for it"


def nvcc() -> str | None:
    """CUDA's compiler, where FlashInfer looks for it: CUDA_HOME, CUDA_PATH, the PATH, /usr/local/cuda; else None."""
    for name in ("CUDA_HOME", "CUDA_PATH"):
        if home := os.environ.get(name):
            found = Path(home) / "bin" / "nvcc"
            return str(found) if found.is_file() else None
    default = DEFAULT_CUDA / "bin" / "nvcc"
    return shutil.which("nvcc") or (str(default) if default.is_file() else None)


def use_one() -> None:
    """Leaves this process one GPU, the first of those it may see, unless a launcher started it as one of several.

    To be called before anything uses CUDA. With several, transformers' Trainer would wrap the model in DataParallel
    and multiply the batch.
    """
    if any(name in os.environ for name in LAUNCHED) or hidden() or not _there():
        return
    os.environ[VISIBLE] = (visible() or "0").split(",")[0].strip()


def _there() -> bool:
    """Whether this machine has device files of a GPU, under WSL too."""
    return any(DEV.glob("nvidia*")) or (DEV / "dxg").exists()
