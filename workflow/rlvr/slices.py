"""Cuts an experiment into what each stage depends on, and lists what it reads and compares."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlvr.config import Config, Tiny, task_options
from rlvr_plugins.manager import catalogue


def source_files(config: Config, task: str) -> list[str]:
    """Local files that a task's items come from."""
    plugin = catalogue().task(task)
    return list(plugin.files(task_options(task, config.tasks[task].options))) if plugin.files else []


def base_files(config: Config) -> list[str]:
    """Files of a base model that is a local folder."""
    if config.base.kind != "folder":
        return []
    return sorted(str(path) for path in Path(config.base.model).expanduser().iterdir() if path.is_file())


def grpo_variant(config: Config, name: str) -> dict[str, Any]:
    """Rewards and trainer options of a variant, laid over those of `grpo`."""
    variant = config.grpo.variants[name]
    return {
        "rewards": config.grpo.rewards if variant.rewards is None else variant.rewards,
        "trainer": {**config.grpo.trainer, **variant.trainer},
        "max_failures": config.grpo.max_failures,
    }


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
            "tasks": list(config.tasks),
            "arms": arms(config),
            "rewards": {name: grpo_variant(config, name)["rewards"] for name in config.grpo.variants},
        },
    }
    for name, task in whole["tasks"].items():
        cut[f"data/{name}"] = {"task": name, **task, "with_sft": config.sft is not None, "seed": config.seed}
        cut[f"filter/{name}"] = {"filters": whole["filters"]}
        cut[f"score/{name}"] = {"task": name}
    if config.sft:
        cut["sft"] = {"trainer": whole["sft"]["trainer"], **training, "seed": config.seed}
    for name in config.grpo.variants:
        for seed in config.seeds:
            cut[f"grpo/{name}/seed{seed}"] = {**grpo_variant(config, name), **training, "seed": seed}
    return cut


def arms(config: Config) -> list[str]:
    """The models the report compares: base, sft, grpo/<variant>/seed<k>."""
    trained = [f"grpo/{name}/seed{seed}" for name in config.grpo.variants for seed in config.seeds]
    return ["base", *(["sft"] if config.sft else []), *trained]
