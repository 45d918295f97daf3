"""The pass@1 table."""

from __future__ import annotations

from typing import Any

import pandas as pd

from rlvr.reporting import layout
from rlvr.reporting.results import GREEDY, Results
from rlvr.statistics import proportions
from rlvr_plugins.types import MISSING, UNREADABLE

COLUMNS = [
    *("arm", "variant", "seed", "task", "n", "strict", "flexible", "strict_low", "strict_high"),
    *("truncated", "no_answer", "cell"),
]


def table(results: Results) -> pd.DataFrame:
    """One row an arm and task, as fractions of its n items: strict with the 95 % Wilson interval, flexible, cut off at
    the token limit (`truncated`), and without an answer that can be read (`no_answer`)."""
    rows = [
        {**results.label(arm), **_row(results.scores(arm, task), results.completions(arm, task)), "task": task}
        | {"cell": f"{arm.path}/{task}/{GREEDY}"}
        for arm in results.arms
        for task in results.tasks
    ]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"seed": "Int64"})


def _row(scores: pd.DataFrame, completions: pd.DataFrame) -> dict:
    low, high = proportions.wilson(int(scores["strict"].sum()), len(scores)) or (None, None)
    shares = {
        "strict": scores["strict"],
        "flexible": scores["flexible"],
        "truncated": completions["finish"] == "length",
        "no_answer": scores["status"].isin([MISSING, UNREADABLE]),
    }
    found = {name: values.astype(float).mean() for name, values in shares.items()}
    found |= {"strict_low": low, "strict_high": high}
    return {"n": len(scores), **{name: layout.rounded(value) for name, value in found.items()}}


def wide(tidy: pd.DataFrame, gains: dict[str, str]) -> pd.DataFrame:
    """The table as people read it, in %: a row an arm and task. gains: over the arm's start, by cell."""
    rows = [
        {
            **head(row),
            "task": row.task,
            "strict %": layout.percent(row.strict),
            "95 % interval": layout.between(row.strict_low, row.strict_high),
            "gain over start": gains.get(row.cell, ""),
            "flexible %": layout.percent(row.flexible),
            "truncated %": layout.percent(row.truncated),
            "no answer %": layout.percent(row.no_answer),
            "n": str(row.n),
        }
        for row in tidy.sort_values("task", kind="stable").itertuples()
    ]
    return pd.DataFrame(rows)


def head(row: Any) -> dict[str, str]:
    """Arm, variant and seed of a row, as text."""
    return {"arm": row.arm, "variant": row.variant, "seed": "" if pd.isna(row.seed) else str(row.seed)}
