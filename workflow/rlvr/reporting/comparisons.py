"""Differences between arms on the same items, and which of them are evidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rlvr.cells import Cell
from rlvr.reporting import comparable, layout, pairs
from rlvr.reporting.pairs import Pair
from rlvr.reporting.results import Results
from rlvr.statistics import LEVEL, correction, paired, power

COLUMNS = [
    *("task", "decoding", "from", "to", "n", "difference", "low", "high", "gained", "lost", "p", "p_holm"),
    *("verdict", "smallest"),
]
EVIDENCE, NONE, OTHER = "evidence", "none", "other protocol"


def table(results: Results, config: Mapping[str, Any], hashes: Mapping[str, str]) -> pd.DataFrame:
    """A row a pair, task and decoding, as fractions; Holm's correction is over those of one task and decoding.

    Where the first arm answered under another protocol and also under that of the second (`cross_protocol`), a further
    row compares what is alike; `from` then reads like `base as training`. hashes: the protocol of each cell.
    smallest: the difference that so many items, so many of them discordant, show with a power of 80 %. Raises RlvrError
    for a pair with other items.
    """
    rows = []
    for task in results.tasks:
        for decoding in results.decodings:
            family = [
                row
                for pair in pairs.of(config)
                for row in _rows(results, pair, task, decoding, config=config, hashes=hashes)
            ]
            tested = [row for row in family if row["verdict"] is None]
            for row, p in zip(tested, correction.holm([row["p"] for row in tested]), strict=True):
                row |= {"p_holm": p, "verdict": EVIDENCE if p < LEVEL else NONE}
            rows += family
    frame = pd.DataFrame(rows, columns=COLUMNS)
    for column in ("difference", "low", "high", "smallest"):
        frame[column] = frame[column].map(layout.rounded, na_action="ignore")
    return frame


def _rows(
    results: Results, pair: Pair, task: str, decoding: str, *, config: Mapping[str, Any], hashes: Mapping[str, str]
) -> list[dict[str, Any]]:
    rows = [_row(results, pair, task, decoding, decoding)]
    if comparable.same_protocol(hashes, [f"{arm.path}/{task}/{decoding}" for arm in (pair.first, pair.second)]):
        return rows
    rows[0]["verdict"] = rows[0]["verdict"] or OTHER
    wanted = hashes.get(f"{pair.second.path}/{task}/{decoding}")
    for cell in map(lambda each: Cell(**each), config.get("cells", [])):
        asked = (cell.arm, cell.task, cell.mode) == (pair.first.path, task, decoding)
        if asked and cell.crossed and hashes.get(cell.name) == wanted:
            alike = _row(results, pair, task, cell.decoding, decoding)
            rows.append(alike | {"from": f"{pair.first.path} as {cell.prompt}"})
    return rows


def _row(results: Results, pair: Pair, task: str, *decodings: str) -> dict[str, Any]:
    """decodings: of the first arm and of the second. verdict: None, to be given by the corrected p."""
    sides = list(zip((pair.first, pair.second), decodings, strict=True))
    scores = [results.scores(arm, task, decoding) for arm, decoding in sides]
    cells = [f"eval/{arm.path}/{task}/{decoding}" for arm, decoding in sides]
    comparable.require_same_items(cells, [frame["key"].tolist() for frame in scores])
    found = paired.compare(*map(by_item, scores))
    low, high = found.interval or (None, None)
    return {
        "task": task,
        "decoding": decodings[1],
        "from": pair.first.path,
        "to": pair.second.path,
        "n": found.n,
        "difference": found.difference,
        "low": low,
        "high": high,
        "gained": found.gained,
        "lost": found.lost,
        "p": found.p if found.n else None,
        "p_holm": None,
        "verdict": None if found.n else layout.NOT_ESTIMABLE,
        "smallest": power.smallest_difference(found.n, (found.gained + found.lost) / max(found.n, 1)),
    }


def by_item(scores: pd.DataFrame) -> np.ndarray:
    """Share of an item's completions that are strictly right, in the items' order."""
    return scores.groupby("key", sort=False)["strict"].mean().to_numpy(dtype=float)


def wide(tidy: pd.DataFrame) -> pd.DataFrame:
    """The table as people read it, differences in points."""
    rows = [
        {
            **{column: row[column] for column in ("task", "decoding", "from", "to")},
            "difference": layout.points(row["difference"]),
            "95 % interval": layout.between(row["low"], row["high"], signed=True),
            "gained / lost": f"{row['gained']} / {row['lost']}",
            "n": str(row["n"]),
            "p": layout.p_value(row["p"]),
            "p (Holm)": layout.p_value(row["p_holm"]) if row["verdict"] in (EVIDENCE, NONE) else "",
            "verdict": row["verdict"],
        }
        for row in tidy.to_dict("records")
    ]
    return pd.DataFrame(rows)
