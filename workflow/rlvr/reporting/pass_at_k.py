"""The pass@k table, from several sampled completions an item."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest, bootstrap

from rlvr.pass_at import estimate
from rlvr.reporting import accuracy
from rlvr.reporting.results import Arm, Results

COLUMNS = [
    *("arm", "variant", "seed", "task", "k", "items", "samples"),
    *("strict", "flexible", "strict_low", "strict_high"),
]
RESAMPLES = 2000


def table(results: Results, sampled: dict[str, Any]) -> pd.DataFrame:
    """One row an arm, task and k: means over the items of strict and flexible, and a 95 % interval of strict."""
    rows = [
        row
        for arm in results.arms
        for task in results.tasks
        for row in _rows(arm, task, results.scores(arm, task, "sampled"), sampled)
    ]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"seed": "Int64"})


def _rows(arm: Arm, task: str, scores: pd.DataFrame, sampled: dict[str, Any]) -> list[dict[str, Any]]:
    samples = sampled["samples"]
    right = {name: scores[name].to_numpy().reshape(-1, samples).sum(axis=1) for name in ("strict", "flexible")}
    rows = []
    for k in sorted(sampled["pass_at"]):
        by_count = np.array([estimate(count, samples, k) for count in range(samples + 1)])
        items = {name: by_count[counts] for name, counts in right.items()}
        low, high = interval(items["strict"])
        rows.append(
            {
                "arm": arm.kind,
                "variant": arm.variant,
                "seed": arm.seed,
                "task": task,
                "k": k,
                "items": len(items["strict"]),
                "samples": samples,
                "strict": round(float(items["strict"].mean()), 6),
                "flexible": round(float(items["flexible"].mean()), 6),
                "strict_low": round(low, 6),
                "strict_high": round(high, 6),
            }
        )
    return rows


def interval(items: np.ndarray) -> tuple[float, float]:
    """A 95 % interval of the mean of the items' estimates, by a percentile bootstrap over the items.

    Where all items are 0 or all are 1, which tells a bootstrap nothing, Wilson's. Of one item, 0 to 1.
    """
    if np.ptp(items) == 0 and items[0] in (0.0, 1.0):
        exact = binomtest(int(items.sum()), len(items)).proportion_ci(method="wilson")
        return float(exact.low), float(exact.high)
    if len(items) == 1:
        return 0.0, 1.0
    rng = np.random.default_rng(0)
    found = bootstrap((items,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=rng).confidence_interval
    return float(found.low), float(found.high)


def wide(tidy: pd.DataFrame) -> pd.DataFrame:
    """The table as people read it: a row an arm, and for each task and k strict and its interval in %."""
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in tidy.itertuples():
        line = rows.setdefault(accuracy.head(row), {})
        line[f"{row.task} pass@{row.k} strict %"] = f"{100 * row.strict:.1f}"
        line[f"{row.task} pass@{row.k} 95 % interval"] = f"{100 * row.strict_low:.1f}–{100 * row.strict_high:.1f}"
        line[f"{row.task} n"] = f"{row.items} × {row.samples}"
    return accuracy.lined_up(rows)
