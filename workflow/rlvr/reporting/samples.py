"""A few held-out items with every arm's completion; the same items for each arm."""

from __future__ import annotations

import json
from typing import Any

from rlvr.reporting.results import Arm, Results


def of(results: Results, arm: Arm, task: str, count: int) -> list[dict[str, Any]]:
    """Up to `count` items spread evenly over the held-out set."""
    items, completions, scores = results.items(task), results.completions(arm, task), results.scores(arm, task)
    count = min(count, len(items))
    positions = [i * len(items) // count for i in range(count)]
    shown = []
    for i in positions:
        shown.append(
            {
                "prompt": completions["prompt"][i][-1]["content"],
                "expected": json.loads(items["example"][i]),
                "completion": completions["completion"][i],
                "tokens": int(completions["tokens"][i]),
                "finish": completions["finish"][i],
                "strict": bool(scores["strict"][i]),
                "flexible": bool(scores["flexible"][i]),
                "answer": scores["answer"][i],
                "reason": scores["reason"][i],
            }
        )
    return shown
