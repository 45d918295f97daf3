"""Checks options of `trainer:` that have to go together, once those of a variant are laid over the common ones."""

from __future__ import annotations

import json
from typing import Any

from rlvr import trainer_values
from rlvr.trainer_options import generated_at_once, value

_WORKERS = "dataloader_num_workers above 0"


def check_together(stage: str, options: dict[str, Any], where: str) -> None:
    """Raises ValueError when options contradict one another, of which TRL takes one in silence or fails in training."""
    if options.get("bf16") and options.get("fp16"):
        raise ValueError(f"{where}.fp16: true goes without bf16: true")
    if not value(stage, options, "dataloader_num_workers"):
        for name in ("dataloader_prefetch_factor", "dataloader_persistent_workers"):
            if options.get(name):
                raise ValueError(f"{where}.{name}: {json.dumps(options[name])} goes with {_WORKERS} only")
    if stage == "grpo" and options.get("sync_ref_model") and not options.get("beta"):
        raise ValueError(f"{where}.sync_ref_model: true goes with beta above 0 only, as nothing is held to a reference")


def check_loss(options: dict[str, Any], where: str) -> None:
    """Raises ValueError when the options of GRPO's loss contradict one another, which TRL would not mention."""
    names = ("epsilon", "epsilon_high", "entropy_coef", "entropy_coef_min", "entropy_coef_max")
    low, high, entropy, least, most = (value("grpo", options, name) for name in names)
    if value("grpo", options, "loss_type") == "cispo":
        if high is None or high < 1:
            raise ValueError(
                f"{where}.epsilon_high: {json.dumps(high)} is not possible with loss_type: cispo, where it is the "
                "largest weight of a token; allowed: 1 or more (5.0 in ScaleRL, arXiv 2510.13786)"
            )
    elif high is not None and high < low:
        raise ValueError(f"{where}.epsilon_high: {high} is not possible; allowed: epsilon ({low}) or more")
    if least > most:
        raise ValueError(f"{where}.entropy_coef_min: {least} is not possible; allowed: up to entropy_coef_max ({most})")
    if options.get("use_adaptive_entropy") and not least <= entropy <= most:
        raise ValueError(
            f"{where}.entropy_coef: {entropy} is not possible; allowed with "
            f"use_adaptive_entropy: entropy_coef_min to entropy_coef_max ({least} to {most})"
        )


def check_groups(options: dict[str, Any], where: str) -> None:
    """Raises ValueError when a batch does not hold whole groups of completions, as TRL demands."""
    if options.get("generation_batch_size") and options.get("steps_per_generation"):
        raise ValueError(f"{where}.generation_batch_size: goes without steps_per_generation only")
    group, size = value("grpo", options, "num_generations"), value("grpo", options, "per_device_train_batch_size")
    batch = generated_at_once(options)
    if group < 2 or batch % group or batch % size:
        raise ValueError(
            f"{where}.num_generations: {group} is not possible with {batch} completions generated at once; allowed: "
            "2 or more that divide per_device_train_batch_size x gradient_accumulation_steps"
        )


def check_by_group(options: dict[str, Any], where: str) -> None:
    """Raises ValueError when advantages depend on groups of the batch that `dynamic` would replace."""
    for name, over_the_batch in (("scale_rewards", "batch"), ("multi_objective_aggregation", "normalize_then_sum")):
        if options.get(name) == over_the_batch:
            choices = trainer_values.CHOICES["grpo"][name]
            allowed = ", ".join(choice for choice in choices if choice != over_the_batch)
            raise ValueError(f"{where}: goes without trainer.{name}: {over_the_batch} only; allowed there: {allowed}")
