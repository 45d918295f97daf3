"""The columns of a file that a task wants: how they are found in a row, and what each must hold."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rlvr_plugins.tasks import scalars
from rlvr_plugins.tasks.files import Doubled, RowError
from rlvr_plugins.tasks.messages import NotOne, said_by

MAX_CHARACTERS = 1_000_000

TEXT, TEXT_OR_NUMBER, BOOLEAN, ID, INTEGER, INTEGERS, QUESTION, SOLUTION = (
    "a text that is not empty",
    "a text that is not empty, or a number",
    "true or false",
    "a text or an integer",
    "an integer",
    "a list of integers",
    "a text that is not empty, or a list of messages, one of them of the user",
    "a text that is not empty, or a list of messages, one of them of the assistant",
)
_INTEGERS = re.compile(r"\s*[\[(]?\s*((?:-?[0-9]{1,18}(?:\.0*)?(?:\s*,\s*|\s+|(?=\s*[\])]?\s*\Z)))+)[\])]?\s*")

_OF_NUMPY = re.compile(r"(?:np|numpy)\.u?int[0-9]{1,2}\((-?[0-9]{1,18})\)")
_ARRAY = re.compile(r"\s*(?:(?:np|numpy)\.)?array\((\[[^\[\]()]*\])(?:, dtype=\w{1,10})?\)\s*")


@dataclass(frozen=True)
class Column:
    """A column that is wanted.

    names: in the file; the first one there counts. A name with dots is that of a column, or leads into one:
        `extra_info.question`, `messages.0.content`.
    kind: what it must hold. required: whether a row without it is bad.
    """

    names: tuple[str, ...]
    kind: str
    required: bool = True

    @classmethod
    def of(cls, entry: Column | tuple[str, str]) -> Column:
        """entry: a column, or its one name and its kind."""
        return entry if isinstance(entry, Column) else cls((entry[0],), entry[1])

    @property
    def said(self) -> str:
        return " or ".join(map(repr, self.names))

    def within(self, header: Iterable[str]) -> str | None:
        """The column of a file that holds it, by the names of all; None where none does."""
        there = set(header)
        for name in self.names:
            if name in there:
                return name
            if (top := name.partition(".")[0]) in there and "." in name:
                return top
        return None

    def cell(self, row: Mapping[str, Any]) -> tuple[str, Any] | None:
        """The name under which a row has it, and what stands there, unchecked; None where the row has none."""
        for name in self.names:
            try:
                return name, _cell(row, name)
            except LookupError:
                continue
        return None


Columns = Mapping[str, "Column | tuple[str, str]"]


def chosen(
    named: Mapping[str, str] | None, published: Mapping[str, str], kinds: Mapping[str, str], needed: Iterable[str]
) -> dict[str, Column]:
    """The columns to read: those named, and of those that a task needs and are not named the one that the published
    data set has or the task's own name. named: of the config; None: all that the published one has, those that are
    not needed where they are there.
    """
    needed, given = set(needed), named or {}
    keys = [key for key in published if key in needed or not named] + [key for key in given if key not in published]
    keys += [key for key in given if key in published and key not in keys]
    return {
        key: Column(
            (given[key],) if key in given else tuple(dict.fromkeys((published[key], key))),
            kinds[key],
            required=key in needed or key in given,
        )
        for key in keys
    }


def values(row: Mapping[str, Any], columns: Mapping[str, Column]) -> dict[str, Any]:
    """The checked values of a row under the keys of `columns`, without those that it need not have and has not.

    Raises RowError, which names the column and what is allowed.
    """
    found = {}
    for key, column in columns.items():
        cell = column.cell(row)
        if cell is not None:
            found[key] = _checked(cell[1], cell[0], column.kind)
        elif column.required:
            raise RowError(f"no column {column.said}", f"; found: {', '.join(map(str, row))[:300] or 'nothing'}")
    return found


def _cell(row: Mapping[str, Any], name: str) -> Any:
    """The value of a column, or of what a name with dots leads to. Raises LookupError where there is none."""
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                shown = f"it is {_shown(value)}, a text that is no JSON"
                problem = f"column {name.partition('.')[0]!r} can't be used"
                raise RowError(problem, f": {shown}; allowed: an object or a list, or a text of it as JSON") from None
        if isinstance(value, Doubled):
            raise RowError("a key stands twice", f": {value.key[:60]!r}; allowed: each key once")
        if isinstance(value, list) and value and all(isinstance(entry, tuple) for entry in value):
            value = dict(value)  # a map of Arrow
        if isinstance(value, list) and re.fullmatch("[0-9]{1,6}", part):
            value = value[int(part)]
        elif isinstance(value, Mapping):
            value = value[part]
        else:
            raise LookupError(name)
    return value


def _checked(value: Any, name: str, kind: str) -> Any:
    problem = f"column {name!r} can't be used"
    try:
        made = _VALUES[kind](value)
    except (scalars.Unclear, NotOne) as error:
        raise RowError(problem, f": it is {_shown(value)}, {error}") from None
    if made is None:
        raise RowError(problem, f": it is {_shown(value)}; allowed: {kind}")
    if isinstance(made, str):
        _check_text(made, problem)
    return made


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)[:60]


def _check_text(text: str, where: str) -> None:
    if len(text) > MAX_CHARACTERS:
        problem = f"it has {len(text):,} characters; allowed: up to {MAX_CHARACTERS:,}"
    elif "\0" in text:
        problem = "it has a NUL character"
    else:
        try:
            text.encode()
            return
        except UnicodeEncodeError as error:
            problem = f"it has the lone surrogate {text[error.start]!a}, which is no character"
    raise RowError(where, f": {problem}")


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def text_or_number(value: Any) -> str | None:
    """A text that is not empty, or a number as the text of what was meant; else None. Raises scalars.Unclear."""
    return scalars.text(value) or _text(value)


def _boolean(value: Any) -> bool | None:
    return (
        {"true": True, "false": False}.get(value.strip().lower())
        if isinstance(value, str)
        else (value if isinstance(value, bool) else None)
    )


def _id(value: Any) -> str | None:
    number = None if isinstance(value, str) else scalars.whole(value)
    return _text(value) if number is None else str(number)


def integers(value: Any) -> list[int] | None:
    """A list of whole numbers, or a text that is one as JSON or NumPy write it; else None."""
    if isinstance(value, str):
        plain = _OF_NUMPY.sub(r"\1", value[:1001])
        if array := _ARRAY.fullmatch(plain):
            plain = array[1]
        found = _INTEGERS.fullmatch(plain) if len(value) <= 1000 else None
        value = re.split(r"[\s,]+", found[1].strip(" ,")) if found else None
    if not isinstance(value, list) or not value:
        return None
    numbers = [scalars.whole(number) for number in value]
    return None if None in numbers else numbers


_VALUES: dict[str, Callable[[Any], Any]] = {
    TEXT: _text,
    TEXT_OR_NUMBER: text_or_number,
    BOOLEAN: _boolean,
    ID: _id,
    INTEGER: scalars.whole,
    INTEGERS: integers,
    QUESTION: lambda value: _text(said_by("user", value)),
    SOLUTION: lambda value: _text(said_by("assistant", value)),
}
