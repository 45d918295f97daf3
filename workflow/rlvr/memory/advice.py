"""Which settings to change when a stage does not fit: the most help for the least harm first."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from rlvr.trainer_options import default, value

TIERS = (8, 16, 24, 80)


def changes(settings: dict[str, Any], stage: str, device: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """What to write in the config for a stage of the estimate, and the settings that it would make.

    The first ones leave the result as it is, the last ones do not. settings: of `shapes.of`.
    """
    kind, _, variant = stage.partition("/")
    if kind in ("evaluation", "rollouts"):
        yield from _generation(settings, kind)
        return
    part = "sft" if kind == "sft" else "grpo"
    path = f"{part}.trainer"
    trainer = settings["sft"] if kind == "sft" else settings["grpo"][variant]

    def changed(**values: Any) -> dict[str, Any]:
        new = copy.deepcopy(settings)
        (new["sft"] if kind == "sft" else new["grpo"][variant]).update(values)
        return new

    if not value(part, trainer, "gradient_checkpointing"):
        yield f"{path}.gradient_checkpointing: true", changed(gradient_checkpointing=True)
    if kind == "sft" and (trainer.get("loss_type") or "chunked_nll") != "chunked_nll":
        yield f"{path}.loss_type: chunked_nll", changed(loss_type="chunked_nll")
    batch = value(part, trainer, "per_device_train_batch_size")
    if batch > 1:
        accumulated = 2 * value(part, trainer, "gradient_accumulation_steps")
        yield (
            f"{path}.per_device_train_batch_size: {batch // 2} with gradient_accumulation_steps: {accumulated}",
            changed(per_device_train_batch_size=batch // 2, gradient_accumulation_steps=accumulated),
        )
    share = trainer.get("vllm_gpu_memory_utilization", 0)
    if trainer.get("vllm_mode") == "colocate" and share >= 0.2:
        yield f"{path}.vllm_gpu_memory_utilization: {share / 2:g}", changed(vllm_gpu_memory_utilization=share / 2)
    if device == "cuda" and "8bit" not in value(part, trainer, "optim"):
        yield f"{path}.optim: adamw_8bit", changed(optim="adamw_8bit")
    if settings["adapter"] is None:
        yield "adapter: {r: 32, alpha: 32}", _adapter(settings, load_in_4bit=False)
    if device == "cuda" and not (settings["adapter"] or {}).get("load_in_4bit"):
        yield "adapter.load_in_4bit: true", _adapter(settings, load_in_4bit=True)
    yield from _shorter(kind, path, trainer, changed)


def _adapter(settings: dict[str, Any], load_in_4bit: bool) -> dict[str, Any]:
    fresh = {"r": 32, "alpha": 32, "dropout": 0.0, "target_modules": "all-linear"}
    return {**settings, "adapter": {**(settings["adapter"] or fresh), "load_in_4bit": load_in_4bit}}


def _shorter(
    kind: str, path: str, trainer: dict[str, Any], changed: Callable[..., dict[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    if kind == "sft":
        longest = (value("sft", trainer, "max_length") or default("sft", "max_length")) // 2
        yield f"{path}.max_length: {longest}", changed(max_length=longest)
        return
    completion = value("grpo", trainer, "max_completion_length") // 2
    yield f"{path}.max_completion_length: {completion}", changed(max_completion_length=completion)


def _generation(settings: dict[str, Any], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    new = copy.deepcopy(settings)
    part = new[kind] if kind == "evaluation" else new[kind][0]
    part["batch_size"] = max(1, part["batch_size"] // 4)
    where = "evaluation" if kind == "evaluation" else "filters: pass_rate"
    yield f"{where}.batch_size: {part['batch_size']}", new


def tier(capacity_gib: float) -> str:
    """The overlay for a device of that size, or the smallest."""
    fitting = [size for size in TIERS if size <= capacity_gib * 1.05]
    return f"config/memory/{fitting[-1] if fitting else TIERS[0]}gb.yaml"
