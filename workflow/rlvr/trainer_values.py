"""What the options of TRL's config classes may say here: words, ranges, and what this pipeline can't mean.

TRL takes most values as they come and fails hours later, or trains something else in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """Values of a number: in words, and whether one is among them."""

    allowed: str
    holds: Callable[[float], bool]


def _whole(value: float) -> bool:
    return value == int(value)


_ANY_SHARE = Range("0 to 1", lambda value: 0 <= value <= 1)
_BELOW_1 = Range("0 or more, below 1", lambda value: 0 <= value < 1)
_COUNT = Range("1 or more", lambda value: value >= 1)
_NOT_NEGATIVE = Range("0 or more", lambda value: value >= 0)
_POSITIVE = Range("above 0", lambda value: value > 0)
_SHARE = Range("above 0, up to 1", lambda value: 0 < value <= 1)
_STEPS = Range(
    "1 or more, or a share of all steps, above 0 and below 1",
    lambda value: 0 < value < 1 or (value >= 1 and _whole(value)),
)

RANGES = {
    "adam_beta1": _BELOW_1,
    "adam_beta2": _BELOW_1,
    "adam_epsilon": _POSITIVE,
    "beta": _NOT_NEGATIVE,
    "dataloader_num_workers": _NOT_NEGATIVE,
    "dataloader_prefetch_factor": _COUNT,
    "dataset_num_proc": _COUNT,
    "ddp_bucket_cap_mb": _COUNT,
    "ddp_timeout": _COUNT,
    "delta": _POSITIVE,
    "entropy_coef": _NOT_NEGATIVE,
    "entropy_coef_delta": _NOT_NEGATIVE,
    "entropy_coef_max": _NOT_NEGATIVE,
    "entropy_coef_min": _NOT_NEGATIVE,
    "entropy_target": _NOT_NEGATIVE,
    "epsilon": Range("above 0, below 1", lambda value: 0 < value < 1),
    "epsilon_high": _POSITIVE,
    "generation_batch_size": _COUNT,
    "gradient_accumulation_steps": _COUNT,
    "label_smoothing_factor": _BELOW_1,
    "learning_rate": _NOT_NEGATIVE,
    "logging_steps": _STEPS,
    "max_completion_length": _COUNT,
    "max_grad_norm": _NOT_NEGATIVE,
    "max_length": _COUNT,
    "max_steps": Range("1 or more; -1: num_train_epochs decides", lambda value: value >= 1 or value == -1),
    "min_p": _ANY_SHARE,
    "neftune_noise_alpha": _POSITIVE,
    "num_completions_to_print": _COUNT,
    "num_generations": Range("2 or more", lambda value: value >= 2),
    "num_iterations": _COUNT,
    "num_train_epochs": _POSITIVE,
    "off_policy_mask_threshold": _POSITIVE,
    "pad_to_multiple_of": _COUNT,
    "per_device_train_batch_size": _COUNT,
    "ref_model_mixup_alpha": _ANY_SHARE,
    "ref_model_sync_steps": _COUNT,
    "repetition_penalty": _POSITIVE,
    "router_aux_loss_coef": _NOT_NEGATIVE,
    "sapo_temperature_neg": _POSITIVE,
    "sapo_temperature_pos": _POSITIVE,
    "save_steps": _STEPS,
    "save_total_limit": Range("1 or more; null: all are kept", lambda value: value >= 1),
    "steps_per_generation": _COUNT,
    "temperature": _POSITIVE,
    "top_entropy_quantile": _ANY_SHARE,
    "top_k": _NOT_NEGATIVE,
    "top_p": _SHARE,
    "torch_empty_cache_steps": _COUNT,
    "vespo_k_neg": _NOT_NEGATIVE,
    "vespo_k_pos": _NOT_NEGATIVE,
    "vespo_lambda_neg": _NOT_NEGATIVE,
    "vespo_lambda_pos": _NOT_NEGATIVE,
    "vllm_gpu_memory_utilization": _SHARE,
    "vllm_group_port": Range("1 to 65535", lambda value: 1 <= value <= 65535),
    "vllm_importance_sampling_clip_max": _POSITIVE,
    "vllm_importance_sampling_clip_min": _NOT_NEGATIVE,
    "vllm_max_model_length": _COUNT,
    "vllm_server_timeout": _POSITIVE,
    "vllm_tensor_parallel_size": _COUNT,
    "warmup_steps": Range(
        "whole steps, 0 or more, or a share of all steps below 1",
        lambda value: 0 <= value < 1 or (value >= 1 and _whole(value)),
    ),
    "weight_decay": _NOT_NEGATIVE,
}
"""Of every option that is a number and may be set here."""

_LOG_LEVELS = ("debug", "info", "warning", "error", "critical", "passive")
_BOTH = {
    "dataloader_multiprocessing_context": ("fork", "spawn", "forkserver"),
    "include_num_input_tokens_seen": ("all", "non_padding", "no"),
    "log_level": _LOG_LEVELS,
    "log_level_replica": _LOG_LEVELS,
    "save_strategy": ("no", "steps", "epoch"),
}
CHOICES = {
    "sft": {
        **_BOTH,
        "loss_type": ("nll", "dft", "chunked_nll"),
        "packing_strategy": ("bfd", "bfd_split", "wrapped"),
        "train_sampling_strategy": ("random", "sequential", "group_by_length", "batch_rebalance"),
        "truncation_mode": ("keep_start", "keep_end"),
    },
    "grpo": {
        **_BOTH,
        "cache_implementation": ("dynamic", "dynamic_full", "offloaded", "quantized", "static", "offloaded_static"),
        "importance_sampling_level": ("token", "sequence"),
        "loss_type": ("grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo", "vespo", "luspo"),
        "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
        "scale_rewards": ("group", "batch", "none"),
        "vllm_importance_sampling_mode": ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"),
        "vllm_model_impl": ("vllm", "transformers"),
    },
}
"""Words of options where TRL itself looks only once it trains, or allows more than can work here."""

_EVALUATION = "the trainer evaluates nothing here; see grpo.evaluate and evaluation"
_PUBLISHED = "a run publishes nothing"
_PROCESSES = "checkpoints, frozen weights and exports are read whole from one process"
_ROWS = "the tasks say what a row is"

REFUSED = {
    **dict.fromkeys(
        ("deepspeed", "ds3_gather_for_generation", "fsdp", "fsdp_config", "parallelism_config"), _PROCESSES
    ),
    "auto_find_batch_size": "a step would hold fewer rows than the config says; see micro_batch",
    "enable_jit_checkpoint": "a stage ends by itself at SIGTERM and goes on from its last checkpoint",
    "restore_callback_states_from_checkpoint": "what goes on is kept in the checkpoint by the workflow",
    **dict.fromkeys(
        (
            *(
                "batch_eval_metrics",
                "bf16_full_eval",
                "eval_accumulation_steps",
                "eval_delay",
                "eval_do_concat_batches",
            ),
            *("eval_packing", "eval_steps", "eval_use_gather_object", "fp16_full_eval", "greater_is_better"),
            *("include_for_metrics", "metric_for_best_model", "num_generations_eval", "per_device_eval_batch_size"),
            "prediction_loss_only",
        ),
        _EVALUATION,
    ),
    **dict.fromkeys(
        (
            *("hub_always_push", "hub_model_id", "hub_private_repo", "hub_revision", "hub_strategy", "hub_token"),
            "log_completions_hub_repo",
        ),
        _PUBLISHED,
    ),
    **dict.fromkeys(("dataset_kwargs", "dataset_text_field", "label_names", "length_column_name"), _ROWS),
    "max_tool_calling_iterations": "completions call no tools",
}
"""Options that this pipeline can't mean, with the reason; only TRL's default is let through."""

REFUSED_IN = {
    "sft": {},
    "grpo": {
        "label_smoothing_factor": "GRPO's loss has no labels",
        "train_sampling_strategy": "GRPO draws its prompts itself; see grpo.order",
    },
}
"""The same of one stage."""

_UNEVALUATED = "it follows a measure of evaluation, and the trainer evaluates nothing here"
_PACKAGE = "it needs a package that is not among the pins"
REFUSED_WORDS = {
    ("save_strategy", "best"): _UNEVALUATED,
    ("lr_scheduler_type", "reduce_lr_on_plateau"): _UNEVALUATED,
    ("lr_scheduler_type", "greedy"): _UNEVALUATED,
    **{
        ("optim", name): _PACKAGE
        for name in (
            *("adamw_anyprecision", "adamw_torch_4bit", "adamw_torch_8bit", "adamw_torch_npu_fused"),
            *("adamw_torch_xla", "adalomo", "apollo_adamw", "apollo_adamw_layerwise", "galore_adafactor"),
            *("galore_adafactor_layerwise", "galore_adamw", "galore_adamw_8bit", "galore_adamw_8bit_layerwise"),
            *("galore_adamw_layerwise", "grokadamw", "lomo", "schedule_free_adamw", "schedule_free_radam"),
            *("schedule_free_sgd", "stable_adamw"),
        )
    },
}
"""Words that TRL knows and that can't be meant here, with the reason."""
