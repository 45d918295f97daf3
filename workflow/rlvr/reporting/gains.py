"""What the pass@1 table says of comparisons: gains over the start, controls, and what the items can show."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

import pandas as pd

from rlvr.reporting import layout
from rlvr.reporting.comparisons import EVIDENCE, OTHER
from rlvr.reporting.results import GREEDY
from rlvr.statistics import LEVEL, power


def by_cell(tidy: pd.DataFrame, config: Mapping[str, Any]) -> dict[str, str]:
    """What each greedy cell gained over its arm's start, in points; with a star where that is evidence."""
    found = {}
    for row in _over_start(tidy, config):
        star = {EVIDENCE: " *", OTHER: " †"}.get(row["verdict"], "")
        found[f"{row['to']}/{row['task']}/{GREEDY}"] = layout.points(row["difference"]) + star
    return found


def notes(tidy: pd.DataFrame, config: Mapping[str, Any]) -> list[str]:
    """Lines below the pass@1 table: what the marks mean, what the controls show, what the items can show."""
    over = _over_start(tidy, config)
    lines = []
    if over:
        lines.append(
            f"A star marks evidence: the exact McNemar test on the same items, Holm's p < {LEVEL} over all comparisons "
            "of a task and decoding (comparisons.csv). Without one there is no evidence of a difference."
        )
    if any(row["verdict"] == OTHER for row in over):
        lines.append(
            "A dagger (†) marks a start that answered under another prompt: no evidence, whatever the difference."
        )
    for row in over:
        if row["to"] in config["controls"]:
            lines.append(_control(row, config["controls"][row["to"]]))
    real = [row for row in over if row["to"] not in config["controls"]]
    tasks = dict.fromkeys(row["task"] for row in real)
    return lines + [_power(task, [row for row in real if row["task"] == task]) for task in tasks]


def _over_start(tidy: pd.DataFrame, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The comparison of each greedy cell with its arm's start; under one protocol where there is such a one."""
    found = {}
    for row in tidy[tidy["decoding"] == GREEDY].to_dict("records"):
        if config["starts"].get(row["to"]) == row["from"].partition(" as ")[0]:
            key = row["task"], row["to"]
            found[key] = row if key not in found or found[key]["verdict"] == OTHER else found[key]
    return list(found.values())


def _control(row: dict[str, Any], name: str) -> str:
    change = "gain" if row["difference"] and row["difference"] > 0 else "loss"
    said = f"a {change}" if row["verdict"] == EVIDENCE else "no evidence of a gain"
    if row["verdict"] in (OTHER, layout.NOT_ESTIMABLE):
        said = row["verdict"]
    p = layout.p_value(row["p_holm"])
    p = p if p.startswith("<") else f"= {p}"
    by = layout.points(row["difference"])
    return f"control {name} on {row['task']}: {said} over {row['from']} ({by} points, p {p})."


def _power(task: str, rows: list[dict[str, Any]]) -> str:
    n = rows[0]["n"]
    discordant = median((row["gained"] + row["lost"]) / max(row["n"], 1) for row in rows)
    least = power.smallest_difference(n, discordant)
    if least is None:
        return f"{task}: what {n} items can show is not estimable, as next to none differ between two arms."
    return (
        f"{task}: one comparison on {n} items finds a difference of {100 * least:.1f} points with a power of 80 %, "
        f"where an arm and its start differ on {100 * discordant:.1f} % of the items (the median here); among several, "
        "Holm's correction asks for more."
    )
