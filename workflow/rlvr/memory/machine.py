"""How much memory a device has."""

from __future__ import annotations

import re
from pathlib import Path

from rlvr.errors import RlvrError

GIB = 2**30
CGROUPS = Path("/sys/fs/cgroup")


def capacity(device: str) -> int:
    """Bytes that a stage on `cpu` or `cuda` may take: the GPU's, or the RAM that this machine or its cgroup allows."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_properties(0).total_memory
    import psutil

    total = psutil.virtual_memory().total
    return min(total, group_limit() or total)


def gpu_name() -> str:
    """As its driver calls it."""
    import torch

    return torch.cuda.get_device_name(0)


def group_limit() -> int | None:
    """The lowest memory limit of this process's control group and of those above it, either version; bytes."""
    own = (
        Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
        if Path("/proc/self/cgroup").is_file()
        else []
    )
    found = []
    for line in own:
        _, controllers, path = line.split(":", 2)
        root, name = (CGROUPS, "memory.max") if not controllers else (CGROUPS / "memory", "memory.limit_in_bytes")
        if controllers and "memory" not in controllers.split(","):
            continue
        folder = root / path.lstrip("/")
        for each in (folder, *folder.parents):
            if each.is_relative_to(root) and (each / name).is_file():
                found.append((each / name).read_text(encoding="utf-8").strip())
    return min((int(text) for text in found if text.isdigit()), default=None)


def parse(text: str) -> int:
    """Bytes of a size such as 16GB, 16GiB or 512MB; cards and tiers count in GiB, so that GB is taken as GiB."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(G|M)i?B?", text.strip(), re.IGNORECASE)
    if not found or not float(found[1]):
        raise RlvrError(f"--memory: {text!r} is not possible; allowed: a size such as 16GB or 512MB")
    return int(float(found[1]) * {"g": GIB, "m": 2**20}[found[2].lower()])
