"""Judges completions with the task's verifier; needs no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlvr import console, tables
from rlvr.errors import RlvrError
from rlvr.patience import watched
from rlvr_plugins.guard import Judge
from rlvr_plugins.manager import catalogue
from rlvr_plugins.types import ERROR

MAX_ERRORS = 0.1


def run(config: dict[str, Any], *, data: Path, completions: Path, scores: Path) -> dict[str, Any]:
    """`scores` gets a row a completion, in their order: the fields of a verdict.

    Each item of `data` has one completion, or as many as every other one, which stand together. Raises
    RlvrError when the verifier failed on more than a tenth of the completions.
    """
    task = catalogue().task(config["task"])
    answers = tables.read(completions)
    items = _repeated(tables.read(data), len(answers))
    if [row["key"] for row in items] != [row["key"] for row in answers]:
        raise RlvrError(f"{completions}: its items are not those of {data}; delete it and run again")
    examples = [tables.to_example(item["key"], item["example"]) for item in items]
    judge = Judge(task)
    try:
        pairs = [(row["completion"], example) for row, example in zip(answers, examples, strict=True)]
        with watched("task", task):
            verdicts = judge.judge_all(pairs)
    finally:
        judge.close()
    errors = [verdict.reason for verdict in verdicts if verdict.status == ERROR]
    if len(errors) > MAX_ERRORS * len(verdicts):
        raise RlvrError(f"the verifier of {task.name!r} failed on {len(errors)} of {len(verdicts)}: {errors[0]}")
    if errors:
        console.say(f"score: the verifier failed on {len(errors)} of {len(verdicts)}, counted as wrong: {errors[0]}")
    rows = [{"key": item["key"], **vars(verdict)} for item, verdict in zip(items, verdicts, strict=True)]
    tables.write(scores, rows, tables.SCORE)
    return {"completions": len(rows), "strict": sum(row["strict"] for row in rows), "errors": len(errors)}


def _repeated(items: list[dict[str, Any]], rows: int) -> list[dict[str, Any]]:
    """Each item as many times in a row as it has completions."""
    samples = max(1, rows // max(1, len(items)))
    return [item for item in items for _ in range(samples)]
