"""TRL's own values for the options to which Unsloth gives others once it has replaced TRL's config classes on a GPU.

Passed explicitly, so that the same config means the same training under both engines. Unsloth may choose how to
compute (the kernel of SFT's loss), not what.
"""

from __future__ import annotations

from typing import Any

COMMON = {
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "weight_decay": 0.0,
    "optim": "adamw_torch_fused",
    "warmup_steps": 0,
    "torch_empty_cache_steps": None,
    "logging_nan_inf_filter": True,
}
TRL = {
    "sft": {**COMMON, "learning_rate": 2e-5, "padding_free": False},
    "grpo": {
        **COMMON,
        "learning_rate": 1e-6,
        "num_generations": 8,
        "loss_type": "dapo",
        "beta": 0.0,
        "mask_truncated_completions": False,
        "vllm_importance_sampling_correction": True,
        "router_aux_loss_coef": None,
    },
}


def as_trl(stage: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options, and TRL's values for those that are left out. stage: `sft` or `grpo`."""
    full = {**TRL[stage], **options}
    if stage == "grpo":
        if full.get("epsilon_high") is None:  # Unsloth would take DAPO's 0.28; to TRL, None is epsilon
            full["epsilon_high"] = full.get("epsilon", 0.2)
        if full["loss_type"] == "dr_grpo" and full.get("scale_rewards", "group") in (True, "group"):
            full["scale_rewards"] = None  # Unsloth's word for `group`, which it would turn off here
    return full
