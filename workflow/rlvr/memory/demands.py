"""Which prompts of an experiment meet which completions, and how long demonstrations may be, cut from its config."""

from __future__ import annotations

from typing import Any

from rlvr import comparison, trainer_options
from rlvr.cells import TRAINING
from rlvr.config import Config

COMPLETION = "max_completion_length"
EVALUATION = "evaluation.max_completion_tokens"


def of(config: Config, cut: dict[str, dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """`demands`: for rows of a split and task the longest completion, tokens, and the key it has; under the prompt
    of the data, or one that an arm has of its own.

    `sft`: the bounds on prompt and demonstration together, tokens; None: none. cut: the stages' slices.
    """
    return {"demands": _distinct([*_held_out(config, cut), *_trained(config, cut)]), "sft": _sft(config, cut)}


def _held_out(config: Config, cut: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for cell in comparison.cells(config):
        own = (
            None
            if cell.prompt == TRAINING
            else {"arm": cell.prompt, **comparison.prompt(config, cell.task, cell.prompt)}
        )
        found.append(_demand(EVALUATION, config.evaluation.max_completion_tokens, "eval", [cell.task], own))
    evaluated = [task for task, settings in config.tasks.items() if settings.eval != 0]
    for name, slice_ in cut.items():
        if name.startswith("grpo/") and slice_["evaluate"]:
            most = slice_["evaluate"]["max_completion_tokens"]
            found.append(_demand("grpo.evaluate.max_completion_tokens", most, "eval", evaluated))
    return found


def _trained(config: Config, cut: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    tasks = [task for task, settings in config.tasks.items() if settings.train != 0]
    found = []
    for name, slice_ in cut.items():
        stage, _, rest = name.partition("/")
        if stage == "rollouts":
            most = slice_["sampling"]["max_completion_tokens"]
            step = rest.rpartition("/")[2].partition("-")[2]
            found.append(_demand(f"filters.{step}.max_completion_tokens", most, "train", [slice_["task"]]))
        if stage == "grpo":
            variant = config.grpo.variants.get(rest.partition("/")[0])
            own = variant is not None and COMPLETION in variant.trainer
            where = f"grpo.variants.{rest.partition('/')[0]}.trainer" if own else "grpo.trainer"
            most = trainer_options.value("grpo", slice_["trainer"], COMPLETION)
            found.append(_demand(f"{where}.{COMPLETION}", most, "train", tasks))
    return found


def _sft(config: Config, cut: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for name, slice_ in cut.items():
        if name.partition("/")[0] == "sft":
            bound = {
                "key": "sft.trainer.max_length",
                "max_length": trainer_options.value("sft", slice_["trainer"], "max_length"),
            }
            found += [bound] if bound not in found else []
    return found


def _demand(key: str, completion: int, split: str, tasks: list[str], prompt: dict[str, Any] | None = None) -> dict:
    return {"key": key, "completion": completion, "split": split, "tasks": tasks, "prompt": prompt}


def _distinct(demands: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each pair of rows and prompt once, with its longest completion."""
    found: list[dict[str, Any]] = []
    for demand in demands:
        same = next((each for each in found if _rows(each) == _rows(demand)), None)
        if same is None:
            found.append(demand)
        elif demand["completion"] > same["completion"]:
            same |= demand
    return found


def _rows(demand: dict[str, Any]) -> tuple:
    return demand["split"], demand["tasks"], demand["prompt"]
