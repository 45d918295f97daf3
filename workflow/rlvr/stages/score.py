"""Judges completions with the task's verifier; needs no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlvr import tables
from rlvr.errors import RlvrError
from rlvr_plugins.manager import catalogue


def run(config: dict[str, Any], *, data: Path, completions: Path, scores: Path) -> dict[str, Any]:
    """`scores` gets a row an item, in the order of `data`: the fields of a verdict."""
    task = catalogue().task(config["task"])
    items, answers = tables.read(data), tables.read(completions)
    if [row["key"] for row in items] != [row["key"] for row in answers]:
        raise RlvrError(f"{completions}: its items are not those of {data}; delete it and run again")
    judged = []
    for item, answer in zip(items, answers, strict=True):
        verdict = task.verify(answer["completion"], tables.to_example(item["key"], item["example"]))
        judged.append({"key": item["key"], **vars(verdict)})
    tables.write(scores, judged, tables.SCORE)
    return {"items": len(judged), "strict": sum(row["strict"] for row in judged)}
