"""Makes or loads a task's items and renders them as prompts and demonstrations."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rlvr import console, leaks, protocol, tables
from rlvr.config import task_options
from rlvr.errors import RlvrError
from rlvr.protocol import Protocol
from rlvr.provenance import sha256
from rlvr_plugins import Example, Splits, Task, calls
from rlvr_plugins.manager import catalogue
from rlvr_plugins.tasks.columnar import digests
from rlvr_plugins.tasks.hub import HubError

NOTES = 50


def run(config: dict[str, Any], *, train: Path, eval: Path, sft: Path, stats: Path) -> dict[str, Any]:
    """Writes `train`, `eval` (columns of `tables.ITEM`) and `sft` (`tables.DEMONSTRATION`), in batches.

    The three come from one call of the task's `splits`; SFT takes the first rows of the training
    pool. `stats` gets the rows written, the sha256 of each file read, what the task left out by reason, up to
    50 lines on such rows, the training rows among them that stand in the task's own evaluation file, and the number of
    training items whose answer the verifier can't read. Raises RlvrError when the splits overlap or are smaller than
    asked for, a held-out answer can't be read, or with `leakage: refuse` a training row was left out for the last
    reason.
    """
    with calls.calling(f"task {config['task']!r}", calls.DATA_SECONDS):
        return _write(config, train, eval, sft, stats)


def _write(config: dict[str, Any], train: Path, eval: Path, sft: Path, stats: Path) -> dict[str, Any]:
    name = config["task"]
    task = catalogue().task(name)
    sizes = {key: config[key] for key in ("train", "eval", "sft")}
    if not config["with_sft"]:
        sizes["sft"] = 0
    found = _splits(task, config, sizes)
    if config.get("leakage") == "refuse" and found.shared:
        raise RlvrError(leaks.refusal_of_source(name, found.shared, found.first_shared))
    _check(name, sizes, found)

    prompt = (config["system_prompt"], config["user_prompt"])
    training, demonstrated = found.train[: sizes["train"]], found.train[: sizes["sft"]]
    unreadable = _Unreadable(task)
    if len(training) >= len(demonstrated):
        training = unreadable.counted(training)
    else:
        demonstrated = unreadable.counted(demonstrated)
    rows = {
        "eval": tables.write_stream(eval, (_row(task, e, prompt) for e in _sound(task, found.eval)), tables.ITEM),
        "train": tables.write_stream(train, (_row(task, e, prompt) for e in training), tables.ITEM),
        "sft": tables.write_stream(sft, (_demonstration(task, e, prompt) for e in demonstrated), tables.DEMONSTRATION),
    }
    facts = {
        "rows": rows,
        "files": {path: sha256(Path(path)) for path in _files(task, config)},
        "left_out": dict(found.left_out),
        "in_own_evaluation": found.shared,
        "unreadable_answers": unreadable.count,
        "notes": [*found.remarks, *found.notes][:NOTES],
    }
    stats.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    _tell(name, facts, stats)
    for line in found.remarks:
        console.say(f"{name}: {line}")
    system = task.system if config["system_prompt"] is None else config["system_prompt"]
    return {"rows": rows, "protocol": protocol.facts({name: Protocol(name, system, config["user_prompt"])})}


def _files(task: Task, config: dict[str, Any]) -> Sequence[str]:
    return task.files(task_options(task.name, config["options"])) if task.files else ()


def _splits(task: Task, config: dict[str, Any], sizes: dict[str, int | None]) -> Splits:
    pool_size = None if None in (sizes["train"], sizes["sft"]) else max(sizes["train"], sizes["sft"])
    try:
        return task.items(task_options(task.name, config["options"]), pool_size, sizes["eval"], config["seed"])
    except (HubError, ValueError) as error:
        raise RlvrError(f"tasks.{task.name}: {error}") from None


def _check(name: str, sizes: dict[str, int | None], found: Splits) -> None:
    pool, held_out = found.train, found.eval
    left_out = "".join(f"; left out: {reason} {count}" for reason, count in found.left_out.items())
    for key, there_are in (("train", len(pool)), ("sft", len(pool)), ("eval", len(held_out))):
        if sizes[key] is not None and there_are < sizes[key]:
            raise RlvrError(f"tasks.{name}.{key}: {sizes[key]} is not possible; allowed: up to {there_are}, or null")
    trains = sizes["train"] != 0 or sizes["sft"] != 0
    for key, missing in (("train", trains and not len(pool)), ("eval", sizes["eval"] != 0 and not len(held_out))):
        if missing:
            raise RlvrError(f"tasks.{name}.{key}: there are no items{left_out}")
    places: dict[bytes, int] = {}
    for place, key in enumerate(digests(held_out)):
        if key in places:
            raise RlvrError(
                f"tasks.{name}: held-out items {places[key] + 1} and {place + 1} are the same question, "
                f"{held_out[place].key[:80]!r}, which would count twice; allowed: each once"
            )
        places[key] = place
    keys = set(places)
    shared = [place for place, key in enumerate(digests(pool)) if key in keys]
    if shared:
        first = pool[shared[0]].key
        raise RlvrError(f"tasks.{name}: {len(shared)} items are in both train and eval, such as {first!r}")


def _sound(task: Task, held_out: Sequence[Example]) -> Iterator[Example]:
    """The held-out items. Raises RlvrError at one whose own answer the verifier can't read."""
    for example in held_out:
        problem = task.gold(example) if task.gold else ""
        if problem:
            raise RlvrError(f"tasks.{task.name}: the held-out item {example.key[:60]!r} can't be judged: {problem}")
        yield example


class _Unreadable:
    """Counts the items whose own answer the verifier can't read."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.count = 0

    def counted(self, examples: Sequence[Example]) -> Iterator[Example]:
        for example in examples:
            self.count += bool(self.task.gold and self.task.gold(example))
            yield example


def _tell(name: str, facts: dict[str, Any], stats: Path) -> None:
    rows = facts["rows"]
    console.note(f"{name}: {rows['train']} training items, {rows['eval']} held out")
    if facts["left_out"]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(facts["left_out"].items()))
        console.say(f"{name}: rows left out: {reasons}; see {stats}")
    if facts["unreadable_answers"]:
        console.say(
            f"{name}: {facts['unreadable_answers']:,} training items have an answer that the verifier can't read; "
            "the filter `gold` drops them"
        )


def _row(task: Task, example: Example, prompt: tuple[str | None, str | None]) -> dict[str, Any]:
    return {
        "task": task.name,
        "key": example.key,
        "prompt": task.prompt(example, *prompt),
        "example": tables.to_text(example),
    }


def _demonstration(task: Task, example: Example, prompt: tuple[str | None, str | None]) -> dict[str, Any]:
    completion = [{"role": "assistant", "content": task.demonstrate(example)}]
    return {**_row(task, example, prompt), "completion": completion}
