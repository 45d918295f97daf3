"""The pass@1 table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import binomtest

from rlvr.reporting.results import Arm, Results

COLUMNS = ["arm", "variant", "seed", "task", "n", "strict", "flexible", "strict_low", "strict_high"]


def table(results: Results) -> pd.DataFrame:
    """One row an arm and task: n, accuracies and the 95 % Wilson interval of strict, as fractions."""
    rows = [_row(arm, task, results.scores(arm, task)) for arm in results.arms for task in results.tasks]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"seed": "Int64"})


def _row(arm: Arm, task: str, scores: pd.DataFrame) -> dict:
    n, right = len(scores), int(scores["strict"].sum())
    interval = binomtest(right, n).proportion_ci(method="wilson")
    return {
        "arm": arm.kind,
        "variant": arm.variant,
        "seed": arm.seed,
        "task": task,
        "n": n,
        "strict": round(right / n, 6),
        "flexible": round(float(scores["flexible"].mean()), 6),
        "strict_low": round(interval.low, 6),
        "strict_high": round(interval.high, 6),
    }


def wide(tidy: pd.DataFrame) -> pd.DataFrame:
    """The table as people read it: a row an arm, and for each task strict, interval, flexible in %."""
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in tidy.itertuples():
        line = rows.setdefault(head(row), {})
        line[f"{row.task} strict %"] = f"{100 * row.strict:.1f}"
        line[f"{row.task} 95 % interval"] = f"{100 * row.strict_low:.1f}–{100 * row.strict_high:.1f}"
        line[f"{row.task} flexible %"] = f"{100 * row.flexible:.1f}"
        line[f"{row.task} n"] = str(row.n)
    return lined_up(rows)


def head(row: Any) -> tuple[str, str, str]:
    """Arm, variant and seed of a row, as text."""
    return row.arm, row.variant, "" if pd.isna(row.seed) else str(row.seed)


def lined_up(rows: dict[tuple[str, str, str], dict[str, str]]) -> pd.DataFrame:
    heads = [dict(zip(("arm", "variant", "seed"), key, strict=True)) for key in rows]
    return pd.DataFrame([head | line for head, line in zip(heads, rows.values(), strict=True)])


def write(tidy: pd.DataFrame, readable: pd.DataFrame, folder: Path, name: str = "pass_at_1", note: str = "") -> None:
    """Writes `name.csv` (tidy, fractions), `.md` and `.tex` (as people read it, per cent). note: below the `.md`."""
    tidy.to_csv(folder / f"{name}.csv", index=False)
    (folder / f"{name}.md").write_text("\n\n".join([markdown(readable), *([note] if note else [])]) + "\n")
    tex = readable.rename(columns=lambda name: name.replace("%", r"\%").replace("_", r"\_"))
    tex["variant"] = tex["variant"].str.replace("_", r"\_")
    for column in tex.columns[tex.columns.str.contains("interval")]:
        tex[column] = tex[column].str.replace("–", "--")
    for column in tex.columns[tex.columns.str.endswith(" n")]:
        tex[column] = tex[column].str.replace("×", r"$\times$")
    layout = "lll" + "r" * (len(tex.columns) - 3)
    (folder / f"{name}.tex").write_text(tex.to_latex(index=False, escape=False, column_format=layout))


def markdown(frame: pd.DataFrame) -> str:
    align = ["left" if column in ("arm", "variant", "stage") else "right" for column in frame.columns]
    return frame.to_markdown(index=False, disable_numparse=True, colalign=align)
