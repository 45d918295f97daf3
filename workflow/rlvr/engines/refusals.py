"""Combinations of engines that can't work, or would damage results."""

from __future__ import annotations

from typing import Any


def unsloth_obstacle(
    variants: dict[str, dict[str, Any]], warm_start: bool, sft: dict[str, dict[str, Any]] | None = None
) -> str | None:
    """Why an experiment would be another one under Unsloth; None where it would not.

    variants: of each GRPO variant `trainer`, its options, and `dynamic`, whether prompts are replaced. sft: options of
    each warm-start.
    """
    for name, variant in variants.items():
        options = variant["trainer"]
        if variant["dynamic"]:
            return f"grpo.dynamic (variant {name!r}) is not possible with Unsloth's trainer"
        if warm_start and options.get("beta"):
            return f"beta {options['beta']:g} (variant {name!r}) would pull to the base, not to the SFT policy"
        if options.get("use_adaptive_entropy"):
            return f"the adaptive entropy bonus (variant {name!r}) does nothing in Unsloth's loss on a GPU"
    trainers = [(f"variant {name!r}", variant["trainer"]) for name, variant in variants.items()]
    for where, options in [*trainers, *((f"sft {name!r}", options) for name, options in (sft or {}).items())]:
        if options.get("bf16") is False and not options.get("fp16"):
            return f"bf16: false ({where}) would be switched on again by Unsloth on a GPU"
    return None


def check(training: str, rollouts: str, adapter: Any, device: str) -> None:
    """Raises ValueError naming the key. adapter: its section, or None; device: `auto`, `cpu` or `cuda`."""
    vllm = rollouts.startswith("vllm")
    if training == "unsloth" and adapter is None:
        raise ValueError("training: unsloth goes with an adapter only; set adapter, or training: transformers")
    if training == "unsloth" and rollouts == "vllm_server":
        raise ValueError("rollouts: vllm_server goes without unsloth; allowed there: vllm_colocate or transformers")
    if vllm and device == "cpu":
        raise ValueError(
            f"rollouts: {rollouts} needs a GPU, TRL can't hand new weights to vLLM on a CPU; allowed: transformers"
        )
    if vllm and training == "transformers" and adapter is not None and adapter.load_in_4bit:
        raise ValueError(
            f"rollouts: {rollouts} with training: transformers and adapter.load_in_4bit would round the 4-bit base "
            "again at every step, and its weights would drift; allowed: training: unsloth, load_in_4bit: false, or "
            "rollouts: transformers"
        )
