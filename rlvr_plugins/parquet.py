"""Opens Parquet files so that damage is named: the file, and the column and row group where it can be told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

BATCH = 64
UNREADABLE = (OSError, pa.ArrowException, ValueError, KeyError, MemoryError)
"""What reading a damaged Parquet file may raise."""


class ParquetError(ValueError):
    """A file that is damaged or no Parquet file; the message is one line, its path and then the problem."""

    def __init__(self, path: Path | str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.problem = problem


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """An open file, whose checksums are verified as it is read.

    Raises ParquetError where it is damaged, while it is opened and while the body reads it.
    """
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
    except UNREADABLE as error:
        raise ParquetError(path, _closed(Path(path), error)) from None
    with file:
        try:
            groups = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            if sum(groups) != file.metadata.num_rows:
                raise ValueError("rows are missing")
            yield file
        except UNREADABLE:
            if damage := unreadable(path):
                raise ParquetError(path, damage[0]) from None
            raise


def table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """All rows. columns: only these; None: all. Raises ParquetError, also where a column is not there."""
    with opened(path) as file:
        names = file.schema_arrow.names
        for column in columns or []:
            if column not in names:
                raise ParquetError(path, f"no column {column!r}; found: {', '.join(names)[:300]}")
        found = file.read(columns=columns and list(columns))
        found.validate(full=True)  # text that is no UTF-8
        return found


def unreadable(path: Path) -> list[str]:
    """What can't be read of a Parquet file: column, row group and rows, one line each; none where all can.

    Row groups and rows count from 1.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return list(_damaged(file))
    except UNREADABLE as error:
        return [f"can't be read at all, so that no row can be named ({_line(error)})"]


def _damaged(file: pq.ParquetFile) -> Iterator[str]:
    first = 1
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        for column in file.schema_arrow.names:
            done = 0
            try:
                for batch in file.iter_batches(BATCH, row_groups=[group], columns=[column]):
                    batch.validate(full=True)
                    done += len(batch)
                if done != rows:
                    yield f"column {column!r} holds {done} rows in row group {group + 1}, not {rows}"
            except UNREADABLE as error:
                where = f"row group {group + 1}, rows {first + done} to {first + rows - 1}"
                yield f"column {column!r} can't be read in {where} ({_line(error)})"
        first += rows
    if first - 1 != file.metadata.num_rows:
        yield f"its row groups hold {first - 1} rows, but its footer says {file.metadata.num_rows}"


def _closed(path: Path, error: Exception) -> str:
    """Why a file could not be opened."""
    if not path.is_file():
        return "no such file"
    if path.stat().st_size == 0:
        return "not Parquet: it is empty"
    try:
        with path.open("rb") as file:
            begins = file.read(4) == b"PAR1"
    except OSError as problem:
        return f"can't be read ({problem.strerror})"
    if not begins:
        return f"not Parquet: it does not begin with PAR1 ({_line(error)})"
    return f"its footer, which lists the row groups, can't be read: it is damaged or cut off ({_line(error)})"


def _line(error: Any) -> str:
    return ascii(" ".join(str(error).split()))[1:-1][:120]
