"""What an experiment says of second opinions, checked: lm-eval, another task's labels, items answered once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlvr import availability, plugin_options, problems
from rlvr.errors import RlvrError
from rlvr.sections import SecondLabels
from rlvr_plugins import Task
from rlvr_plugins.manager import PluginError, catalogue
from rlvr_plugins.verifiers.numbers import verify_number

if TYPE_CHECKING:
    from rlvr.config import Config

REPEATED = 64


def check_labels(task: Task, section: SecondLabels) -> None:
    """Raises RlvrError naming the key."""
    try:
        other = catalogue().task(section.task)
    except PluginError as error:
        raise RlvrError(f"task: {error}") from None
    if other.verify is not task.verify or task.question is None or other.question is None:
        alike = [
            name
            for name, each in catalogue().tasks.items()
            if each.verify is task.verify and each.question and task.question
        ]
        raise RlvrError(
            f"task: {section.task!r} is not possible, as {task.name!r} is judged otherwise or its questions have no "
            f"wording; allowed: {', '.join(alike) or 'no task'}"
        )
    try:
        options = plugin_options.load("task", other.name, section.options)
        if other.check:
            other.check(options, 0, None)
    except (RlvrError, ValueError) as error:
        raise RlvrError(problems.line("options", str(error))) from None


def judged_by_lm_eval(config: Config) -> list[str]:
    """The evaluated tasks whose gold is a number, which lm-eval's task `gsm8k` can judge; none where not asked for.

    Raises ValueError where it is asked for and there are none.
    """
    if not config.evaluation.lm_eval:
        return []
    evaluated = [name for name, task in config.tasks.items() if task.eval != 0]
    found = [name for name in evaluated if catalogue().task(name).verify is verify_number]
    if not found:
        raise ValueError(
            f"evaluation.lm_eval: true is not possible, as no answer of {', '.join(evaluated)} is a number; allowed: "
            "false, or a task such as gsm8k"
        )
    return found


def require_lm_eval() -> None:
    """Raises RlvrError where lm-eval is not installed."""
    if availability.missing("lm-eval"):
        raise RlvrError(
            'evaluation.lm_eval: lm-eval is not installed; allowed: `pip install -e ".[lm-eval]"`, or leave it out'
        )


def repeated(config: Config) -> int:
    """Items that one model answers once more; 0: none."""
    if config.evaluation.repeat is not None:
        return config.evaluation.repeat
    on_gpu = config.device == "cuda" or (config.device == "auto" and availability.NVIDIA.exists())
    return REPEATED if on_gpu or config.engines.generation == "vllm" else 0
