"""Which items two arms differ on, and whether by the answer or by its format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from rlvr.reporting import layout, page
from rlvr.reporting.pairs import Pair
from rlvr.reporting.results import Results

GAINED, LOST = "gained", "lost"
FORMAT, ANSWER = "format", "answer"
COLUMNS = ["task", "key", "change", "part"]
SUMMARY = [
    *("task", "from", "to", "n", "gained", "lost"),
    *("gained_format", "gained_answer", "lost_format", "lost_answer", "difference", "format", "answer"),
]
SHOWN = 25
"""Most items of a task and change on a page."""


def split(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """A row an item that `second` has strictly right and `first` has not (gained), or the reverse (lost).

    Both hold the same items in the same order. part: `format` where the answer was right under both arms, wherever it
    stood (flexible), else `answer`. Index: the item's row.
    """
    gained = second["strict"] & ~first["strict"]
    lost = first["strict"] & ~second["strict"]
    both = first["flexible"] & second["flexible"]
    found = pd.DataFrame({"key": first["key"], "change": GAINED, "part": ANSWER})
    found.loc[lost, "change"] = LOST
    found.loc[both, "part"] = FORMAT
    return found[gained | lost]


def counts(found: pd.DataFrame, n: int) -> dict[str, Any]:
    """Items by change and part, and the parts of the difference, as fractions of the n items: format + answer."""
    by = {
        f"{change}_{part}": int(((found["change"] == change) & (found["part"] == part)).sum())
        for change in (GAINED, LOST)
        for part in (FORMAT, ANSWER)
    }
    gained, lost = (by[f"{change}_format"] + by[f"{change}_answer"] for change in (GAINED, LOST))
    shares = {part: by[f"gained_{part}"] - by[f"lost_{part}"] for part in (FORMAT, ANSWER)}
    shares = {"difference": gained - lost, **shares}
    return {"n": n, GAINED: gained, LOST: lost, **by} | {
        name: layout.rounded(number / n) if n else None for name, number in shares.items()
    }


def write(results: Results, pairs: list[Pair], folder: Path) -> pd.DataFrame:
    """Writes a CSV and a page a pair into `folder`; returns the summary, a row a pair and task."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for pair in pairs:
        tables, shown = [], {}
        for task in results.tasks:
            scores = [results.scores(arm, task) for arm in (pair.first, pair.second)]
            found = split(*scores)
            tables.append(found.assign(task=task))
            shown[task] = _shown(results, pair, task, found, scores)
            ends = {"task": task, "from": pair.first.path, "to": pair.second.path}
            rows.append(ends | counts(found, len(scores[0])))
        layout.write_csv(pd.concat(tables)[COLUMNS], folder / f"{pair.slug}.csv")
        title = f"What moved from {pair.first.path} to {pair.second.path}"
        text = page.render("moved", title=title, pair=pair, tasks=shown)
        (folder / f"{pair.slug}.html").write_text(text, encoding="utf-8")
    return pd.DataFrame(rows, columns=SUMMARY)


def _shown(
    results: Results, pair: Pair, task: str, found: pd.DataFrame, scores: list[pd.DataFrame]
) -> list[dict[str, Any]]:
    """For each change, how many items there are, and up to `SHOWN` of them, spread evenly."""
    completions = [results.completions(arm, task) for arm in (pair.first, pair.second)]
    lists = []
    for change in (GAINED, LOST):
        rows = found[found["change"] == change]
        count = min(SHOWN, len(rows))
        items = [
            {
                "key": rows["key"].iloc[i],
                "row": rows.index[i],
                "part": rows["part"].iloc[i],
                "prompt": completions[0]["prompt"].iloc[rows.index[i]][-1]["content"],
                "sides": [
                    {
                        "completion": answers["completion"].iloc[rows.index[i]],
                        "strict": bool(verdicts["strict"].iloc[rows.index[i]]),
                        "reason": verdicts["reason"].iloc[rows.index[i]],
                    }
                    for answers, verdicts in zip(completions, scores, strict=True)
                ],
            }
            for i in (j * len(rows) // count for j in range(count))
        ]
        lists.append({"change": change, "total": len(rows), "items": items})
    return lists


def wide(tidy: pd.DataFrame) -> pd.DataFrame:
    """The summary as people read it, parts in points."""
    rows = [
        {
            **{column: row[column] for column in ("task", "from", "to")},
            "difference": layout.points(row["difference"]),
            "by format": layout.points(row["format"]),
            "by answer": layout.points(row["answer"]),
            "gained: format, answer": f"{row['gained_format']}, {row['gained_answer']}",
            "lost: format, answer": f"{row['lost_format']}, {row['lost_answer']}",
        }
        for row in tidy.to_dict("records")
    ]
    return pd.DataFrame(rows)
