"""What the check for leakage counts, and what it says where it ends a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlvr import plugin_options
from rlvr_plugins import FilterContext, Row
from rlvr_plugins.manager import catalogue

FILTER = "decontaminate"
SHOWN = 160


class Overlaps:
    """Counts the rows that share a run of words with an evaluation question, and lets all of them pass."""

    def __init__(self, ngram: int, context: FilterContext) -> None:
        options = plugin_options.load("filter", FILTER, {"rules": ["ngram"], "ngram": ngram})
        self._select = catalogue().filter(FILTER).start(options, context)
        self.count = 0

    def __call__(self, rows: list[Row]) -> list[Row]:
        self.count += sum(map(bool, self._select(rows)))
        return rows


def refusal(task: str, split: str, dropped: Mapping[str, int], first: Mapping[str, Any]) -> str:
    """The line that ends a run. dropped: reason -> rows. first: the first row found, as `dropped.parquet` has it."""
    rules = ", ".join(f"{reason.rpartition(': ')[2]} {count:,}" for reason, count in dropped.items())
    return (
        f"leakage: {sum(dropped.values()):,} {split} rows of {task!r} stand in an evaluation set ({rules}); the first "
        f"is row {first['row']}: {_short(first['prompt'])} against {_short(first['detail'])}; allowed: leakage.found: "
        "drop, or leakage.rules without that rule"
    )


def refusal_of_source(task: str, count: int, first: str) -> str:
    """The line that ends a run where a task's own files share questions. first: the first such training row."""
    return (
        f"leakage: {count:,} training rows of {task!r} stand in its own evaluation file (item {count:,}); the first is "
        f"{_short(first)}; allowed: leakage.found: drop, or files that share no question"
    )


def _short(text: str) -> str:
    return ascii(text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}...")
