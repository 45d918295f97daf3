"""Which engine does a stage's work; `auto` goes by device and by what is installed.

Imports none of them: Unsloth wants to come before TRL, transformers and PEFT.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch

from rlvr import availability, console
from rlvr.engines import refusals
from rlvr.errors import RlvrError


def installed(part: str) -> bool:
    """Whether a part is there by its packages; whether they import is not tried."""
    return not availability.missing(part)


def require(part: str, key: str, instead: str) -> None:
    """Raises RlvrError naming the config key that asks for a part that is not installed."""
    if not installed(part):
        packages = ", ".join(availability.missing(part))
        raise RlvrError(
            f"{key}: needs {packages}, which is not installed; install the GPU set (docs/installing.md), or set "
            f"{instead}"
        )


def training(wanted: str, adapter: dict[str, Any] | None, device: torch.device, obstacle: str | None = None) -> str:
    """`transformers` or `unsloth`, for SFT and GRPO. obstacle: why the experiment can't be left to Unsloth."""
    if adapter and adapter["load_in_4bit"]:
        require("4-bit", "adapter.load_in_4bit", "it to false")
    name, reason = foreseen(wanted, adapter, device.type, obstacle)
    if name == "unsloth":
        require("unsloth", "engines.training", "training: transformers")
    return _said("training", name, reason)


def foreseen(wanted: str, adapter: dict[str, Any] | None, device: str, obstacle: str | None) -> tuple[str, str]:
    """What `training` comes to on that type of device, and why; whether it can run is not asked."""
    if wanted != "auto":
        return wanted, "as configured"
    if device != "cuda":
        return "transformers", f"auto: on a {device.upper()}"
    if not adapter:
        return "transformers", "auto: all weights are trained"
    if not installed("unsloth"):
        return "transformers", "auto: Unsloth is not installed"
    if obstacle:
        return "transformers", f"auto: {obstacle}"
    return "unsloth", "auto: an adapter, on a GPU"


def rollouts(wanted: str, trainer: str, adapter: dict[str, Any] | None, device: torch.device) -> str:
    """`transformers`, `vllm_colocate` or `vllm_server`, for GRPO under the engine `trainer`.

    Raises RlvrError for a combination that `auto` led to and that would damage results.
    """
    held = SimpleNamespace(**adapter) if adapter else None
    if wanted != "auto":
        name, reason = wanted, "as configured"
    elif lack := _lack_for_vllm(device):
        name, reason = "transformers", f"auto: {lack}"
    elif trainer == "transformers" and held:
        name, reason = "transformers", "auto: TRL alone would merge the adapter into the base at every step"
    else:
        name, reason = "vllm_colocate", "auto: on a GPU"
    try:
        refusals.check(trainer, name, held, device.type)
    except ValueError as error:
        raise RlvrError(f"engines.{error}") from None
    if name.startswith("vllm"):
        require("vllm", "engines.rollouts", "rollouts: transformers")
    return _said("rollouts", name, reason)


def generation(wanted: str, device: torch.device) -> str:
    """`transformers` or `vllm`, for evaluation and sampling outside GRPO."""
    if wanted != "auto":
        name, reason = wanted, "as configured"
    elif lack := _lack_for_vllm(device):
        name, reason = "transformers", f"auto: {lack}"
    else:
        name, reason = "vllm", "auto: on a GPU"
    if name == "vllm":
        require("vllm", "engines.generation", "generation: transformers")
    return _said("generation", name, reason)


def _lack_for_vllm(device: torch.device) -> str | None:
    if device.type != "cuda":
        return f"on a {device.type.upper()}"
    return None if installed("vllm") else "vLLM is not installed"


def _said(what: str, name: str, reason: str) -> str:
    console.note(f"{what}: {name}; {reason}")
    return name
