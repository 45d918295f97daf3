"""Checks `trainer:` blocks against the options that TRL's config classes have.

TRL takes seconds to import, so the names, types and defaults of its options lie in a generated file;
`rlvr schema` writes it and a test fails when TRL has changed. Whoever needs what an option comes to asks `value`.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import re
import typing
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from rlvr import former_options, problems, trackers, trainer_values

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

NOT_NULL = {"grpo": ("num_generations", "max_completion_length")}
"""Options whose type allows None, with which TRL fails in the middle of its start, or of a loss."""

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
    """Allowed YAML types, default and, of TRL's enumerations, words of each of TRL's options, by stage and name.

    `null` stands among the types where None is allowed.
    """
    from trl import GRPOConfig, SFTConfig

    return {
        stage: {
            field.name: {"type": _types(stage, field), "default": _default(field), **_words(hints[field.name])}
            for field in sorted(dataclasses.fields(cls), key=lambda f: f.name)
        }
        for stage, cls, hints in (
            ("sft", SFTConfig, typing.get_type_hints(SFTConfig)),
            ("grpo", GRPOConfig, typing.get_type_hints(GRPOConfig)),
        )
    }


def _words(hint: Any) -> dict[str, list[str]]:
    kinds = [kind for kind in (hint, *typing.get_args(hint)) if isinstance(kind, type) and issubclass(kind, enum.Enum)]
    return {"choices": [word.value for kind in kinds for word in kind]} if kinds else {}


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _types(stage: str, field: dataclasses.Field) -> str:
    text = field.type.__name__ if isinstance(field.type, type) else str(field.type)
    found = [word for name, word in _TYPES.items() if re.search(rf"\b{name}\b", text)]
    found += ["null"] if "None" in text and field.name not in NOT_NULL.get(stage, ()) else []
    return ", ".join(found or ["text"])


@cache
def known() -> dict[str, dict[str, dict[str, Any]]]:
    return json.loads(OPTIONS_FILE.read_text(encoding="utf-8"))


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
    """Raises ValueError with one line when an option is unknown, owned, of the wrong type, or can't be meant."""
    for name, given in options.items():
        if problem := _unknown(stage, name) or _impossible(stage, name, given):
            raise ValueError(f"trainer.{name}: {problem}")
        if name == "report_to":
            trackers.names(given)


def _unknown(stage: str, name: str) -> str | None:
    """Why there is no such option, None where there is."""
    if name in OWNED:
        return f"can't be set here, it is decided by {OWNED[name]}"
    if name in former_options.INSTEAD:
        kind = "a deprecated option" if name in known()[stage] else "no option"
        return f"is {kind} of TRL's {stage.upper()}Config; in its place: {former_options.INSTEAD[name]}"
    if name in known()[stage]:
        return None
    if other := next((each for each in known() if name in known()[each]), None):
        return f"is an option of TRL's {other.upper()}Config; allowed: under {other}.trainer"
    refused = {*OWNED, *trainer_values.REFUSED, *trainer_values.REFUSED_IN[stage]}
    near = get_close_matches(name, known()[stage].keys() - refused, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown option; {hint}allowed: those of TRL's {stage.upper()}Config"


def _impossible(stage: str, name: str, given: Any) -> str | None:
    """Why an option can't have a value, None where it can."""
    entry, shown = known()[stage][name], problems.short(repr(given))
    reason = trainer_values.REFUSED.get(name) or trainer_values.REFUSED_IN[stage].get(name)
    if reason and given != entry["default"]:
        return f"{shown} is not possible, as {reason}; allowed: {json.dumps(entry['default'])}"
    words = trainer_values.CHOICES[stage].get(name) or entry.get("choices")
    if words:
        words = [word for word in words if (name, word) not in trainer_values.REFUSED_WORDS]
    if not _fits(given, entry["type"]):
        allowed = ", ".join(words) if words and entry["type"] == "text" else entry["type"]
        return f"{shown} is not possible; allowed: {allowed}{problems.quoting(given, entry['type'], words)}"
    if isinstance(given, str) and "mapping" in entry["type"] and not _is_mapping(given):
        return f"{shown} is not possible; allowed: a mapping"
    if isinstance(given, str) and words and given not in words:
        refused = trainer_values.REFUSED_WORDS.get((name, given))
        return f"{shown} is not possible{f', as {refused}' if refused else ''}; allowed: {', '.join(words)}"
    allowed = trainer_values.RANGES.get(name)
    if allowed and isinstance(given, int | float) and not allowed.holds(given):
        return f"{shown} is not possible; allowed: {allowed.allowed}"
    return None


def _is_mapping(text: str) -> bool:
    """Whether a text is a mapping in JSON, as transformers reads it; another it would take for a file's name."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _fits(value: Any, allowed: str) -> bool:
    types = allowed.split(", ")
    if value is None:
        return "null" in types
    if isinstance(value, bool):
        return "true or false" in types
    if isinstance(value, float) and not abs(value) < float("inf"):
        return False
    return any(isinstance(value, cls) for word, cls in _CLASSES.items() if word in types)
