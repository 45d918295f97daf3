"""Rows of texts from a JSONL, JSON, CSV or Parquet file, each checked before it is used."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ENDINGS = (".jsonl", ".json", ".csv", ".parquet")
MAX_CHARACTERS = 1_000_000

Rows = Iterator[tuple[str, Any]]


def check_file(path: str) -> None:
    """Raises ValueError when there is no such file or its ending is unknown."""
    if Path(path).suffix.lower() not in ENDINGS:
        raise ValueError(f"{path!r} is not possible; allowed: a file that ends in {', '.join(ENDINGS)}")
    if not Path(path).is_file():
        raise ValueError(f"no file {path!r}; allowed: a file that ends in {', '.join(ENDINGS)}")


def read(path: str, columns: Mapping[str, str]) -> Iterator[tuple[dict[str, str], str]]:
    """The texts of each row under the keys of `columns`, and where the row stands.

    columns: key wanted -> column of the file. A number becomes its text. Raises ValueError, which
    names file, row, column and what is allowed, on a file that is empty, cut off or not UTF-8, and on
    a column that is missing, null, not a text or number, or longer than 1,000,000 characters.
    """
    check_file(path)
    number = 0
    for where, row in _ROWS[Path(path).suffix.lower()](Path(path)):
        number += 1
        if not isinstance(row, dict):
            raise ValueError(f"{where}: not an object; allowed: an object with {', '.join(columns.values())}")
        yield {key: _text(row, column, where) for key, column in columns.items()}, where
    if not number:
        raise ValueError(f"{path}: holds no rows")


def _text(row: Mapping[str, Any], column: str, where: str) -> str:
    if column not in row:
        raise ValueError(f"{where}: no column {column!r}; found: {', '.join(map(str, row)) or 'nothing'}")
    value = row[column]
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    text = str(value) if number else value
    if not isinstance(text, str) or not text.strip():
        shown = json.dumps(value, default=str)
        raise ValueError(f"{where}: column {column!r} is {shown[:60]}; allowed: a text that is not empty, or a number")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{where}: column {column!r} has {len(text):,} characters; allowed: up to {MAX_CHARACTERS:,}")
    return text


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                raise ValueError(f"{path}, line {number}: not UTF-8") from None


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON ({error})") from None


def _jsonl(path: Path) -> Rows:
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            where = f"{path}, line {number}"
            yield where, _parsed(line, where)


def _json(path: Path) -> Rows:
    rows = _parsed("".join(_lines(path)), str(path))
    if not isinstance(rows, list):
        raise ValueError(f"{path}: not an array; allowed: an array of objects, or one object a line in a .jsonl file")
    yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows, 1))


def _csv(path: Path) -> Rows:
    csv.field_size_limit(10 * MAX_CHARACTERS)
    reader = csv.DictReader(_lines(path), strict=True)
    try:
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if None in row or None in row.values():
                raise ValueError(f"{where}: has not as many fields as the first line ({len(reader.fieldnames)})")
            yield where, row
    except csv.Error as error:
        raise ValueError(f"{path}, after line {reader.line_num}: not CSV ({error})") from None


def _parquet(path: Path) -> Rows:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches():
            for row in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", row
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path}, after row {number}: not Parquet ({str(error).splitlines()[0]})") from None


_ROWS: dict[str, Any] = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".parquet": _parquet}
