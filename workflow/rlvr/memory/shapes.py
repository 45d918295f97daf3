"""What decides how much memory each stage of an experiment takes, cut from its config."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from rlvr import comparison, trainer_options
from rlvr.config import Config, task_options
from rlvr.memory import demands

ASSUMED_PROMPT = 256
KEPT = (
    *("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "generation_batch_size"),
    *("gradient_checkpointing", "bf16", "fp16", "optim", "loss_type", "use_liger_kernel", "temperature", "beta"),
    *("max_length", "packing", "padding_free", "max_completion_length", "num_generations"),
    "vllm_gpu_memory_utilization",
)
"""Options of TRL's trainers that decide memory."""
SAMPLING = (
    *("top_p", "top_k", "min_p", "repetition_penalty", "generation_kwargs"),
    *("vllm_importance_sampling_correction", "off_policy_mask_threshold"),
)
"""Options by which `rollouts.biased` warns."""
COUNTS = ("max_steps", "num_train_epochs", "num_iterations")
"""Options that decide how many steps there are."""


@dataclass(frozen=True)
class Lengths:
    """Longest prompt, and prompt with demonstration, in tokens, and where they come from. rows: of rows counted."""

    prompt: int
    whole: int
    source: str
    rows: bool = False


def of(config: Config, cut: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The config slice of the preflight: of the stages' slices `cut` only what decides memory."""
    trainers = {name: _kept(slice_["trainer"]) for name, slice_ in cut.items() if "trainer" in slice_}
    tasks = config.tasks.values()
    warm = max(
        (name for name in trainers if name.startswith("sft")), key=lambda n: _rows_at_once(trainers[n]), default=None
    )
    grpo = {name: trainer for name, trainer in trainers.items() if name.startswith("grpo/")}
    return {
        **config.preflight.model_dump(),
        "device": config.device,
        "adapter": config.adapter and config.adapter.model_dump(),
        "training": config.engines.training,
        "obstacle": config.unsloth_obstacle(),
        "sampling": config.engines.rollouts,
        "generation": config.engines.generation,
        "sft": trainers.get(warm),
        "grpo": {name.split("/")[1]: trainer for name, trainer in grpo.items()},
        "probes": _probes(config, warm, grpo),
        "rollouts": [
            {key: slice_["sampling"][key] for key in ("batch_size", "max_completion_tokens")}
            for name, slice_ in cut.items()
            if name.startswith("rollouts/")
        ],
        "evaluation": config.evaluation.model_dump(include={"batch_size", "max_completion_tokens"}),
        "lengths": _bounds(config),
        "prompts": demands.of(config, cut),
        "gate": {
            **config.gate.model_dump(include={"mode", "prompts", "max_completion_tokens"}),
            "tasks": sum(task.eval != 0 for task in tasks),
        },
        "rows": {"sft": sum(task.sft or 0 for task in tasks), "train": sum(task.train or 0 for task in tasks)},
    }


def work(config: Config, cut: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What is to be computed, for `hours`: rows by task and split (None: all that there are), which of the tasks have
    the hub's, runs, cells.

    A slice of its own, as further seeds take no more memory and call for no other probe.
    """
    found = comparison.cells(config)
    sampled = config.evaluation.sampled
    evaluate = config.grpo.evaluate
    keys = {"every_steps", "every_epochs", "items", "samples", "max_completion_tokens"}
    return {
        "rows": {
            name: {"train": task.train, "sft": task.sft if config.sft else 0, "eval": task.eval}
            for name, task in config.tasks.items()
        },
        "hub": [name for name, task in config.tasks.items() if _source(name, task.options) == "hub"],
        "sft": {arm: _counted(cut[arm]["trainer"]) for arm in comparison.arms(config) if arm.startswith("sft")},
        "rollouts": [
            {key: slice_["sampling"][key] for key in ("completions", "target", "batch_size", "max_completion_tokens")}
            for name, slice_ in cut.items()
            if name.startswith("rollouts/")
        ],
        "grpo": {
            name.split("/")[1]: {key: slice_["trainer"][key] for key in COUNTS if key in slice_["trainer"]}
            for name, slice_ in cut.items()
            if name.startswith("grpo/")
        },
        "runs": dict(Counter(name for name, _ in config.runs())),
        "cells": [(cell.task, 1 if cell.mode == "greedy" else sampled.samples) for cell in found],
        "evaluated": sorted({cell.task for cell in found}),
        "evaluate": evaluate and evaluate.model_dump(include=keys),
    }


def _source(task: str, options: dict[str, Any]) -> str:
    """Where a task's items come from; "" for a plugin without a choice."""
    return getattr(task_options(task, options), "source", "")


def _probes(config: Config, warm: str | None, grpo: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """The stages of the estimate that are probed, each with its slice.

    Variants of GRPO that take the same are probed once. With a vLLM server none is: it would hand its weights over.
    """
    if config.preflight.probe == "never" or config.preflight.mode == "off":
        return []
    chosen = [("sft", warm)] if warm else []
    seen: list[dict[str, Any]] = []
    for name, trainer in grpo.items():
        variant = name.split("/")[1]
        shape = {key: value for key, value in trainer.items() if key not in ("loss_type", "temperature", *SAMPLING)}
        if shape not in seen and config.engines.rollouts != "vllm_server":
            seen.append(shape)
            chosen.append((f"grpo/{variant}", name))
    return chosen


def _rows_at_once(trainer: dict[str, Any]) -> int:
    """By which the SFT variant that takes most is found."""
    return trainer_options.value("sft", trainer, "per_device_train_batch_size")


def _kept(trainer: dict[str, Any]) -> dict[str, Any]:
    return {name: trainer[name] for name in (*KEPT, *SAMPLING) if name in trainer}


def _counted(trainer: dict[str, Any]) -> dict[str, Any]:
    return {name: trainer[name] for name in (*KEPT, *COUNTS) if name in trainer}


def _bounds(config: Config) -> dict[str, int | None]:
    """The longest prompt and whole that the `tokens` filters let through; None where a task has none."""
    prompts, wholes = [], []
    for task in config.tasks:
        found = [step.options for step in config.steps(task) if step.filter == "tokens"]
        bound = [options.get(key) for options in found for key in ("max_prompt", "max") if options.get(key)]
        whole = [options["max"] for options in found if options.get("max")]
        prompts.append(min(bound, default=None))
        wholes.append(min(whole, default=None))
    return {"prompt": _largest(prompts), "whole": _largest(wholes)}


def _largest(values: list[int | None]) -> int | None:
    return None if None in values else max(values)


def assumed(bounds: dict[str, int | None]) -> Lengths:
    """The lengths where no rows are there yet: what the filters allow, else a guess that says so."""
    prompt, whole = bounds["prompt"], bounds["whole"]
    if prompt and whole:
        return Lengths(prompt, whole, "the tokens filters")
    prompt = prompt or ASSUMED_PROMPT
    whole = whole or trainer_options.default("sft", "max_length")
    return Lengths(prompt, whole, f"assumed: prompts of up to {prompt} tokens; no data yet")
