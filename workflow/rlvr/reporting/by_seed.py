"""The table of variants over their seeds."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rlvr.reporting import comparable, comparisons, layout
from rlvr.reporting.results import Arm, Results
from rlvr.statistics import seeds

COLUMNS = ["variant", "task", "decoding", "seeds", "items", "mean", "deviation", "low", "high", "over"]


def table(results: Results) -> pd.DataFrame:
    """A row a variant, task and decoding, as fractions: strict over its seeds, with a 95 % interval.

    over: what the interval allows for; of one seed, other items only. Raises RlvrError where two seeds answered other
    items.
    """
    variants: dict[str, list[Arm]] = {}
    for arm in results.arms:
        if arm.kind == "grpo" and arm.path not in results.controls:
            variants.setdefault(arm.variant, []).append(arm)
    rows = [
        {"variant": variant, "task": task, "decoding": decoding, **_row(results, arms, task, decoding)}
        for variant, arms in variants.items()
        for task in results.tasks
        for decoding in results.decodings
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(results: Results, arms: list[Arm], task: str, decoding: str) -> dict:
    scores = [results.scores(arm, task, decoding) for arm in arms]
    for arm, found in zip(arms[1:], scores[1:], strict=True):
        cells = [f"eval/{one.path}/{task}/{decoding}" for one in (arms[0], arm)]
        comparable.require_same_items(cells, [scores[0]["key"].tolist(), found["key"].tolist()])
    found = seeds.summary(np.array([comparisons.by_item(one) for one in scores]))
    low, high = found.interval or (None, None)
    numbers = {"mean": found.mean, "deviation": found.deviation, "low": low, "high": high}
    return {"seeds": found.seeds, "items": found.items, "over": found.over} | {
        name: layout.rounded(value) for name, value in numbers.items()
    }


def wide(tidy: pd.DataFrame) -> pd.DataFrame:
    """The table as people read it, in % and points."""
    return pd.DataFrame(
        {
            "variant": row.variant,
            "task": row.task,
            "decoding": row.decoding,
            "seeds": str(row.seeds),
            "mean strict %": layout.percent(row.mean),
            "standard deviation, points": layout.percent(row.deviation),
            "95 % interval": layout.between(row.low, row.high),
            "interval over": row.over,
        }
        for row in tidy.itertuples()
    )
