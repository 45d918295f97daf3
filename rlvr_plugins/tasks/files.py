"""Reads the rows of a JSONL, JSON, CSV or Parquet file one after the other, whatever its size.

A row that can't be used is one thing, a file that can't be read on is another: the first is handed out as
a `RowError`, so that the reader may go on, the second raises ValueError.
"""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from rlvr_plugins.tasks import encodings

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


class Wanted(Protocol):
    """A column that is wanted. said: its name for a message. within: the one of a file's columns that holds it."""

    @property
    def said(self) -> str: ...
    @property
    def required(self) -> bool: ...
    def within(self, header: Iterable[str]) -> str | None: ...


def rows(path: str, columns: Sequence[Wanted]) -> Rows:
    """Where each row stands, and the row as an object or why it can't be used.

    columns: those that are wanted; of a Parquet file no others are read. The file is read in a stream: no
    more than one row (64 MiB of text at most) or a batch of a Parquet file is held. Lines of JSONL and CSV
    are counted from 1, rows of JSON and Parquet too.

    Raises ValueError, one line with file and place, on a file that is missing, empty, cut off, in another encoding
    than UTF-8 or not of its kind. A JSONL file counts as cut off when its last line has no line end and is no JSON, a
    CSV file when its last line has no line end and too few fields, or a quote is left open.
    """
    check_file(path)
    ending = Path(path).suffix.lower()
    if ending != ".parquet" and (name := encodings.of_start(Path(path))):
        raise ValueError(f"{path}: {encodings.problem(name)}")
    none = True
    for where, row in _READERS[ending](Path(path), columns):
        none = False
        yield where, row
    if none:
        raise ValueError(f"{path}: holds no rows")


def checked(value: Any, columns: Sequence[Wanted]) -> dict[str, Any] | RowError:
    if isinstance(value, Doubled):
        return RowError("a key stands twice", f": {value.key[:60]!r}; allowed: each key once")
    if not isinstance(value, dict):
        needed = ", ".join(column.said.replace("'", "") for column in columns if column.required)
        return RowError("not an object", f"; allowed: an object with {needed}")
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

    number: of the line read last. last_is_open: it has no line end, so the file may be cut off there. Raises ValueError
    at the first line that shows the file to be in another encoding.
    """

    def __init__(self, path: Path, file: Any) -> None:
        self.path = path
        self.file = file
        self.damaged = False
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
            return line.decode("utf-8-sig")
        except UnicodeDecodeError:
            if not self.damaged and (name := encodings.of_file(self.path)):
                raise ValueError(f"{self.path}, line {self.number}: {encodings.problem(name)}") from None
            self.damaged = True
            raise RowError("not UTF-8") from None


def _jsonl(path: Path, columns: Sequence[Wanted]) -> Rows:
    with path.open("rb") as file:
        lines = _Lines(path, file)
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


def _json_line(line: str, columns: Sequence[Wanted]) -> dict[str, Any] | RowError:
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
            name = encodings.of_file(self.path)
            problem = encodings.problem(name) if name else "not UTF-8"
            raise ValueError(f"{self.path}, near byte {at:,}: {problem}") from None

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


def _json(path: Path, columns: Sequence[Wanted]) -> Rows:
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


def _csv(path: Path, columns: Sequence[Wanted]) -> Rows:
    csv.field_size_limit(MAX_ROW)
    with path.open("rb") as file:
        lines = _Lines(path, file)
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


def _check_header(where: str, header: list[str], columns: Sequence[Wanted]) -> list[str]:
    """The columns of the file that hold what is wanted. Raises ValueError on one that is missing or stands twice."""
    chosen = []
    for column in columns:
        name = column.within(header)
        if (name is None and column.required) or (name is not None and header.count(name) != 1):
            found = ", ".join(header) or "nothing"
            problem = f"no column {column.said}" if name is None else f"column {name!r} stands twice"
            raise ValueError(f"{where}: {problem}; found: {found[:300]}")
        chosen += [name] if name is not None and name not in chosen else []
    return chosen


def _parquet(path: Path, columns: Sequence[Wanted]) -> Rows:
    from rlvr_plugins import parquet

    number = 0
    try:
        with parquet.opened(path) as file:
            schema = file.schema_arrow
            chosen = _check_header(str(path), schema.names, columns)
            narrow = {name: made for name in chosen if (made := _narrow(schema.field(name).type))}
            for batch in file.iter_batches(batch_size=BATCH, columns=chosen):
                for row in _values(batch):
                    number += 1
                    for name, made in narrow.items() if isinstance(row, dict) else ():
                        row[name] = made(row[name])
                    yield f"{path}, row {number}", row
    except parquet.ParquetError as error:
        raise ValueError(f"{path}, after row {number}: not Parquet that can be read ({error.problem})") from None


def _narrow(kind: Any) -> Callable[[Any], Any] | None:
    """What makes NumPy's scalars of the numbers of 2 and 4 bytes in values of that type, which Arrow widens; None
    where it has none."""
    import numpy
    import pyarrow

    if pyarrow.types.is_float32(kind) or pyarrow.types.is_float16(kind):
        made = numpy.float32 if pyarrow.types.is_float32(kind) else numpy.float16
        return lambda value: None if value is None else made(value)
    if pyarrow.types.is_struct(kind):
        inner = {field.name: part for field in kind if (part := _narrow(field.type))}
        if not inner:
            return None
        return lambda value: value and {name: inner[name](v) if name in inner else v for name, v in value.items()}
    if pyarrow.types.is_dictionary(kind) or pyarrow.types.is_list(kind) or pyarrow.types.is_large_list(kind):
        each = _narrow(kind.value_type)
        if each is None or pyarrow.types.is_dictionary(kind):
            return each
        return lambda values: values and [each(value) for value in values]
    return None


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


_READERS: dict[str, Callable[[Path, Sequence[Wanted]], Rows]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
