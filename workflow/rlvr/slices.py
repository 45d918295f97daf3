"""Cuts an experiment into what each stage depends on, and lists what it reads and compares."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from rlvr import plugin_options
from rlvr.config import Config, Tiny, task_options
from rlvr.errors import RlvrError
from rlvr.filters import Step
from rlvr_plugins.manager import catalogue

DEFAULT_EPOCHS = 3.0
"""Of TRL's `num_train_epochs`."""


def source_files(config: Config, task: str) -> list[str]:
    """Local files that a task's items come from."""
    plugin = catalogue().task(task)
    return list(plugin.files(task_options(task, config.tasks[task].options))) if plugin.files else []


def reads_answers(config: Config, task: str) -> bool:
    """Whether a task's items come from elsewhere, so that its verifier decides which of them can be judged."""
    generated = ("generator", "synthetic")
    options = task_options(task, config.tasks[task].options)
    return catalogue().task(task).gold is not None and getattr(options, "source", "") not in generated


def base_files(config: Config) -> list[str]:
    """Files of a base model that is a local folder."""
    if config.base.kind != "folder":
        return []
    return sorted(str(path) for path in Path(config.base.model).expanduser().iterdir() if path.is_file())


def grpo_variant(config: Config, name: str) -> dict[str, Any]:
    """Rewards, trainer options and dynamic choice of a variant, laid over those of `grpo`."""
    variant, dynamic = config.grpo.variants[name], config.grpo.dynamic_of(name)
    return {
        "rewards": config.grpo.rewards if variant.rewards is None else variant.rewards,
        "trainer": {**config.grpo.trainer, **variant.trainer},
        "dynamic": dynamic and dynamic.model_dump(),
        "max_failures": config.grpo.max_failures,
        "order": variant.order or config.grpo.order,
    }


def _demand(config: Config, task: str) -> dict[str, Any]:
    """How many prompts, or passes over all rows, each variant samples; the first task that trains warns of too many."""
    asked, epochs = {}, {}
    for name in config.grpo.variants:
        trainer = grpo_variant(config, name)["trainer"]
        if trainer.get("max_steps", -1) > 0:
            asked[name] = _prompts(trainer)
        else:
            epochs[name] = trainer.get("num_train_epochs", DEFAULT_EPOCHS)
    first = next(name for name, settings in config.tasks.items() if settings.train != 0)
    return {
        "prompts_asked": asked,
        "epochs": epochs,
        "max_epochs": config.grpo.max_epochs,
        "warns": task == first,
    }


def _prompts(trainer: dict[str, Any]) -> float:
    group = trainer.get("num_generations") or 8
    size = trainer.get("per_device_train_batch_size", 8) * trainer.get("gradient_accumulation_steps", 1)
    return trainer["max_steps"] * size / group / trainer.get("num_iterations", 1)


def of(config: Config) -> dict[str, dict[str, Any]]:
    """What each stage depends on, by the name of its file under `results/<experiment>/config/`."""
    whole = config.model_dump(mode="json")
    if config.base.kind == "tiny":
        whole["base"]["tiny"] = (config.base.tiny or Tiny()).model_dump()
    training = {key: whole[key] for key in ("adapter", "device")}
    cut = {
        "base": {"base": whole["base"], "seed": config.seed, "device": "cpu"},
        "export": {**whole["export"], "base": whole["base"], "device": config.device},
        "generate": {**whole["evaluation"], "device": config.device},
        "report": {
            **whole["report"],
            "experiment": config.experiment,
            "tasks": [name for name, task in config.tasks.items() if task.eval != 0],
            "steps": {task: [step.name for step in config.steps(task)] for task in config.tasks},
            "arms": arms(config),
            "variants": {
                name: {**_shown(grpo_variant(config, name)), "trainer": variant.trainer}
                for name, variant in config.grpo.variants.items()
            },
        },
    }
    for name, task in whole["tasks"].items():
        own = {key: value for key, value in task.items() if key != "filters"}
        cut[f"data/{name}"] = {"task": name, **own, "with_sft": config.sft is not None, "seed": config.seed}
        for step in config.steps(name):
            cut[f"filter/{name}/{step.name}"] = _step(name, step)
            if step.sampled:
                cut[f"rollouts/{name}/{step.name}"] = _rollouts(config, name, step)
        cut[f"dataset/{name}"] = {
            "task": name,
            "experiment": config.experiment,
            "options": plugin_options.dump("task", name, task_options(name, config.tasks[name].options)),
            "steps": [step.name for step in config.steps(name)],
            **(_demand(config, name) if task["train"] != 0 else {}),
        }
        cut[f"score/{name}"] = {"task": name}
    if config.sft:
        cut["sft"] = {"trainer": whole["sft"]["trainer"], **training, "seed": config.seed}
    for name in config.grpo.variants:
        for seed in config.seeds:
            cut[f"grpo/{name}/seed{seed}"] = {**grpo_variant(config, name), **training, "seed": seed}
    return cut


def _shown(variant: dict[str, Any]) -> dict[str, Any]:
    return {key: variant[key] for key in ("rewards", "order", "dynamic")}


def _step(task: str, step: Step) -> dict[str, Any]:
    return {"task": task, "step": step.name, "filter": step.filter, "options": step.options, "splits": step.splits}


def _rollouts(config: Config, task: str, step: Step) -> dict[str, Any]:
    """How to sample; the filter's own bounds only where sampling stops by them."""
    sampling = dataclasses.asdict(step.sampling)
    wanted = sampling.pop("wanted")
    bounds = {"filter": step.filter, "options": step.options} if sampling["target"] is not None else {}
    if bounds and wanted is None:
        raise RlvrError(f"filter {step.filter!r}: a target needs `wanted`")
    return {"task": task, **bounds, "sampling": sampling, "seed": config.seed, "device": config.device}


def arms(config: Config) -> list[str]:
    """The models the report compares: base, sft, grpo/<variant>/seed<k>."""
    trained = [f"grpo/{name}/seed{seed}" for name in config.grpo.variants for seed in config.seeds]
    return ["base", *(["sft"] if config.sft else []), *trained]
