"""What the NVIDIA driver says of this machine; neither torch nor CUDA is touched."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

LAUNCHED = ("WORLD_SIZE", "LOCAL_RANK")
"""Set by torchrun and accelerate in each of several processes."""
DRIVERS = {13: 580, 12: 525}
"""Oldest driver for each major release of CUDA; NVIDIA's table of CUDA compatibility."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
DEV = Path("/dev")
DEFAULT_CUDA = Path("/usr/local/cuda")


@dataclass(frozen=True)
class Device:
    """A GPU, or a slice of one. name: what CUDA_VISIBLE_DEVICES calls it; uuid: of the driver, else its device file."""

    name: str
    uuid: str
    model: str


def gpus() -> list[str]:
    """The GPUs that the driver lists, or the slices of those that are cut into slices.

    Where no tool can ask it, a device file that this process may open stands for one.
    """
    listed = [line.strip() for line in _smi("-L")]
    slices = [line for line in listed if line.startswith("MIG ")]
    found = slices or [line for line in listed if line.startswith("GPU ")]
    return found or [f"GPU {file}" for file in _files()]


def _files() -> list[Path]:
    """Device files of GPUs that this process may open."""
    found = [file for file in DEV.glob("nvidia[0-9]*") if os.access(file, os.R_OK | os.W_OK)]
    return sorted(found, key=lambda file: (len(file.name), file.name))


def driver() -> str:
    """Its version, or `unknown`."""
    return next(iter(_smi("--query-gpu=driver_version", "--format=csv,noheader")), "unknown")


def _smi(*arguments: str) -> list[str]:
    try:
        done = subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, timeout=10, encoding="utf-8")
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


def allowed() -> list[Device]:
    """What CUDA_VISIBLE_DEVICES lets this process use, in its order; without it all there are.

    A name may be an index, a UUID or the start of one. A GPU that is cut into slices stands for its first one, as for
    CUDA. A name that is not there ends the list, as for CUDA; where it comes first it stands for itself.
    """
    if hidden():
        return []
    there = _devices()
    names = [str(i) for i in range(len(there))] if visible() is None else list(map(str.strip, visible().split(",")))
    found = [_named(name, there) for name in names]
    known = list(takewhile(lambda device: device is not None, found))
    return known or ([Device(names[0], names[0], "a GPU")] if _there() and names else [])


def _named(name: str, there: list[list[Device]]) -> Device | None:
    """The device of that name. there: of `_devices`."""
    if name.isascii() and name.isdigit():
        if int(name) >= len(there):
            return None
        if len({gpu.model for gpu, *_ in there}) > 1 and os.environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
            return Device(name, f"index-{int(name)}", f"GPU {int(name)}")  # CUDA counts the fastest first
        return replace(there[int(name)][:2][-1], name=name)
    if not name.startswith(("GPU-", "MIG-")):
        return None
    gpus = [devices[:2][-1] for devices in there if devices[0].uuid.startswith(name)]
    slices = [device for _, *devices in there for device in devices if device.uuid.startswith(name)]
    matching = gpus or slices
    return replace(matching[0], name=name) if len(matching) == 1 else None


def _devices() -> list[list[Device]]:
    """The GPUs in the order of the driver, each with its slices after it; without a driver to ask, the device files."""
    found: list[list[Device]] = []
    for line in map(str.strip, _smi("-L")):
        if gpu := re.fullmatch(r"GPU \d+: (.*) \(UUID: ([^()]+)\)", line):
            found.append([Device("", gpu[2], gpu[1])])
        elif found and (part := re.fullmatch(r"MIG (\S+) .*\(UUID: ([^()]+)\)", line)):
            found[-1].append(Device("", part[2], f"{found[-1][0].model} {part[1]}"))
    return found or [[Device("", file.name, f"GPU {file}")] for file in _files()]


def launched() -> bool:
    """Whether a launcher started this process as one of several."""
    return any(name in os.environ for name in LAUNCHED)


def use_one() -> None:
    """Leaves this process one GPU, the first of those it may see, unless a launcher started it as one of several.

    To be called before anything uses CUDA. With several, transformers' Trainer would wrap the model in DataParallel
    and multiply the batch.
    """
    if launched() or hidden() or not _there():
        return
    os.environ[VISIBLE] = (visible() or "0").split(",")[0].strip()


def _there() -> bool:
    """Whether this machine has device files of a GPU, under WSL too."""
    return any(DEV.glob("nvidia*")) or (DEV / "dxg").exists()
