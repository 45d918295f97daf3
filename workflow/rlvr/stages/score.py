"""Judges completions with the task's verifier; needs no model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlvr import console, protocol, protocol_lock, tables
from rlvr.errors import RlvrError
from rlvr.patience import watched
from rlvr.protocol import Protocol
from rlvr_plugins import Example, Task, Verdict
from rlvr_plugins.guard import Judge
from rlvr_plugins.manager import catalogue
from rlvr_plugins.types import ERROR

MAX_ERRORS = 0.1


def run(config: dict[str, Any], *, data: Path, completions: Path, scores: Path) -> dict[str, Any]:
    """`scores` gets a row a completion, in their order: the fields of a verdict, and which answer it is of.

    Each item of `data` has one completion, or as many as every other one, which stand together. Raises
    RlvrError when the verifier failed on more than a tenth of the completions, or where one stands under another
    prompt than its protocol says.
    """
    task = catalogue().task(config["task"])
    answers = tables.read(completions, ["key", "prompt", "completion"])
    items = _repeated(tables.read(data, ["key", "prompt", "example"]), len(answers))
    if [row["key"] for row in items] != [row["key"] for row in answers]:
        raise RlvrError(f"{completions}: its items are not those of {data}; delete it and run again")
    given = protocol_lock.stored(completions)
    _require_prompts(task.name, answers, items, given, protocol_lock.stored(data))
    examples = [tables.to_example(item["key"], item["example"]) for item in items]
    verdicts = judged(task, [(row["completion"], example) for row, example in zip(answers, examples, strict=True)])
    rows = [
        {**vars(verdict), "key": answer["key"], "completion_sha256": tables.fingerprint(**answer)}
        for answer, verdict in zip(answers, verdicts, strict=True)
    ]
    tables.write(scores, rows, tables.SCORE)
    errors = sum(verdict.status == ERROR for verdict in verdicts)
    counts = {"completions": len(rows), "strict": sum(row["strict"] for row in rows), "errors": errors}
    return {**counts, "protocol": protocol.facts(given)} if given else counts


def judged(task: Task, pairs: list[tuple[str, Example]]) -> list[Verdict]:
    """The verdict on each completion. Raises RlvrError when the verifier failed on more than a tenth of them."""
    judge = Judge(task)
    try:
        with watched("task", task):
            verdicts = judge.judge_all(pairs)
    finally:
        judge.close()
    errors = [verdict.reason for verdict in verdicts if verdict.status == ERROR]
    if len(errors) > MAX_ERRORS * len(verdicts):
        raise RlvrError(f"the verifier of {task.name!r} failed on {len(errors)} of {len(verdicts)}: {errors[0]}")
    if errors:
        console.say(f"score: the verifier failed on {len(errors)} of {len(verdicts)}, counted as wrong: {errors[0]}")
    return verdicts


def _require_prompts(
    task: str,
    answers: list[dict[str, Any]],
    items: list[dict[str, Any]],
    given: Mapping[str, Protocol],
    of_data: Mapping[str, Protocol],
) -> None:
    """Raises RlvrError naming the first answer whose prompt is not the one of its protocol, where that is known."""
    if task not in given:
        return
    protocol_lock.of_rows(({"task": task, **row} for row in answers), given)
    if task in of_data and not protocol.difference(given[task], of_data[task], protocol.ROWS):
        for answer, item in zip(answers, items, strict=True):
            if answer["prompt"] != item["prompt"]:
                raise RlvrError(f"row {answer['key']!r} of {task}: was answered under another prompt than the item has")


def _repeated(items: list[dict[str, Any]], rows: int) -> list[dict[str, Any]]:
    """Each item as many times in a row as it has completions."""
    samples = max(1, rows // max(1, len(items)))
    return [item for item in items for _ in range(samples)]
