"""Checks `trainer:` blocks against the options that TRL's config classes have.

TRL takes seconds to import, so its option names and types lie in a generated file;
`rlvr schema` writes it and a test fails when TRL has changed.
"""

from __future__ import annotations

import dataclasses
import json
import re
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from rlvr import trackers

OPTIONS_FILE = Path(__file__).with_name("trl_options.json")

OWNED = {
    "output_dir": "the workflow's own paths",
    "seed": "seed and seeds",
    "data_seed": "seed and seeds",
    "use_cpu": "device",
    "disable_tqdm": "the workflow's own progress bar",
    "reward_weights": "grpo.rewards",
    "remove_unused_columns": "the workflow, whose verifiers need the columns",
    "model_init_kwargs": "base",
    "use_vllm": "engines.rollouts",
    "vllm_mode": "engines.rollouts",
    "vllm_server_base_url": "engines.server",
    "vllm_server_host": "engines.server",
    "vllm_server_port": "engines.server",
    "resume_from_checkpoint": "the workflow, which resumes by itself",
    "save_only_model": "the workflow, which needs the whole state to resume",
    "ignore_data_skip": "the workflow, which resumes with the rows that come next",
    "trust_remote_code": "nothing: code from a model repository is never run",
    "do_train": "the workflow",
    "do_eval": "evaluation",
    "do_predict": "evaluation",
    "eval_strategy": "evaluation",
    "eval_on_start": "evaluation",
    "load_best_model_at_end": "the workflow, which keeps the last step",
    "chat_template_path": "base: its tokenizer brings the template that all stages share",
    "eos_token": "base: its tokenizer brings the end tokens that all stages share",
    "pad_token": "base: its tokenizer brings the padding that all stages share",
    "push_to_hub": "nothing: a run publishes nothing",
    "local_rank": "the launcher",
}

CHOICES = {
    "loss_type": ("grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo", "vespo", "luspo"),
    "scale_rewards": ("group", "batch", "none"),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
    "importance_sampling_level": ("token", "sequence"),
}
"""What GRPO's options may say where TRL itself looks only once it trains."""

RANGES = {
    "beta": "0 or more",
    "delta": "above 0",
    "entropy_coef": "0 or more",
    "entropy_coef_delta": "0 or more",
    "entropy_coef_max": "0 or more",
    "entropy_coef_min": "0 or more",
    "entropy_target": "0 or more",
    "epsilon": "above 0, below 1",
    "epsilon_high": "above 0",
    "repetition_penalty": "above 0",
    "temperature": "above 0",
    "top_entropy_quantile": "0 to 1",
    "top_p": "above 0, up to 1",
}
"""Ranges of GRPO's options that TRL takes as they come."""

_HOLDS = {
    "0 or more": lambda value: value >= 0,
    "above 0": lambda value: value > 0,
    "above 0, below 1": lambda value: 0 < value < 1,
    "0 to 1": lambda value: 0 <= value <= 1,
    "above 0, up to 1": lambda value: 0 < value <= 1,
}

_TYPES = {
    "int": "integer",
    "float": "number",
    "str": "text",
    "bool": "true or false",
    "dict": "mapping",
    "list": "list",
}
_CLASSES = {"integer": int, "number": (int, float), "text": str, "mapping": dict, "list": list}


def generate() -> dict[str, dict[str, str]]:
    """Names and allowed YAML types of TRL's options; `null` where None is allowed."""
    from trl import GRPOConfig, SFTConfig

    return {
        stage: {field.name: _types(field) for field in sorted(dataclasses.fields(cls), key=lambda f: f.name)}
        for stage, cls in (("sft", SFTConfig), ("grpo", GRPOConfig))
    }


def _types(field: dataclasses.Field) -> str:
    text = field.type.__name__ if isinstance(field.type, type) else str(field.type)
    found = [word for name, word in _TYPES.items() if re.search(rf"\b{name}\b", text)]
    found += ["null"] if "None" in text else []
    return ", ".join(found or ["text"])


@cache
def known() -> dict[str, dict[str, str]]:
    return json.loads(OPTIONS_FILE.read_text())


def check_options(stage: str, options: dict[str, Any]) -> None:
    """Raises ValueError with one line when an option is unknown, owned, or of the wrong type."""
    table = known()[stage]
    for name, value in options.items():
        if name in OWNED:
            raise ValueError(f"trainer.{name}: can't be set here, it is decided by {OWNED[name]}")
        if name not in table:
            near = get_close_matches(name, table, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"trainer.{name}: unknown option; {hint}allowed: those of TRL's {stage.upper()}Config")
        if not _fits(value, table[name]):
            raise ValueError(f"trainer.{name}: {value!r} is not possible; allowed: {table[name]}")
        if stage == "grpo" and isinstance(value, str) and value not in CHOICES.get(name, (value,)):
            raise ValueError(f"trainer.{name}: {value!r} is not possible; allowed: {', '.join(CHOICES[name])}")
        if stage == "grpo" and name in RANGES and value is not None and not _HOLDS[RANGES[name]](value):
            raise ValueError(f"trainer.{name}: {value!r} is not possible; allowed: {RANGES[name]}")
        if name == "report_to":
            trackers.names(value)


def check_loss(options: dict[str, Any], where: str) -> None:
    """Raises ValueError when the options of GRPO's loss contradict one another, which TRL would not mention."""
    low, high = options.get("epsilon", 0.2), options.get("epsilon_high")
    if options.get("loss_type") == "cispo":
        if high is None or high < 1:
            raise ValueError(
                f"{where}.epsilon_high: {json.dumps(high)} is not possible with loss_type: cispo, where it is the "
                "largest weight of a token; allowed: 1 or more (5.0 in ScaleRL, arXiv 2510.13786)"
            )
    elif high is not None and high < low:
        raise ValueError(f"{where}.epsilon_high: {high} is not possible; allowed: epsilon ({low}) or more")
    least, most = options.get("entropy_coef_min", 0.0), options.get("entropy_coef_max", 1.0)
    if least > most:
        raise ValueError(f"{where}.entropy_coef_min: {least} is not possible; allowed: up to entropy_coef_max ({most})")
    if options.get("use_adaptive_entropy") and not least <= options.get("entropy_coef", 0.0) <= most:
        raise ValueError(
            f"{where}.entropy_coef: {options.get('entropy_coef', 0.0)} is not possible; allowed with "
            f"use_adaptive_entropy: entropy_coef_min to entropy_coef_max ({least} to {most})"
        )


def check_groups(options: dict[str, Any], where: str) -> None:
    """Raises ValueError when a batch does not hold whole groups of completions, as TRL demands."""
    group = options.get("num_generations") or 8
    size = options.get("per_device_train_batch_size", 8)
    accumulated = options.get("steps_per_generation") or options.get("gradient_accumulation_steps", 1)
    counts = {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulated}
    counts["num_iterations"] = options.get("num_iterations", 1)
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{where}.{name}: {value} is not possible; allowed: 1 or more")
    if options.get("generation_batch_size") and options.get("steps_per_generation"):
        raise ValueError(f"{where}.generation_batch_size: goes without steps_per_generation only")
    batch = options.get("generation_batch_size") or size * accumulated
    if group < 2 or batch % group or batch % size:
        raise ValueError(
            f"{where}.num_generations: {group} is not possible with {batch} completions generated at once; allowed: "
            "2 or more that divide per_device_train_batch_size x gradient_accumulation_steps"
        )


def check_by_group(options: dict[str, Any], where: str) -> None:
    """Raises ValueError when advantages depend on groups of the batch that `dynamic` would replace."""
    for name, over_the_batch in (("scale_rewards", "batch"), ("multi_objective_aggregation", "normalize_then_sum")):
        if options.get(name) == over_the_batch:
            allowed = ", ".join(choice for choice in CHOICES[name] if choice != over_the_batch)
            raise ValueError(f"{where}: goes without trainer.{name}: {over_the_batch} only; allowed there: {allowed}")


def _fits(value: Any, allowed: str) -> bool:
    types = allowed.split(", ")
    if value is None:
        return "null" in types
    if isinstance(value, bool):
        return "true or false" in types
    if isinstance(value, float) and not abs(value) < float("inf"):
        return False
    return any(isinstance(value, cls) for word, cls in _CLASSES.items() if word in types)
