"""SFT rows whose demonstration is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlvr_plugins import Filter, FilterContext, Row, hookimpl


@dataclass(frozen=True)
class Options:
    """column: a column of the source that holds true where the demonstration is right, and false where it is
        wrong. A task whose rows lack it stops the run: give that task its own `filters`.
    verify: judge the demonstration again by the task's verifier; only what is strictly right is kept.
    """

    column: str | None = None
    verify: bool = True

    def __post_init__(self) -> None:
        if not self.column and not self.verify:
            raise ValueError("column must be given, or verify be true")


def start(options: Options, context: FilterContext):
    """Drops wrong demonstrations, by a column of the source and by the task's verifier."""

    def select(rows: Sequence[Row]) -> list[str]:
        reasons = [_said(row, options.column) if options.column else "" for row in rows]
        if options.verify:
            left = [i for i, reason in enumerate(reasons) if not reason]
            verdicts = context.judge([rows[i].completion or "" for i in left], [rows[i].example for i in left])
            for i, verdict in zip(left, verdicts, strict=True):
                reasons[i] = "" if verdict.strict else f"verifier: {verdict.status}"
        return reasons

    return select


def _said(row: Row, column: str) -> str:
    """Why a row is dropped by what its column says. Raises ValueError where that is no boolean."""
    if column not in row.example.fields:
        raise ValueError(
            f"column: the rows of {row.task!r} have no column {column!r}; name it under "
            f"tasks.{row.task}.options.columns, or give the task its own list, tasks.{row.task}.filters"
        )
    value = row.example.fields[column]
    if not isinstance(value, bool):
        raise ValueError(f"column: {column!r} of row {row.key[:80]!r} is {value!r:.80}; allowed: true or false")
    return "" if value else "column says wrong"


@hookimpl
def rlvr_filters():
    yield Filter("correct", options=Options, start=start, splits=("sft",), needs=("verifier",))
