"""Checks `trainer:` blocks against the options that TRL's config classes have.

TRL takes seconds to import, so the names, types and defaults of its options lie in a generated file;
`rlvr schema` writes it and a test fails when TRL has changed. Whoever needs what an option comes to asks `value`.
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

NOT_NULL = {"grpo": ("num_generations", "max_completion_length")}
"""Options whose type allows None, with which TRL fails in the middle of its start, or of a loss."""

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


def generate() -> dict[str, dict[str, dict[str, Any]]]:
    """Allowed YAML types and default of each of TRL's options, by stage and name; `null` where None is allowed."""
    from trl import GRPOConfig, SFTConfig

    return {
        stage: {
            field.name: {"type": _types(stage, field), "default": _default(field)}
            for field in sorted(dataclasses.fields(cls), key=lambda f: f.name)
        }
        for stage, cls in (("sft", SFTConfig), ("grpo", GRPOConfig))
    }


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _types(stage: str, field: dataclasses.Field) -> str:
    text = field.type.__name__ if isinstance(field.type, type) else str(field.type)
    found = [word for name, word in _TYPES.items() if re.search(rf"\b{name}\b", text)]
    found += ["null"] if "None" in text and field.name not in NOT_NULL.get(stage, ()) else []
    return ", ".join(found or ["text"])


@cache
def known() -> dict[str, dict[str, dict[str, Any]]]:
    return json.loads(OPTIONS_FILE.read_text())


def default(stage: str, name: str) -> Any:
    """TRL's own default of an option; None may have a meaning that TRL finds as it starts. stage: `sft` or `grpo`."""
    return known()[stage][name]["default"]


def value(stage: str, options: dict[str, Any], name: str) -> Any:
    """What TRL gets for an option: what the user says, else its own default."""
    return options[name] if name in options else default(stage, name)


def step_rows(stage: str, options: dict[str, Any]) -> int:
    """Rows (of GRPO: completions) of an optimiser step."""
    return value(stage, options, "per_device_train_batch_size") * value(stage, options, "gradient_accumulation_steps")


def generated_at_once(options: dict[str, Any]) -> int:
    """Completions that GRPO samples before it trains on them."""
    if whole := value("grpo", options, "generation_batch_size"):
        return whole
    steps = value("grpo", options, "steps_per_generation") or value("grpo", options, "gradient_accumulation_steps")
    return value("grpo", options, "per_device_train_batch_size") * steps


def check_options(stage: str, options: dict[str, Any]) -> None:
    """Raises ValueError with one line when an option is unknown, owned, or of the wrong type."""
    table = known()[stage]
    for name, given in options.items():
        if name in OWNED:
            raise ValueError(f"trainer.{name}: can't be set here, it is decided by {OWNED[name]}")
        if name not in table:
            near = get_close_matches(name, table, 1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ValueError(f"trainer.{name}: unknown option; {hint}allowed: those of TRL's {stage.upper()}Config")
        if not _fits(given, table[name]["type"]):
            raise ValueError(f"trainer.{name}: {given!r} is not possible; allowed: {table[name]['type']}")
        if stage == "grpo" and isinstance(given, str) and given not in CHOICES.get(name, (given,)):
            raise ValueError(f"trainer.{name}: {given!r} is not possible; allowed: {', '.join(CHOICES[name])}")
        if stage == "grpo" and name in RANGES and given is not None and not _HOLDS[RANGES[name]](given):
            raise ValueError(f"trainer.{name}: {given!r} is not possible; allowed: {RANGES[name]}")
        if name == "report_to":
            trackers.names(given)


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
    counts = ("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "num_iterations")
    for name in counts:
        count = value("grpo", options, name)
        if count is not None and count < 1:
            raise ValueError(f"{where}.{name}: {count} is not possible; allowed: 1 or more")
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
