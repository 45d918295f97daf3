"""Cuts an experiment into what each stage depends on, and lists what it reads."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from rlvr import controls, leakage, plugin_options, resuming, second_opinions, trackers, trainer_options
from rlvr.base_section import Tiny
from rlvr.cells import AS, TRAINING
from rlvr.comparison import arms, cells, own_prompts, prompt, prompt_of, starts, texts
from rlvr.config import Config, task_options
from rlvr.errors import RlvrError
from rlvr.filters import Step
from rlvr.memory import shapes
from rlvr_plugins import calls
from rlvr_plugins.manager import catalogue


def source_files(config: Config, task: str) -> list[str]:
    """Local files that a task's items come from."""
    return _files(task, config.tasks[task].options)


def second_files(config: Config, task: str) -> list[str]:
    """Local files that a task's second labels come from."""
    section = config.tasks[task].second_labels
    return _files(section.task, section.options)


def _files(task: str, options: dict[str, Any]) -> list[str]:
    plugin = catalogue().task(task)
    with calls.calling(f"files of task {task!r}", calls.LOADING_SECONDS):
        return list(plugin.files(task_options(task, options))) if plugin.files else []


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
        "trainer": _trainer(config, "grpo", config.grpo.trainer, variant.trainer),
        "dynamic": dynamic and dynamic.model_dump(),
        "max_failures": config.grpo.max_failures,
        "max_logp_difference": config.grpo.max_logp_difference,
        # A control may learn nothing, or all that there is to its reward.
        "max_zero_variance_steps": None if name in config.controls else config.grpo.max_zero_variance_steps,
        "keep_completions": config.grpo.keep_completions,
        "order": variant.order or config.grpo.order,
    }


def sft_options(config: Config, arm: str) -> dict[str, Any]:
    """Trainer options of a warm-start, those of its variant laid over those of `sft`."""
    variant = config.sft.variants.get(arm.partition("/")[2])
    return {**config.sft.trainer, **(variant.trainer if variant else {})}


def _longer(config: Config) -> dict[str, Any]:
    """Trainer options of the control `sft_longer`: those of the warm-start, for as many rows as GRPO samples."""
    variant = next(iter(config.grpo.variants))
    options = sft_options(config, config.start_of(variant))
    grpo = grpo_variant(config, variant)["trainer"]
    group = trainer_options.value("grpo", grpo, "num_generations")
    if trainer_options.value("grpo", grpo, "max_steps") > 0:
        rows = _prompts_asked(grpo) * group
        return {**options, "max_steps": math.ceil(rows / trainer_options.step_rows("sft", options))}
    epochs = trainer_options.value("grpo", grpo, "num_train_epochs") * group
    return {key: value for key, value in options.items() if key != "max_steps"} | {"num_train_epochs": epochs}


def _trainer(config: Config, stage: str, *options: dict[str, Any]) -> dict[str, Any]:
    """Options laid over each other, those that decide a result, with steps in micro-batches."""
    laid = trackers.without({k: v for each in options for k, v in each.items()})
    split = _in_micro_batches(stage, laid, config.micro_batch)
    return resuming.with_save_steps(split) if stage == "grpo" else split


def _in_micro_batches(stage: str, trainer: dict[str, Any], most: int | None) -> dict[str, Any]:
    """The options with the rows of a step split so that at most so many are computed at once."""
    if most is None:
        return trainer
    rows = trainer_options.step_rows(stage, trainer)
    size = max(part for part in range(1, min(most, rows) + 1) if rows % part == 0)
    return {**trainer, "per_device_train_batch_size": size, "gradient_accumulation_steps": rows // size}


def generate_slice(config: Config, arm: str, task: str, decoding: str) -> str:
    """Name of the slice for answering a task with an arm: one for all that answer under the same prompt."""
    whose, mode = prompt_of(config, arm, task, decoding), decoding.partition(AS)[0]
    own = "" if whose == TRAINING else f"{whose}/{task}"
    return "/".join(part for part in ("generate", own, "" if mode == "greedy" else mode) if part)


def _generate(config: Config) -> dict[str, dict[str, Any]]:
    """The slices of `generate`. An arm's own prompt stands in its slice, those of training lie in the data."""
    common = config.evaluation.model_dump(include={"max_completion_tokens", "batch_size"})
    common |= {"engine": config.engines.generation, "device": config.device}
    sampled = config.evaluation.sampled
    sampling = sampled and {**sampled.model_dump(exclude={"pass_at"}), "seed": config.seed}
    cut = {}
    for cell in cells(config):
        own = None if cell.prompt == TRAINING else {"task": cell.task, **prompt(config, cell.task, cell.prompt)}
        cut[generate_slice(config, cell.arm, cell.task, cell.decoding)] = {
            **common,
            "sampled": None if cell.mode == "greedy" else sampling,
            "prompt": own,
        }
    return cut


def _demand(config: Config, task: str) -> dict[str, Any]:
    """How many prompts, or passes over all rows, each variant samples; the first task that trains warns of too many."""
    asked, epochs = {}, {}
    for name in config.grpo.variants:
        trainer = grpo_variant(config, name)["trainer"]
        if trainer_options.value("grpo", trainer, "max_steps") > 0:
            asked[name] = _prompts_asked(trainer)
        else:
            epochs[name] = trainer_options.value("grpo", trainer, "num_train_epochs")
    first = next(name for name, settings in config.tasks.items() if settings.train != 0)
    return {
        "prompts_asked": asked,
        "epochs": epochs,
        "max_epochs": config.grpo.max_epochs,
        "warns": task == first,
    }


def _prompts_asked(trainer: dict[str, Any]) -> float:
    group, iterations = (trainer_options.value("grpo", trainer, name) for name in ("num_generations", "num_iterations"))
    return trainer["max_steps"] * trainer_options.step_rows("grpo", trainer) / group / iterations


def of(config: Config) -> dict[str, dict[str, Any]]:
    """What each stage depends on, by the name of its file under `results/<experiment>/config/`."""
    whole = config.model_dump(mode="json")
    if config.base.kind == "tiny":
        whole["base"]["tiny"] = (config.base.tiny or Tiny()).model_dump()
    training = {key: whole[key] for key in ("adapter", "device")}
    cut = {
        "base": {"base": whole["base"], "seed": config.seed, "device": "cpu"},
        "export": {"dtype": config.export.dtype},
        "gate": {**whole["gate"], "device": config.device},
        **_generate(config),
        "report": {
            **whole["report"],
            "experiment": config.experiment,
            "base": whole["base"],
            "tasks": [name for name, task in config.tasks.items() if task.eval != 0],
            "steps": {task: [step.name for step in config.steps(task)] for task in config.tasks},
            "leakage": _leakage(config),
            "second": _second(config),
            "arms": arms(config),
            "controls": controls.arms(config.controls, config.seeds[0]),
            "starts": starts(config),
            "cells": [dataclasses.asdict(cell) for cell in cells(config)],
            "sampled": config.evaluation.sampled and config.evaluation.sampled.model_dump(),
            "prompts": own_prompts(config),
            "protocols": texts(config),
            "variants": {
                name: {
                    **_shown(grpo_variant(config, name)),
                    "trainer": trackers.without(variant.trainer),
                    "start": config.start_of(name),
                }
                for name, variant in config.grpo.variants.items()
            },
        },
    }
    for name, task in whole["tasks"].items():
        own = {key: value for key, value in task.items() if key not in ("filters", "prompts", "second_labels")}
        found = config.leakage and config.leakage.found
        more = {"with_sft": config.sft is not None, "seed": config.seed, "leakage": found}
        cut[f"data/{name}"] = {"task": name, **own, **more}
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
    if config.export.gguf:
        cut["gguf"] = {"type": config.export.gguf}
    obstacle = config.unsloth_obstacle()
    engines = {"training": config.engines.training, "obstacle": obstacle}
    for arm in config.sft_arms():
        own = sft_options(config, arm)
        cut[f"tracking/{arm}"] = trackers.settings(own, config.experiment, arm)
        cut[arm] = {"trainer": _trainer(config, "sft", own), **training, "engines": engines, "seed": config.seed}
    if "sft_longer" in config.controls:
        arm = f"sft/{controls.LONGER}"
        own = _longer(config)
        cut[f"tracking/{arm}"] = trackers.settings(own, config.experiment, arm)
        cut[arm] = {"trainer": _trainer(config, "sft", own), **training, "engines": engines, "seed": config.seed}
    for name, seed in config.runs():
        engines = {key: whole["engines"][key] for key in ("training", "rollouts", "server")} | {"obstacle": obstacle}
        arm, trainer = f"grpo/{name}/seed{seed}", {**config.grpo.trainer, **config.grpo.variants[name].trainer}
        cut[f"tracking/{arm}"] = trackers.settings(trainer, config.experiment, arm)
        cut[arm] = {
            **grpo_variant(config, name),
            **training,
            "evaluate": _evaluate(config, name),
            "engines": engines,
            "seed": seed,
        }
    cut |= _second_opinions(config)
    cut |= {"preflight": shapes.of(config, cut), "hours": shapes.work(config, cut), "prompts": texts(config)}
    return cut


def _evaluate(config: Config, variant: str) -> dict[str, Any] | None:
    """How a variant is evaluated while it trains; the items are the same for all runs."""
    if config.grpo.evaluate is None:
        return None
    found = config.grpo.evaluate.model_dump()
    trainer = grpo_variant(config, variant)["trainer"]
    longest = found["max_completion_tokens"] or trainer_options.value("grpo", trainer, "max_completion_length")
    return {**found, "max_completion_tokens": longest, "seed": config.seed}


def _second(config: Config) -> dict[str, Any]:
    """Which second opinions there are: tasks judged by lm-eval, tasks with other labels, what is answered again."""
    labels = {name: task.second_labels.task for name, task in config.tasks.items() if task.second_labels}
    variant, seed = config.runs()[0]
    again = [name for name, task in config.tasks.items() if task.eval != 0] if second_opinions.repeated(config) else []
    return {
        "lm_eval": second_opinions.judged_by_lm_eval(config),
        "labels": labels,
        "repeat": {"arm": f"grpo/{variant}/seed{seed}", "tasks": again},
    }


def _second_opinions(config: Config) -> dict[str, dict[str, Any]]:
    """The slices of second opinions."""
    found, cut = _second(config), {}
    common = {**config.evaluation.model_dump(include={"max_completion_tokens", "batch_size"}), "device": config.device}
    for task in found["lm_eval"]:
        cut[f"lm_eval/{task}"] = {"task": task, **common}
    for task, other in found["labels"].items():
        nothing = dict.fromkeys(("train", "sft"), 0) | dict.fromkeys(("eval", "system_prompt", "user_prompt"))
        options = config.tasks[task].second_labels.options
        data = {"task": other, **nothing, "options": options, "with_sft": False, "seed": config.seed}
        cut[f"data/{task}/second"] = data
        cut[f"relabel/{task}"] = {"task": task, "second": other}
    for task in found["repeat"]["tasks"]:
        more = {"engine": config.engines.generation, "items": second_opinions.repeated(config), "seed": config.seed}
        cut[f"repeat/{task}"] = {"task": task, **common, **more}
    return cut


def _leakage(config: Config) -> dict[str, dict[str, Any]]:
    """The step that checks each task's rows for leakage, and the words in a row that it counts besides."""
    found: dict[str, dict[str, Any]] = {"steps": {}, "ngrams": {}}
    for task in config.tasks:
        if config.has_rows(task):
            step = leakage.step_of(config.steps(task))
            found["steps"][task] = step and step.name
            if step and step.leakage and step.leakage["ngram"]:
                found["ngrams"][task] = step.leakage["ngram"]
    return found


def _shown(variant: dict[str, Any]) -> dict[str, Any]:
    return {key: variant[key] for key in ("rewards", "order", "dynamic")}


def _step(task: str, step: Step) -> dict[str, Any]:
    what = {"task": task, "step": step.name, "filter": step.filter, "options": step.options, "splits": step.splits}
    return {**what, "leakage": step.leakage}


def _rollouts(config: Config, task: str, step: Step) -> dict[str, Any]:
    """How to sample; the filter's own bounds only where sampling stops by them."""
    sampling = dataclasses.asdict(step.sampling)
    wanted = sampling.pop("wanted")
    bounds = {"filter": step.filter, "options": step.options} if sampling["target"] is not None else {}
    if bounds and wanted is None:
        raise RlvrError(f"filter {step.filter!r}: a target needs `wanted`")
    where = {"engine": config.engines.generation, "device": config.device}
    return {"task": task, **bounds, "sampling": sampling, "seed": config.seed, **where}
