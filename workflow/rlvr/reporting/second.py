"""Tables of second opinions: lm-eval, another task's labels, items answered once more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rlvr import tables
from rlvr.reporting import layout
from rlvr.reporting.results import Arm, Results
from rlvr.statistics import proportions

Tables = dict[str, pd.DataFrame]
LM_EVAL, LABELS, REPEAT = "lm_eval", "second_labels", "repeat"
JUDGES = ("strict", "flexible")


def write(results: Results, config: Mapping[str, Any], report: Path) -> Tables:
    """The tables there are, by name; what two judges differ on goes to `<name>_differences.csv` in the folder.

    config: `lm_eval`, the tasks it judged; `labels`, the second task of a task; `repeat`, the arm and its tasks.
    """
    found = {
        LM_EVAL: [_lm_eval(results, arm, task) for arm in results.arms for task in config["lm_eval"]],
        LABELS: [
            _labels(results, arm, task, other) for arm in results.arms for task, other in config["labels"].items()
        ],
    }
    tables = {}
    for name, parts in found.items():
        file = report / f"{name}_differences.csv"
        file.unlink(missing_ok=True)
        if parts:
            tables[name] = pd.DataFrame([row for row, _ in parts])
            pd.concat([differing for _, differing in parts]).to_csv(file, index=False)
    again = [_repeat(results, config["repeat"]["arm"], task) for task in config["repeat"]["tasks"]]
    return tables | ({REPEAT: pd.DataFrame([row for rows in again for row in rows])} if again else {})


def sentence(tables: Tables) -> str:
    """What was measured of repeating, "" where nothing was."""
    if REPEAT not in tables:
        return ""
    rows = tables[REPEAT].to_dict("records")
    return " ".join(
        f"{row['arm']} on {row['task']}, answered again {row['at once']} at once ({row['engine']}): of {row['n']} "
        f"items {row['identical']} identical, {row['strict flips']} strict verdicts flip, so that up to "
        f"{_bound(row)} % of all may (95 %)."
        for row in rows
    )


def _bound(row: Mapping[str, str]) -> str:
    """The upper end of Wilson's interval of the share of verdicts that flip."""
    found = proportions.wilson(int(row["strict flips"]), int(row["n"]))
    return layout.percent(found and found[1])


def _lm_eval(results: Results, arm: Arm, task: str) -> tuple[dict[str, str], pd.DataFrame]:
    theirs = tables.frame(_folder(results, arm, task) / "lm_eval" / "samples.parquet")
    both = _ours(results, arm, task).merge(theirs, on="key", suffixes=("", "_lm_eval"), validate="1:1")
    n = len(both)
    differ = {
        "strict": both["strict"] != both["strict_match"],
        "flexible": both["flexible"] != both["flexible_extract"],
    }
    row = {
        "arm": arm.path,
        "task": task,
        "n": str(n),
        "strict %": _percent(both["strict"]),
        "strict-match %": _percent(both["strict_match"]),
        "flexible %": _percent(both["flexible"]),
        "flexible-extract %": _percent(both["flexible_extract"]),
        "identical completions %": _percent(both["completion"] == both["completion_lm_eval"]),
        "strict verdicts differ": str(int(differ["strict"].sum())),
        "flexible verdicts differ": str(int(differ["flexible"].sum())),
    }
    columns = ["key", "answer", "strict", "flexible", "strict_answer", "strict_match", "flexible_answer"]
    columns += ["flexible_extract", "completion", "completion_lm_eval"]
    return row, _named(arm, task, both[differ["strict"] | differ["flexible"]][columns])


def _labels(results: Results, arm: Arm, task: str, other: str) -> tuple[dict[str, str], pd.DataFrame]:
    second = tables.frame(_folder(results, arm, task) / "greedy" / "second_scores.parquet")
    ours = _ours(results, arm, task)
    both = ours.merge(second, on="key", suffixes=("", "_second"), validate="1:1")
    differ = {judge: both[judge] != both[f"{judge}_second"] for judge in JUDGES}
    row = {"arm": arm.path, "task": task, "labels": other, "n": str(len(both))}
    for judge in JUDGES:
        row[f"{judge} %"] = _percent(both[judge])
        row[f"{judge} % by {other}"] = _percent(both[f"{judge}_second"])
    row |= {f"{judge} verdicts differ": str(int(differ[judge].sum())) for judge in JUDGES}
    row["left out"] = str(len(ours) - len(both))
    columns = ["key", "answer", "strict", "flexible", "strict_second", "flexible_second", "reason", "reason_second"]
    return row, _named(arm, task, both[differ["strict"] | differ["flexible"]][[*columns, "completion"]])


def _repeat(results: Results, arm: str, task: str) -> list[dict[str, str]]:
    found = json.loads((_folder(results, Arm(arm), task) / REPEAT / "repeat.json").read_text(encoding="utf-8"))
    return [
        {
            "arm": arm,
            "task": task,
            "engine": f"{found['engine']}, {found['device']}",
            "at once": str(each["batch_size"]),
            "n": str(found["items"]),
            "identical": str(each["identical"]),
            "median token of the first difference": "none differ"
            if each["first_difference"] is None
            else f"{each['first_difference']:g}",
            "strict flips": str(each["strict_flips"]),
            "flexible flips": str(each["flexible_flips"]),
        }
        for each in found["passes"]
    ]


def _ours(results: Results, arm: Arm, task: str) -> pd.DataFrame:
    scores = results.scores(arm, task)
    return scores.assign(completion=results.completions(arm, task)["completion"])


def _folder(results: Results, arm: Arm, task: str) -> Path:
    return results.folder / "eval" / arm.path / task


def _percent(values: pd.Series) -> str:
    return f"{100 * values.mean():.1f}"


def _named(arm: Arm, task: str, rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(arm=arm.path, task=task)[["arm", "task", *rows.columns]]
