"""The table of training and SFT rows that stand in an evaluation set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from rlvr import tables
from rlvr.reporting.results import Results

COLUMNS = ["task", "split", "rows compared", "evaluation items", "found by rule", "share words", "dropped"]
NOT_CHECKED = "not checked"


def table(results: Results, steps: Mapping[str, str | None], ngrams: Mapping[str, int]) -> pd.DataFrame:
    """A row a task and split. steps: the one that checks a task; None: none does. ngrams: words in the runs that
    `share words` is about, by task."""
    evaluation = str(sum(_rows(results, task) for task in results.tasks))
    rows = []
    for task, step in steps.items():
        rows += _within(results, task)
        if step is None:
            rows.append({"task": task, "split": "all", "found by rule": NOT_CHECKED})
            continue
        stats = json.loads((results.folder / "data" / task / step / "stats.json").read_text(encoding="utf-8"))
        for split in ("train", "sft"):
            if stats.get(split, {}).get("rows"):
                rows.append(_row(task, split, stats, evaluation, ngrams.get(task)))
    return pd.DataFrame(rows, columns=COLUMNS).fillna("")


def _within(results: Results, task: str) -> list[dict[str, str]]:
    """What was left out of a task's training file, as it stands in the task's own evaluation file."""
    file = results.folder / "data" / task / "raw" / "stats.json"
    count = json.loads(file.read_text(encoding="utf-8")).get("in_own_evaluation") if file.is_file() else 0
    found = {"found by rule": f"item {count}", "dropped": str(count), "evaluation items": str(_rows(results, task))}
    return [{"task": task, "split": "source file", **found}] if count else []


def _row(task: str, split: str, stats: Mapping[str, Any], evaluation: str, ngram: int | None) -> dict[str, str]:
    counts = stats[split]
    found = {reason.rpartition(": ")[2]: number for reason, number in counts["dropped"].items()}
    shared = stats.get("shared", {}).get(split)
    return {
        "task": task,
        "split": split,
        "rows compared": str(counts["rows"]),
        "evaluation items": evaluation,
        "found by rule": ", ".join(f"{rule} {number}" for rule, number in found.items()) or "none",
        "share words": "" if shared is None else f"{shared} ({ngram} words in a row)",
        "dropped": str(counts["rows"] - counts["kept"]),
    }


def _rows(results: Results, task: str) -> int:
    return tables.count(results.folder / "data" / task / "raw" / "eval.parquet")
