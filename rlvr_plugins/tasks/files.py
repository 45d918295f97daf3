"""Reads the rows of a JSONL, JSON, CSV or Parquet file one after the other, whatever its size.

A row that can't be used is one thing, a file that can't be read on is another: the first is handed out as
a `RowError`, so that the reader may go on, the second raises ValueError.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

ENDINGS = (".jsonl", ".json", ".csv", ".parquet")
MAX_ROW = 64 * 2**20
CHUNK = 2**20
BATCH = 1000
MAX_DIGITS = 4000

_SPACE = " \t\r\n"


class RowError(ValueError):
    """A row that can't be used: what is wrong with it; `reason` is short and the same for all such rows."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}{detail}")
        self.reason = reason


class Doubled:
    """What stands in place of a JSON object in which a key stands twice."""

    def __init__(self, key: str) -> None:
        self.key = key


Rows = Iterator[tuple[str, "dict[str, Any] | RowError"]]


def check_file(path: str) -> None:
    """Raises ValueError when there is no such file or its ending is unknown."""
    if Path(path).suffix.lower() not in ENDINGS:
        raise ValueError(f"{path!r} is not possible; allowed: a file that ends in {', '.join(ENDINGS)}")
    if not Path(path).is_file():
        raise ValueError(f"no file {path!r}; allowed: a file that ends in {', '.join(ENDINGS)}")


def rows(path: str, columns: Iterable[str]) -> Rows:
    """Where each row stands, and the row as an object or why it can't be used.

    columns: those that are wanted; of a Parquet file no others are read. The file is read in a stream: no
    more than one row (64 MiB of text at most) or a batch of a Parquet file is held. Lines of JSONL and CSV
    are counted from 1, rows of JSON and Parquet too.

    Raises ValueError, one line with file and place, on a file that is missing, empty, cut off or not of its
    kind. A JSONL file counts as cut off when its last line has no line end and is no JSON, a CSV file when
    its last line has no line end and too few fields, or a quote is left open.
    """
    check_file(path)
    wanted = list(columns)
    none = True
    for where, row in _READERS[Path(path).suffix.lower()](Path(path), wanted):
        none = False
        yield where, row
    if none:
        raise ValueError(f"{path}: holds no rows")


def checked(value: Any, columns: list[str]) -> dict[str, Any] | RowError:
    if isinstance(value, Doubled):
        return RowError("a key stands twice", f": {value.key[:60]!r}; allowed: each key once")
    if not isinstance(value, dict):
        return RowError("not an object", f"; allowed: an object with {', '.join(columns)}")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any] | Doubled:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    seen: set[str] = set()
    return Doubled(next(key for key, _ in pairs if key in seen or seen.add(key)))


def _integer(digits: str) -> int | float:
    """Python refuses to read longer ones, which would end the whole file."""
    return int(digits) if len(digits) <= MAX_DIGITS else float("inf")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer)


class _Lines:
    """The lines of a file, decoded; a line that is not UTF-8 or too long raises RowError, and the next one can be read.

    number: of the line read last. last_is_open: it has no line end, so the file may be cut off there.
    """

    def __init__(self, file: Any) -> None:
        self.file = file
        self.number = 0
        self.last_is_open = False

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self.file.readline(MAX_ROW)
        if not line:
            raise StopIteration
        self.number += 1
        self.last_is_open = not line.endswith(b"\n")
        if len(line) == MAX_ROW and self.last_is_open:
            while len(line) == MAX_ROW and not line.endswith(b"\n"):
                line = self.file.readline(MAX_ROW)
            self.last_is_open = not line.endswith(b"\n")
            raise RowError("too long", f"; allowed: up to {MAX_ROW:,} bytes")
        try:
            return line.decode("utf-8-sig" if self.number == 1 else "utf-8")
        except UnicodeDecodeError:
            raise RowError("not UTF-8") from None


def _jsonl(path: Path, columns: list[str]) -> Rows:
    with path.open("rb") as file:
        lines = _Lines(file)
        while True:
            try:
                line = next(lines, None)
                if line is None:
                    return
                if not line.strip():
                    continue
                row = _json_line(line, columns)
            except RowError as error:
                row = error
            where = f"{path}, line {lines.number}"
            if isinstance(row, RowError) and lines.last_is_open and row.reason in ("not JSON", "not UTF-8"):
                raise ValueError(f"{where}: {row}; the file is cut off here: its last line has no end")
            yield where, row


def _json_line(line: str, columns: list[str]) -> dict[str, Any] | RowError:
    try:
        return checked(_DECODER.decode(line), columns)
    except (ValueError, RecursionError) as error:
        return RowError("not JSON", f" ({error})")


class _Text:
    """The text of a file, as much of it as was asked for; what was read is forgotten with `drop`."""

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self.file = file
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self.text = ""
        self.ended = False

    def more(self, size: int) -> None:
        chunk = self.file.read(size)
        self.ended = not chunk
        try:
            self.text += self.decoder.decode(chunk, final=self.ended)
        except UnicodeDecodeError as error:
            at = self.file.tell() - len(chunk) + error.start
            raise ValueError(f"{self.path}, near byte {at:,}: not UTF-8") from None

    def next(self, at: int) -> int:
        """The place of the next character that is no space, from `at` on; the text's length where it ends."""
        while True:
            while at < len(self.text) and self.text[at] in _SPACE:
                at += 1
            if at < len(self.text) or self.ended:
                return at
            self.more(CHUNK)

    def drop(self, size: int) -> None:
        self.text = self.text[size:]


def _json(path: Path, columns: list[str]) -> Rows:
    with path.open("rb") as file:
        text = _Text(path, file)
        at = text.next(0)
        if at == len(text.text):
            return
        if text.text[at] != "[":
            raise ValueError(
                f"{path}: not an array; allowed: an array of objects, or one object a line in a .jsonl file"
            )
        number, at = 0, at + 1
        at = text.next(at)
        while text.text[at : at + 1] != "]" or number:
            where = f"{path}, row {number + 1}"
            value, at = _element(text, at, where)
            number += 1
            yield where, checked(value, columns)
            if text.text[at] == "]":
                break
            at = text.next(at + 1)
            if at > CHUNK:
                text.drop(at)
                at = 0
        if text.next(at + 1) < len(text.text):
            raise ValueError(f"{path}, after row {number}: not JSON (more follows the end of the array)")


def _element(text: _Text, at: int, where: str) -> tuple[Any, int]:
    """The value that begins at `at`, and the place of the comma or bracket after it."""
    while True:
        problem = "it ends there"
        try:
            value, end = _DECODER.raw_decode(text.text, at)
            end = text.next(end)
            if end < len(text.text):
                if text.text[end] in ",]":
                    return value, end
                raise ValueError(f"{where}: not JSON (no comma or ] after it); what follows can't be read")
        except json.JSONDecodeError as error:
            problem = error.msg
        except RecursionError:
            raise ValueError(f"{where}: not JSON (too deeply nested); what follows can't be read") from None
        if text.ended:
            raise ValueError(f"{where}: not JSON ({problem}); the file is cut off or broken here")
        if len(text.text) - at > MAX_ROW:
            raise ValueError(f"{where}: not JSON ({problem}), or longer than {MAX_ROW:,} characters")
        text.more(max(CHUNK, len(text.text) - at))


def _csv(path: Path, columns: list[str]) -> Rows:
    csv.field_size_limit(MAX_ROW)
    with path.open("rb") as file:
        lines = _Lines(file)
        reader = csv.reader(lines, strict=True)
        header: list[str] | None = None
        while True:
            start = lines.number + 1
            try:
                values = next(reader, None)
            except (RowError, csv.Error) as error:
                problem = error if isinstance(error, RowError) else RowError("not CSV", f" ({error})")
                lost = header is None or "unexpected end" in str(error) or "field limit" in str(error)
                if lost:
                    more = "" if header is None else "; a quote that opens there is never closed"
                    raise ValueError(f"{path}, line {start}: {problem}{more}") from None
                yield f"{path}, line {lines.number}", problem
                continue
            if values is None:
                return
            where = f"{path}, line {lines.number}"
            if not values:
                continue
            if header is None:
                header = values
                _check_header(where, header, columns)
            elif len(values) == len(header):
                yield where, dict(zip(header, values, strict=True))
            else:
                problem = f"has {len(values)} fields, not as many as the first line ({len(header)})"
                if len(values) < len(header) and lines.last_is_open:
                    raise ValueError(f"{where}: {problem}; the file is cut off here: its last line has no end")
                yield where, RowError("another number of fields", f": {problem}")


def _check_header(where: str, header: list[str], columns: list[str]) -> None:
    """Raises ValueError on a column that is missing or stands twice."""
    for column in columns:
        if header.count(column) != 1:
            found = ", ".join(header) or "nothing"
            twice = f"column {column!r} stands twice"
            raise ValueError(f"{where}: {twice if column in header else f'no column {column!r}'}; found: {found[:300]}")


def _parquet(path: Path, columns: list[str]) -> Rows:
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            _check_header(str(path), file.schema_arrow.names, columns)
            for batch in file.iter_batches(batch_size=BATCH, columns=columns):
                for row in _values(batch):
                    number += 1
                    yield f"{path}, row {number}", row
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path}, after row {number}: not Parquet ({str(error).splitlines()[0]})") from None


def _values(batch: Any) -> Iterable[dict[str, Any] | RowError]:
    try:
        return batch.to_pylist()
    except (ValueError, OverflowError):
        return [_value(batch.slice(i, 1)) for i in range(batch.num_rows)]


def _value(row: Any) -> dict[str, Any] | RowError:
    try:
        return row.to_pylist()[0]
    except UnicodeDecodeError:
        return RowError("not UTF-8")
    except (ValueError, OverflowError) as error:
        return RowError("a value that can't be read", f" ({error})")


_READERS: dict[str, Callable[[Path, list[str]], Rows]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
