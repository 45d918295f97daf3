"""The pass@k table, from several sampled completions an item."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from rlvr.errors import RlvrError
from rlvr.pass_at import estimate
from rlvr.reporting import accuracy, layout
from rlvr.reporting.results import SAMPLED, Results
from rlvr.statistics import proportions

COLUMNS = [
    *("arm", "variant", "seed", "task", "k", "items", "samples"),
    *("strict", "flexible", "strict_low", "strict_high"),
]


def table(results: Results, sampled: dict[str, Any]) -> pd.DataFrame:
    """One row an arm, task and k: means over the items of strict and flexible, and a 95 % interval of strict."""
    rows = [
        {**results.label(arm), "task": task, **row}
        for arm in results.arms
        for task in results.tasks
        for row in of_cell(results.scores(arm, task, SAMPLED), sampled)
    ]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"seed": "Int64"})


def of_cell(scores: pd.DataFrame, sampled: dict[str, Any]) -> list[dict[str, Any]]:
    """The figures of one cell for each k. Raises RlvrError for a k above the samples, or an item with too few."""
    samples = sampled["samples"]
    right = {name: counts(scores, name, samples) for name in ("strict", "flexible")}
    rows = []
    for k in sorted(sampled["pass_at"]):
        by_count = np.array([estimate(count, samples, k) for count in range(samples + 1)])
        items = {name: by_count[found] for name, found in right.items()}
        low, high = proportions.of_items(items["strict"]) or (None, None)
        n = len(items["strict"])
        means = {name: float(values.mean()) if n else None for name, values in items.items()}
        found = {**means, "strict_low": low, "strict_high": high}
        rows.append({"k": k, "items": n, "samples": samples} | {key: layout.rounded(v) for key, v in found.items()})
    return rows


def counts(scores: pd.DataFrame, name: str, samples: int) -> np.ndarray:
    """How many of each item's completions are right."""
    if len(scores) % samples:
        raise RlvrError(
            f"scores: {len(scores)} completions are not possible for {samples} an item; delete them and run again"
        )
    return scores[name].to_numpy(dtype=int).reshape(-1, samples).sum(axis=1)


def wide(tidy: pd.DataFrame) -> pd.DataFrame:
    """The table as people read it: a row an arm and task, and for each k strict and its interval in %."""
    rows: dict[tuple, dict[str, str]] = {}
    for row in tidy.sort_values("task", kind="stable").itertuples():
        head = {**accuracy.head(row), "task": row.task}
        line = rows.setdefault(tuple(head.values()), head)
        line[f"pass@{row.k} strict %"] = layout.percent(row.strict)
        line[f"pass@{row.k} 95 % interval"] = layout.between(row.strict_low, row.strict_high)
        line["n"] = f"{row.items} × {row.samples}"
    return pd.DataFrame(list(rows.values()))
