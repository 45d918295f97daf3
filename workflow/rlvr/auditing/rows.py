"""Which rows of a stored table can be read, and which are not those that were judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from rlvr import tables
from rlvr_plugins import parquet

MOST = 5
ANSWER = pa.schema([tables.ANSWER.field(name) for name in ("key", "prompt", "completion")])


def table(file: Path, schema: pa.Schema) -> list[dict[str, Any]]:
    """The columns of a schema. Raises one of `parquet.UNREADABLE` where a page does not hold or a column is another."""
    with parquet.opened(file) as opened:
        names = opened.schema_arrow.names
        for field in schema:
            if field.name not in names or opened.schema_arrow.field(field.name).type != field.type:
                raise KeyError(f"column {field.name!r} is not there, or of another type")
        return tables.rows_of(opened.read(columns=schema.names))


def changed(answers: list[dict[str, Any]], scores: list[dict[str, Any]]) -> list[str]:
    """The rows of `answers` that are not those which `scores` judged, one line each, the first few."""
    now = [tables.fingerprint(**row) for row in answers]
    judged = [row["completion_sha256"] for row in scores]
    if len(now) != len(judged):
        return [f"{_first_gap(now, judged, answers)}: {len(now)} rows, but {len(judged)} were judged"]
    found = [
        f"row {number} (key {answer['key']!r}) is not the answer that was judged"
        for number, (answer, one, other) in enumerate(zip(answers, now, judged, strict=True), 1)
        if one != other
    ]
    return shortened(found, "rows")


def _first_gap(now: list[str], judged: list[str], answers: list[dict[str, Any]]) -> str:
    """Where rows were taken out or put in."""
    number = next((i for i, (one, other) in enumerate(zip(now, judged, strict=False)) if one != other), None)
    if number is None:
        number = min(len(now), len(judged))
    return f"from row {number + 1} on" if number < len(answers) else f"after row {number}"


def shortened(lines: list[str], what: str) -> list[str]:
    """The first few lines, and how many more there are."""
    more = len(lines) - MOST
    return lines if more <= 0 else [*lines[:MOST], f"{more} more {what} likewise"]
