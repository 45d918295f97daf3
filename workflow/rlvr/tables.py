"""Parquet files with fixed columns, so that an empty table has them too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlvr_plugins import Example

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
ITEM = pa.schema([("task", pa.string()), ("key", pa.string()), ("prompt", MESSAGES), ("example", pa.string())])
DEMONSTRATION = ITEM.append(pa.field("completion", MESSAGES))
COMPLETION = pa.schema(
    [
        ("key", pa.string()),
        ("completion", pa.string()),
        ("tokens", pa.int64()),
        ("finish", pa.string()),
    ]
)
SCORE = pa.schema(
    [
        ("key", pa.string()),
        ("strict", pa.bool_()),
        ("flexible", pa.bool_()),
        ("well_formed", pa.bool_()),
        ("answer", pa.string()),
        ("reason", pa.string()),
        ("status", pa.string()),
        ("answers", pa.int64()),
        ("score", pa.float64()),
    ]
)


def write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def read(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path).to_pylist()


def read_all(paths: list[Path]) -> list[dict[str, Any]]:
    return [row for path in paths for row in read(path)]


def to_text(example: Example) -> str:
    return json.dumps(dict(example.fields), sort_keys=True)


def to_example(key: str, text: str) -> Example:
    return Example(key, json.loads(text))
