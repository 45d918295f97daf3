"""TRL's own values for the options to which Unsloth gives others once it has replaced TRL's config classes on a GPU.

Passed explicitly, so that the same config means the same training under both engines. Unsloth may choose how to
compute (the kernel of SFT's loss), not what.
"""

from __future__ import annotations

from typing import Any

from rlvr import trainer_options

COMMON = (
    *("per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate", "weight_decay", "optim"),
    *("warmup_steps", "torch_empty_cache_steps", "logging_nan_inf_filter"),
)
NAMES = {
    "sft": (*COMMON, "padding_free"),
    "grpo": (
        *(*COMMON, "num_generations", "loss_type", "beta", "mask_truncated_completions"),
        *("vllm_importance_sampling_correction", "router_aux_loss_coef"),
    ),
}
"""Options whose default Unsloth changes."""

TRL = {stage: {name: trainer_options.default(stage, name) for name in names} for stage, names in NAMES.items()}


def as_trl(stage: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options, and TRL's values for those that are left out. stage: `sft` or `grpo`."""
    full = {**TRL[stage], **options}
    if stage == "grpo":
        if full.get("epsilon_high") is None:  # Unsloth would take DAPO's 0.28; to TRL, None is epsilon
            full["epsilon_high"] = trainer_options.value("grpo", full, "epsilon")
        if full["loss_type"] == "dr_grpo" and trainer_options.value("grpo", full, "scale_rewards") in (True, "group"):
            full["scale_rewards"] = None  # Unsloth's word for `group`, which it would turn off here
    return full
