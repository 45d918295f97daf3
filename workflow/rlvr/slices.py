"""Cuts an experiment into what each stage depends on, and lists what it reads and compares."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from rlvr import plugin_options, trackers
from rlvr.config import Config, Tiny, task_options
from rlvr.errors import RlvrError
from rlvr.filters import Step
from rlvr.memory import shapes
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
        "trainer": _trainer(config, config.grpo.trainer, variant.trainer),
        "dynamic": dynamic and dynamic.model_dump(),
        "max_failures": config.grpo.max_failures,
        "keep_completions": config.grpo.keep_completions,
        "order": variant.order or config.grpo.order,
    }


def sft_options(config: Config, arm: str) -> dict[str, Any]:
    """Trainer options of a warm-start, those of its variant laid over those of `sft`."""
    variant = config.sft.variants.get(arm.partition("/")[2])
    return {**config.sft.trainer, **(variant.trainer if variant else {})}


def _trainer(config: Config, *options: dict[str, Any]) -> dict[str, Any]:
    """Options laid over each other, those that decide a result, with steps in micro-batches."""
    return _in_micro_batches(trackers.without({k: v for each in options for k, v in each.items()}), config.micro_batch)


def _in_micro_batches(trainer: dict[str, Any], most: int | None) -> dict[str, Any]:
    """The options with the rows of a step split so that at most so many are computed at once."""
    if most is None:
        return trainer
    rows = trainer.get("per_device_train_batch_size", 8) * trainer.get("gradient_accumulation_steps", 1)
    size = max(part for part in range(1, min(most, rows) + 1) if rows % part == 0)
    return {**trainer, "per_device_train_batch_size": size, "gradient_accumulation_steps": rows // size}


def own_prompt(config: Config, task: str, arm: str) -> bool:
    """Whether an arm answers a task under another prompt than that of training."""
    return arm.partition("/")[0] in config.tasks[task].prompts


def prompt(config: Config, task: str, arm: str = "") -> dict[str, str | None]:
    """System and user prompt under which an arm answers a task, or that of training; a user prompt of None: the
    task's own message."""
    training, plugin = config.tasks[task], catalogue().task(task)
    own = training.prompts.get(arm.partition("/")[0])
    found = {"system_prompt": plugin.system, "user_prompt": None}
    for given in (training, own):
        for key in found:
            if given is not None and getattr(given, key) is not None:
                found[key] = getattr(given, key)
    return found


def decodings(config: Config) -> list[str]:
    """How the held-out items are answered: `greedy`, and `sampled` where the config asks for it."""
    return ["greedy", *(["sampled"] if config.evaluation.sampled else [])]


def generate_slice(config: Config, arm: str, task: str, decoding: str) -> str:
    """Name of the slice for answering a task with an arm: one for all arms that answer under the prompt of training."""
    kind = arm.partition("/")[0]
    own = f"{kind}/{task}" if own_prompt(config, task, arm) else ""
    return "/".join(part for part in ("generate", own, "" if decoding == "greedy" else decoding) if part)


def _generate(config: Config) -> dict[str, dict[str, Any]]:
    """The slices of `generate`. An arm's own prompt stands in its slice, those of training lie in the data."""
    common = config.evaluation.model_dump(exclude={"sampled"})
    common |= {"engine": config.engines.generation, "device": config.device}
    sampled = config.evaluation.sampled
    sampling = sampled and {**sampled.model_dump(exclude={"pass_at"}), "seed": config.seed}
    cut = {}
    for arm in arms(config):
        for task, settings in config.tasks.items():
            if settings.eval == 0:
                continue
            own = {"task": task, **prompt(config, task, arm)} if own_prompt(config, task, arm) else None
            for decoding in decodings(config):
                cut[generate_slice(config, arm, task, decoding)] = {
                    **common,
                    "sampled": None if decoding == "greedy" else sampling,
                    "prompt": own,
                }
    return cut


def _prompts(config: Config) -> list[dict[str, Any]]:
    """What the report says of prompts, for each task of which an arm has its own: that one and that of training."""
    shown = []
    for task, settings in config.tasks.items():
        kinds = [
            kind for kind in dict.fromkeys(arm.partition("/")[0] for arm in arms(config)) if kind in settings.prompts
        ]
        if kinds and settings.eval != 0:
            shown.append({"task": task, "arm": "all others", **prompt(config, task)})
            shown += [{"task": task, "arm": kind, **prompt(config, task, kind)} for kind in kinds]
    return shown


def _demand(config: Config, task: str) -> dict[str, Any]:
    """How many prompts, or passes over all rows, each variant samples; the first task that trains warns of too many."""
    asked, epochs = {}, {}
    for name in config.grpo.variants:
        trainer = grpo_variant(config, name)["trainer"]
        if trainer.get("max_steps", -1) > 0:
            asked[name] = _prompts_asked(trainer)
        else:
            epochs[name] = trainer.get("num_train_epochs", DEFAULT_EPOCHS)
    first = next(name for name, settings in config.tasks.items() if settings.train != 0)
    return {
        "prompts_asked": asked,
        "epochs": epochs,
        "max_epochs": config.grpo.max_epochs,
        "warns": task == first,
    }


def _prompts_asked(trainer: dict[str, Any]) -> float:
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
        "export": {"dtype": config.export.dtype},
        **_generate(config),
        "report": {
            **whole["report"],
            "experiment": config.experiment,
            "base": whole["base"],
            "tasks": [name for name, task in config.tasks.items() if task.eval != 0],
            "steps": {task: [step.name for step in config.steps(task)] for task in config.tasks},
            "arms": arms(config),
            "sampled": config.evaluation.sampled and config.evaluation.sampled.model_dump(),
            "prompts": _prompts(config),
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
        own = {key: value for key, value in task.items() if key not in ("filters", "prompts")}
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
    if config.export.gguf:
        cut["gguf"] = {"type": config.export.gguf}
    obstacle = config.unsloth_obstacle()
    engines = {"training": config.engines.training, "obstacle": obstacle}
    for arm in config.sft_arms():
        own = sft_options(config, arm)
        cut[f"tracking/{arm}"] = trackers.settings(own, config.experiment, arm)
        cut[arm] = {"trainer": _trainer(config, own), **training, "engines": engines, "seed": config.seed}
    for name in config.grpo.variants:
        for seed in config.seeds:
            engines = {key: whole["engines"][key] for key in ("training", "rollouts", "server")} | {
                "obstacle": obstacle
            }
            arm, trainer = f"grpo/{name}/seed{seed}", {**config.grpo.trainer, **config.grpo.variants[name].trainer}
            cut[f"tracking/{arm}"] = trackers.settings(trainer, config.experiment, arm)
            cut[f"grpo/{name}/seed{seed}"] = {
                **grpo_variant(config, name),
                **training,
                "evaluate": _evaluate(config, name),
                "engines": engines,
                "seed": seed,
            }
    cut["preflight"] = shapes.of(config, cut)
    return cut


def _evaluate(config: Config, variant: str) -> dict[str, Any] | None:
    """How a variant is evaluated while it trains; the items are the same for all runs."""
    if config.grpo.evaluate is None:
        return None
    found = config.grpo.evaluate.model_dump()
    longest = found["max_completion_tokens"] or grpo_variant(config, variant)["trainer"].get(
        "max_completion_length", 256
    )
    return {**found, "max_completion_tokens": longest, "seed": config.seed}


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
    where = {"engine": config.engines.generation, "device": config.device}
    return {"task": task, **bounds, "sampling": sampling, "seed": config.seed, **where}


def arms(config: Config) -> list[str]:
    """The models the report compares: base, sft or sft/<variant>, grpo/<variant>/seed<k>."""
    trained = [f"grpo/{name}/seed{seed}" for name in config.grpo.variants for seed in config.seeds]
    return ["base", *config.sft_arms(), *trained]
