"""Makes or loads a task's items and renders them as prompts and demonstrations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlvr import console, tables
from rlvr.config import task_options
from rlvr.errors import RlvrError
from rlvr_plugins import Example, Task
from rlvr_plugins.manager import catalogue
from rlvr_plugins.tasks.hub import HubError


def run(config: dict[str, Any], *, train: Path, eval: Path, sft: Path) -> dict[str, Any]:
    """Writes `train`, `eval` (columns of `tables.ITEM`) and `sft` (`tables.DEMONSTRATION`).

    The three come from one call of the task's `splits`; SFT takes the first rows of the training
    pool. Raises RlvrError when the splits overlap or are smaller than asked for.
    """
    name = config["task"]
    task = catalogue().task(name)
    sizes = {key: config[key] for key in ("train", "eval", "sft")}
    if not config["with_sft"]:
        sizes["sft"] = 0
    pool_size = None if None in (sizes["train"], sizes["sft"]) else max(sizes["train"], sizes["sft"])
    try:
        pool, held_out = task.splits(task_options(name, config["options"]), pool_size, sizes["eval"], config["seed"])
    except (HubError, ValueError) as error:
        raise RlvrError(f"tasks.{name}: {error}") from None
    _check(name, sizes, list(pool), list(held_out))

    system = config["system_prompt"]
    demonstrated = pool[: sizes["sft"]]
    tables.write(train, [_row(task, e, system) for e in pool[: sizes["train"]]], tables.ITEM)
    tables.write(eval, [_row(task, e, system) for e in held_out], tables.ITEM)
    tables.write(sft, [_demonstration(task, e, system) for e in demonstrated], tables.DEMONSTRATION)
    console.note(f"{name}: {len(pool)} training items, {len(held_out)} held out")
    return {"rows": {"train": len(pool[: sizes["train"]]), "eval": len(held_out), "sft": len(demonstrated)}}


def _check(name: str, sizes: dict[str, int | None], pool: list[Example], held_out: list[Example]) -> None:
    for key, there_are in (("train", len(pool)), ("sft", len(pool)), ("eval", len(held_out))):
        if sizes[key] is not None and there_are < sizes[key]:
            raise RlvrError(f"tasks.{name}.{key}: {sizes[key]} is not possible; allowed: up to {there_are}, or null")
    for key, rows in (("train", pool if sizes["train"] != 0 or sizes["sft"] != 0 else [None]), ("eval", held_out)):
        if not rows:
            raise RlvrError(f"tasks.{name}.{key}: there are no items")
    shared = {example.key for example in pool} & {example.key for example in held_out}
    if shared:
        raise RlvrError(f"tasks.{name}: {len(shared)} items are in both train and eval, such as {min(shared)!r}")


def _row(task: Task, example: Example, system: str | None) -> dict[str, Any]:
    return {
        "task": task.name,
        "key": example.key,
        "prompt": task.prompt(example, system),
        "example": tables.to_text(example),
    }


def _demonstration(task: Task, example: Example, system: str | None) -> dict[str, Any]:
    completion = [{"role": "assistant", "content": task.demonstrate(example)}]
    return {**_row(task, example, system), "completion": completion}
