"""Answers a task's held-out items with one model, greedily."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rlvr import tables
from rlvr.engines import device, generation


def run(config: dict[str, Any], *, model: Path, data: Path, completions: Path) -> dict[str, Any]:
    """`completions` gets a row an item, in the order of `data`: key, completion, tokens, finish."""
    chosen = device.choose(config["device"])
    rows = tables.read(data)
    answers = generation.generate(
        model,
        [row["prompt"] for row in rows],
        chosen,
        config["max_completion_tokens"],
        config["batch_size"],
        title="generate",
    )
    keyed = [{"key": row["key"], **answer} for row, answer in zip(rows, answers, strict=True)]
    tables.write(completions, keyed, tables.COMPLETION)
    return {"device": str(chosen), "items": len(rows), "tokens": sum(a["tokens"] for a in answers)}
