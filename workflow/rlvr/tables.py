"""Parquet files with fixed columns, so that an empty table has them too."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlvr.errors import RlvrError
from rlvr_plugins import Example, Rollout, Verdict, parquet

if TYPE_CHECKING:
    import pandas as pd

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
ITEM = pa.schema([("task", pa.string()), ("key", pa.string()), ("prompt", MESSAGES), ("example", pa.string())])
DEMONSTRATION = ITEM.append(pa.field("completion", MESSAGES))
DROPPED = pa.schema(
    [
        ("split", pa.string()),
        ("row", pa.int64()),
        ("key", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("example", pa.string()),
        ("prompt", pa.string()),
        ("completion", pa.string()),
        ("pass_rate", pa.float64()),
    ]
)
COMPLETION = pa.schema(
    [
        ("key", pa.string()),
        ("completion", pa.string()),
        ("tokens", pa.int64()),
        ("finish", pa.string()),
    ]
)
ANSWER = COMPLETION.insert(1, pa.field("prompt", MESSAGES)).append(pa.field("logprobs", pa.list_(pa.float32())))
ROLLOUT = pa.schema([("position", pa.int64()), *COMPLETION])
RATE = pa.schema([("key", pa.string()), ("pass_rate", pa.float64()), ("kept", pa.bool_())])
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
        ("completion_sha256", pa.string()),
    ]
)


CHECKED = {"write_page_checksum": True}
"""Every page carries a checksum, so that an audit can name the place of a changed byte."""
GROUP_ROWS = 8192
GROUP_CHARACTERS = 16 * 2**20
BATCH = 1024


def write(path: Path, rows: list[dict[str, Any]], schema: pa.Schema) -> None:
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path, row_group_size=GROUP_ROWS, **CHECKED)


class Writer:
    """Writes batches as they come, several to a row group."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._file = pq.ParquetWriter(path, schema, **CHECKED)
        self._schema = schema
        self._waiting: list[pa.RecordBatch] = []

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._flush()
        self._file.close()

    def write(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        rows, size = (sum(values) for values in zip(*((len(b), b.nbytes) for b in self._waiting), strict=True))
        if rows >= GROUP_ROWS or size > GROUP_CHARACTERS:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._file.write_table(pa.Table.from_batches(self._waiting, self._schema))
        self._waiting = []


def write_stream(path: Path, rows: Iterable[dict[str, Any]], schema: pa.Schema) -> int:
    """Writes rows as they come, a group of them in memory, and returns their number. No rows: an empty table.

    The file is there once it is whole.
    """
    written = 0
    unfinished = path.with_name(f".{path.name}.part")
    with pq.ParquetWriter(unfinished, schema, **CHECKED) as writer:
        for group in _groups(rows):
            writer.write_table(pa.Table.from_pylist(group, schema=schema))
            written += len(group)
    unfinished.replace(path)
    return written


def _groups(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows in groups that are neither long nor large."""
    group, characters = [], 0
    for row in rows:
        group.append(row)
        characters += sum(len(value) for value in row.values() if isinstance(value, str))
        if len(group) == GROUP_ROWS or characters > GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group


def messages(column: pa.ListArray) -> list[list[dict[str, str]]]:
    """A column of type `MESSAGES`, ten times as fast as Arrow's own `to_pylist`."""
    parts = [column.values.field(name).to_pylist() for name in ("role", "content")]
    found = [{"role": role, "content": content} for role, content in zip(*parts, strict=True)]
    return [found[start:end] for start, end in pairwise(column.offsets.to_pylist())]


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """An open file. Raises RlvrError, one line with its place, where it is damaged, found while the body reads too."""
    try:
        with parquet.opened(path) as file:
            yield file
    except parquet.ParquetError as error:
        raise RlvrError(str(error)) from None


def table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """All rows. columns: only these; None: all. Raises RlvrError as `opened` does."""
    try:
        return parquet.table(path, columns)
    except parquet.ParquetError as error:
        raise RlvrError(str(error)) from None


def frame(path: Path) -> pd.DataFrame:
    """All rows. Raises RlvrError as `opened` does."""
    return table(path).to_pandas()


def count(path: Path) -> int:
    """How many rows there are. Raises RlvrError as `opened` does."""
    with opened(path) as file:
        return file.metadata.num_rows


def read(path: Path, columns: list[str] | None = None) -> list[dict[str, Any]]:
    """All rows. columns: only these; None: all."""
    return rows_of(table(path, columns))


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    named = dict(zip(table.column_names, map(_values, table.columns), strict=True))
    return [dict(zip(named, values, strict=True)) for values in zip(*named.values(), strict=True)]


def _values(column: pa.ChunkedArray) -> list[Any]:
    if column.type != MESSAGES or column.null_count:
        return column.to_pylist()
    return [each for chunk in column.chunks for each in messages(chunk)]


def fingerprint(key: str, prompt: list[dict[str, str]], completion: str) -> str:
    """sha256 of one answer: the item, what was asked and what was answered."""
    said = [key, [[message["role"], message["content"]] for message in prompt], completion]
    return hashlib.sha256(json.dumps(said, ensure_ascii=False).encode(errors="surrogatepass")).hexdigest()


def stream(path: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a file one after the other, a batch of them in memory. columns: only these; None: all."""
    with opened(path) as file:
        for batch in file.iter_batches(batch_size=BATCH, columns=columns):
            yield from batch.to_pylist()


def read_all(paths: list[Path]) -> list[dict[str, Any]]:
    return [row for path in paths for row in read(path)]


def json_text(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def to_text(example: Example) -> str:
    return json.dumps(dict(example.fields), sort_keys=True)


def to_example(key: str, text: str) -> Example:
    return Example(key, json.loads(text))


def to_rollout(row: dict[str, Any], verdict: Verdict) -> Rollout:
    return Rollout(row["completion"], verdict, row["tokens"], row["finish"] == "length")
