"""Manifests: what an artifact consists of and what made it.

`manifest.json` lies beside the artifact it describes and is written last: an artifact without one is
unfinished. Whoever reads an artifact verifies it first.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import resource
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rlvr.errors import RlvrError

NAME = "manifest.json"
DECISIVE = ("torch", "transformers", "trl", "peft", "accelerate")
PACKAGES = (*DECISIVE, "datasets", "numpy", "pandas", "snakemake")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(path: Path) -> list[Path]:
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    ours = (".snakemake_timestamp", NAME)
    return [file for file in found if file.is_file() and file.name not in ours]


def write_manifest(manifest: Path, artifacts: list[Path], facts: dict[str, Any]) -> None:
    """Writes the manifest of `artifacts`, which lie in its folder, whole or not at all."""
    files = {
        file.relative_to(manifest.parent).as_posix(): sha256(file)
        for artifact in artifacts
        for file in _files(artifact)
    }
    part = manifest.with_name(f".{NAME}.part")
    part.write_text(json.dumps({**facts, "files": files}, indent=1, sort_keys=True) + "\n")
    part.replace(manifest)


def find_manifest(artifact: Path) -> Path | None:
    """The manifest beside a file or folder that lists it, None where there is none."""
    for manifest in sorted(artifact.parent.glob(f"*{NAME}")):
        listed = json.loads(manifest.read_text())["files"]
        if any(name == artifact.name or name.startswith(f"{artifact.name}/") for name in listed):
            return manifest
    return None


def verify(artifact: Path) -> str | None:
    """Checks a file or folder against its manifest; returns the manifest's sha256, None without one.

    Raises RlvrError naming the first file that is missing or differs.
    """
    if not artifact.exists():
        raise RlvrError(f"{artifact}: is not there")
    manifest = find_manifest(artifact)
    if manifest is not None:
        verify_manifest(manifest, artifact.name)
    return identity(artifact)


def identity(artifact: Path) -> str | None:
    """The sha256 of the manifest that lists a file or folder, None without one; reads no artifact."""
    manifest = find_manifest(artifact)
    return sha256(manifest) if manifest else None


def verify_manifest(manifest: Path, only: str = "") -> dict[str, Any]:
    """Checks the files of a manifest, or of one of its files or folders; returns its content.

    Raises RlvrError naming the first file that is missing or differs.
    """
    content = json.loads(manifest.read_text())
    for name, digest in content["files"].items():
        if only and name != only and not name.startswith(f"{only}/"):
            continue
        file = manifest.parent / name
        if file.is_file() and sha256(file) == digest:
            continue
        problem = "is damaged: its sha256 is not that of its manifest" if file.is_file() else "is missing"
        cached = f" and {file.resolve()} (its copy in the cache)" if file.is_symlink() else ""
        whole = manifest.parent / name.partition("/")[0]
        raise RlvrError(f"{file} {problem}; delete {whole}{cached} and run again")
    return content


def peak_memory() -> int:
    """Largest resident size of this process so far, bytes.

    From the kernel's count for this program; `getrusage` would start from the parent's on Linux.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        if found:
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of the installed ones of these packages."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def facts(stage: str, config: dict[str, Any]) -> dict[str, Any]:
    """What is known of this process: versions, machine, peak memory."""
    return {
        "stage": stage,
        "config": config,
        "versions": {"python": platform.python_version(), **versions(PACKAGES)},
        "machine": {"platform": platform.platform(), "cpus": os.cpu_count()},
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "peak_memory_bytes": peak_memory(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
