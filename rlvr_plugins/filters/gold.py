"""Rows whose own answer the verifier can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlvr_plugins import Filter, FilterContext, Row, Task, hookimpl


@dataclass(frozen=True)
class Options:
    """There are none: the task says which answers its verifier can read."""


def check(options: Options, task: Task) -> None:
    if task.gold is None:
        raise ValueError(f"the task {task.name!r} can't say whether an answer is readable; leave the filter out")


def start(options: Options, context: FilterContext):
    """Drops rows whose own answer the verifier can't read; no completion could match it."""
    gold = context.task.gold

    def select(rows: Sequence[Row]) -> list[str]:
        return ["gold answer unreadable" if gold(row.example) else "" for row in rows]

    return select


@hookimpl
def rlvr_filters():
    yield Filter("gold", options=Options, start=start, needs=("verifier",), check=check)
