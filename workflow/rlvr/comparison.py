"""What an experiment compares: its arms, the cells in which they answer, and the prompts they answer under."""

from __future__ import annotations

from typing import Any

from rlvr import controls
from rlvr.cells import AS, TRAINING, Cell
from rlvr.config import Config
from rlvr_plugins.manager import catalogue


def arms(config: Config) -> list[str]:
    """The models the report compares: base, sft or sft/<variant>, sft/longer, grpo/<variant>/seed<k>."""
    trained = [f"grpo/{name}/seed{seed}" for name, seed in config.runs()]
    longer = [f"sft/{controls.LONGER}"] if "sft_longer" in config.controls else []
    return ["base", *config.sft_arms(), *longer, *trained]


def starts(config: Config) -> dict[str, str]:
    """The arm that each trained one goes on from."""
    found = dict.fromkeys(config.sft_arms(), "base")
    first = next(iter(config.grpo.variants))
    found |= {f"sft/{controls.LONGER}": config.start_of(first)} if "sft_longer" in config.controls else {}
    return found | {f"grpo/{name}/seed{seed}": config.start_of(name) or "base" for name, seed in config.runs()}


def decodings(config: Config) -> list[str]:
    """How the held-out items are answered: `greedy`, and `sampled` where the config asks for it."""
    return ["greedy", *(["sampled"] if config.evaluation.sampled else [])]


def cells(config: Config) -> list[Cell]:
    """What is answered and judged: each arm and task in each decoding, and with `evaluation.cross_protocol` also under
    the prompts of the others, where these differ."""
    found = []
    for arm in arms(config):
        for task, settings in config.tasks.items():
            if settings.eval == 0:
                continue
            for mode in decodings(config):
                named = [mode, *(f"{mode}{AS}{other}" for other in _others(config, arm, task))]
                found += [Cell(arm, task, each, prompt_of(config, arm, task, each)) for each in named]
    return found


def prompt_of(config: Config, arm: str, task: str, decoding: str) -> str:
    """Whose prompt an arm answers a task under: `training`, or the kind of arm that has a prompt of its own."""
    kind, other = arm.partition("/")[0], decoding.partition(AS)[2]
    return other or (kind if kind in config.tasks[task].prompts else TRAINING)


def prompt(config: Config, task: str, arm: str = "") -> dict[str, str | None]:
    """System and user prompt under which an arm or kind of arm answers a task, or for any other name that of training;
    a user prompt of None: the task's own message."""
    training, plugin = config.tasks[task], catalogue().task(task)
    own = training.prompts.get(arm.partition("/")[0])
    found = {"system_prompt": plugin.system, "user_prompt": None}
    for given in (training, own):
        for key in found:
            if given is not None and getattr(given, key) is not None:
                found[key] = getattr(given, key)
    return found


def own_prompts(config: Config) -> list[dict[str, Any]]:
    """What the report says of prompts, for each task of which an arm has its own: that one and that of training."""
    shown = []
    for task, settings in config.tasks.items():
        kinds = [kind for kind in _kinds(config) if kind in settings.prompts]
        if kinds and settings.eval != 0:
            shown.append({"task": task, "arm": "all others", **prompt(config, task)})
            shown += [{"task": task, "arm": kind, **prompt(config, task, kind)} for kind in kinds]
    return shown


def texts(config: Config) -> dict[str, dict[str, dict[str, str | None]]]:
    """The prompts of each evaluated task, by whose they are."""
    texts: dict[str, dict[str, dict[str, str | None]]] = {}
    for cell in cells(config):
        texts.setdefault(cell.task, {})[cell.prompt] = prompt(config, cell.task, cell.prompt)
    return texts


def _others(config: Config, arm: str, task: str) -> list[str]:
    """Whose prompts an arm also answers a task under; those that say the same count once."""
    if not config.evaluation.cross_protocol:
        return []
    kinds = [kind for kind in _kinds(config) if kind in config.tasks[task].prompts]
    known, found = [prompt(config, task, arm)], []
    for other in (TRAINING, *kinds):
        if (text := prompt(config, task, other)) not in known:
            known.append(text)
            found.append(other)
    return found


def _kinds(config: Config) -> list[str]:
    """The kinds of arms there are."""
    return list(dict.fromkeys(arm.partition("/")[0] for arm in arms(config)))
