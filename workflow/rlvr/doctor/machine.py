"""What the machine has: processor, memory, disk, tools, GPUs as the driver lists them, the way to the hub."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from rlvr.memory.machine import GIB, group_limit

HUB_SECONDS = 4
SHARED_NEEDED, DISK_WARN, DISK_LACK = 1 * GIB, 20 * GIB, 1 * GIB


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").is_file() else []
    name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()  # not on macOS
    return f"{name}, {usable} cores usable"


def memory() -> dict[str, int]:
    """Bytes of RAM in all and to be had, and `limit`, that of the control group, where it is lower."""
    now = psutil.virtual_memory()
    limit = group_limit()
    return {"total": now.total, "available": now.available} | ({"limit": limit} if limit and limit < now.total else {})


def free(path: Path) -> int:
    """Bytes free where a path lies or would lie."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def shared_memory() -> int | None:
    return shutil.disk_usage("/dev/shm").total if Path("/dev/shm").is_dir() else None


def hub() -> dict[str, Any]:
    """How the hub's client is set; `problem` says why the hub is out of reach. The token stays where it is."""
    import httpx
    from huggingface_hub import CacheNotFound, constants, get_token, scan_cache_dir

    cache = Path(constants.HF_HUB_CACHE)
    try:
        size = scan_cache_dir(cache).size_on_disk
    except (CacheNotFound, ValueError):
        size = 0
    facts = {
        "host": urlsplit(constants.ENDPOINT).hostname,
        "offline": constants.HF_HUB_OFFLINE,
        "token": get_token() is not None,
        "cache": str(cache),
        "cached": size,
    }
    if constants.HF_HUB_OFFLINE:
        return facts | {"problem": "HF_HUB_OFFLINE is set"}
    try:
        httpx.head(constants.ENDPOINT, timeout=HUB_SECONDS)
    except httpx.HTTPError as error:
        return facts | {"problem": f"it can't be reached ({type(error).__name__})"}
    return facts


def temporary() -> Path:
    return Path(tempfile.gettempdir())
