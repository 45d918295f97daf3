"""Tables of what the filters did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd


def filter_table(found: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """A row a task, split and filter, from the `stats.json` of each task: rows in, kept, and dropped by reason."""
    rows = []
    for task, stats in found.items():
        for split, counts in stats["splits"].items():
            left = counts["rows"]
            if not left:
                continue
            for step, reasons in counts["dropped"].items():
                dropped = sum(reasons.values())
                rows.append(_row(task, split, step, left, left - dropped, reasons))
                left -= dropped
    return pd.DataFrame(rows, columns=["task", "split", "filter", "rows", "kept", "dropped", "why"])


def _row(task: str, split: str, step: str, rows: int, kept: int, reasons: Mapping[str, int]) -> dict[str, str]:
    why = ", ".join(f"{reason} {number}" for reason, number in reasons.items() if number)
    numbers = {"rows": rows, "kept": kept, "dropped": rows - kept}
    return {"task": task, "split": split, "filter": step, **{key: str(n) for key, n in numbers.items()}, "why": why}
