"""What tasks that read rows share: their options, the check of each column, and what is left out and why."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from rlvr_plugins import Example, Splits
from rlvr_plugins.tasks.columnar import Builder, Examples, digest
from rlvr_plugins.tasks.columns import (  # noqa: F401  the tasks take the kinds from here
    BOOLEAN,
    ID,
    INTEGER,
    INTEGERS,
    MAX_CHARACTERS,
    QUESTION,
    SOLUTION,
    TEXT,
    TEXT_OR_NUMBER,
    Column,
    Columns,
    values,
)
from rlvr_plugins.tasks.files import RowError, check_file, rows
from rlvr_plugins.tasks.hub import check_revision, download
from rlvr_plugins.tasks.messages import has_system

MAX_NOTES = 50
NOTES_EACH = 10
IN_EVALUATION = "in the evaluation set"


@dataclass(frozen=True)
class SourceOptions:
    """repository, revision: hub data set and its commit (40 hex digits), a branch or a tag; "": the default branch.
        A name is looked up once and kept in `config/revisions.lock.yaml`; `rlvr lock --update` moves it.
        Only with `source: hub`.
    train_path, eval_path: JSONL, JSON, CSV or Parquet files; only with `source: path`.
    columns: the file's column for each of the task's own; what is not named is ignored. A name with dots leads into a
        column: `extra_info.question`, `messages.0.content`. null: the task's own names, or those of its data set on
        the hub.
    eval_columns: the same for the held-out file, of which only what the verifier needs is read; null: as `columns`.
    max_samples: so many rows are read of each file, from its beginning; null: all.
    on_bad_row: `stop`, or `skip`: leave the row out and count it. A file that is cut off always stops.
    """

    source: str = "hub"
    repository: str = ""
    revision: str = ""
    train_path: str | None = None
    eval_path: str | None = None
    columns: dict[str, str] | None = None
    eval_columns: dict[str, str] | None = None
    max_samples: int | None = None
    on_bad_row: Literal["stop", "skip"] = "stop"

    def __init_subclass__(cls) -> None:
        """The options of a task are documented with those they share."""
        own, shared = cls.__dict__.get("__doc__"), SourceOptions.__doc__
        if own:
            cls.__doc__ = f"{inspect.cleandoc(own)}\n{inspect.cleandoc(shared)}"

    def check_source(self, allowed: Mapping[str, str], required: tuple[str, ...] = ("train_path", "eval_path")) -> None:
        """Raises ValueError on options that do not go together. allowed: key of `columns` -> kind."""
        given = [name for name in ("train_path", "eval_path") if getattr(self, name) is not None]
        missing = [name for name in required if name not in given]
        if self.source == "path" and missing:
            raise ValueError(f"source: path needs {' and '.join(missing)}")
        if self.source != "path" and given:
            raise ValueError(f"{given[0]} goes with source: path only")
        if self.source == "hub" and self.revision:
            try:
                check_revision(self.revision)
            except ValueError as error:
                raise ValueError(f"revision: {error}") from None
        for name in ("columns", "eval_columns"):
            if getattr(self, name) and self.source not in ("path", "hub"):
                raise ValueError(f"{name}, the columns of a file, go with source: path or hub only")
            for key in getattr(self, name) or {}:
                if key not in allowed:
                    raise ValueError(f"{name}.{key}: unknown; allowed: {', '.join(allowed)}")
        if self.eval_columns and self.source == "path" and self.eval_path is None:
            raise ValueError("eval_columns goes with eval_path only")
        if self.max_samples is not None and self.max_samples < 1:
            raise ValueError(f"max_samples: {self.max_samples} is not possible; allowed: 1 or more, or null")

    def check_files(self) -> None:
        """Raises ValueError, naming the option, when a file is not there."""
        for key in ("train_path", "eval_path"):
            path = getattr(self, key)
            try:
                if path is not None:
                    check_file(path)
            except ValueError as error:
                raise ValueError(f"options.{key}: {error}") from None

    def hub_file(self, filename: str) -> str:
        return str(download(self.repository, filename, self.revision))


def files(options: SourceOptions) -> list[str]:
    return [path for path in (options.train_path, options.eval_path) if path]


class Ledger:
    """What was left out of the rows read, by reason, and lines on the first of them."""

    def __init__(self, on_bad_row: str) -> None:
        self.on_bad_row = on_bad_row
        self.left_out: Counter[str] = Counter()
        self.notes: list[str] = []
        self.shared = 0
        self.first_shared = ""
        self.systems = 0
        """Rows whose prompt has a message of the system."""

    def leave_out(self, reason: str, note: str) -> None:
        self.left_out[reason] += 1
        if self.left_out[reason] <= NOTES_EACH and len(self.notes) < MAX_NOTES:
            self.notes.append(note)

    def bad(self, where: str, error: RowError) -> None:
        """Leaves a bad row out. Raises ValueError, which names it, where bad rows stop."""
        if self.on_bad_row == "stop":
            raise ValueError(f"{where}: {error}; on_bad_row: skip leaves such rows out") from None
        self.leave_out(error.reason, f"{where}: {error}")

    def share(self, where: str, key: str) -> None:
        """Leaves a training row out whose question is in the evaluation file."""
        self.shared += 1
        self.first_shared = self.first_shared or f"{where}: {key[:80]!r}"
        self.leave_out(IN_EVALUATION, f"{where}: {IN_EVALUATION}")

    def splits(self, train: Examples, eval: Examples) -> Splits:
        notes = tuple(self.notes)
        return Splits(train, eval, dict(self.left_out), notes, self.shared, self.first_shared, self._remarks())

    def _remarks(self) -> tuple[str, ...]:
        if not self.systems:
            return ()
        return (
            f"{self.systems:,} rows have a system message of their own, which is not used; "
            "allowed: one for all rows, as system_prompt of the task",
        )


def read(path: str, columns: Columns, ledger: Ledger, most: int | None = None) -> Iterator[tuple[dict[str, Any], str]]:
    """The checked values of each row under the keys of `columns`, and where the row stands.

    columns: key wanted -> `Column`, or its name and its kind; all others of the file are ignored. A number
    becomes its text for `TEXT_OR_NUMBER`; text that is JSON of the right kind serves for the kinds after it,
    as CSV has nothing else. most: so many rows are read. Raises ValueError as `files.rows` does, on a bad row
    where `ledger` says stop, on an id that stands twice likewise, and when no row can be used.
    """
    wanted = {key: Column.of(entry) for key, entry in columns.items()}
    questions = [column for column in wanted.values() if column.kind == QUESTION]
    seen: dict[bytes, str] = {}
    used = 0
    for where, row in islice(rows(path, list(wanted.values())), most):
        try:
            if isinstance(row, RowError):
                raise row
            found = values(row, wanted)
            if "id" in found:
                first = seen.setdefault(digest(found["id"]), where.rpartition(", ")[2])
                if first != where.rpartition(", ")[2]:
                    raise RowError("an id stands twice", f": {found['id'][:60]!r} is that of {first} too")
        except RowError as error:
            ledger.bad(where, error)
            continue
        used += 1
        ledger.systems += any(has_system(column.cell(row)[1]) for column in questions)
        yield found, where
    if not used:
        raise ValueError(f"{path}: no row can be used; {ledger.notes[0] if ledger.notes else ''}")


Make = Callable[[dict[str, Any]], Example]
Gold = Callable[[Example], str]


def two_files(
    train_path: str | None,
    eval_path: str,
    columns: Columns,
    eval_columns: Columns,
    make: Make,
    gold: Gold,
    options: SourceOptions,
    train: int | None,
    eval: int | None,
    rng: Any,
    *,
    keep_bad_golds: bool = False,
) -> Splits:
    """The items of two files: held-out ones in the file's order, those for training shuffled.

    make: `(values) -> Example`, raises RowError. gold: what is wrong with an item's answer, "" if nothing: a
    row like that is bad, but for training rows where `keep_bad_golds` says so. Training rows whose key is held
    out are left out and counted.
    """
    ledger = Ledger(options.on_bad_row)
    held_out = _collected(eval_path, eval_columns, make, gold, options, ledger)[:eval]
    keys = {digest(key) for key in held_out.keys()}  # noqa: SIM118
    if train_path is None:
        return ledger.splits(Examples([]), held_out)
    training = _collected(train_path, columns, make, None if keep_bad_golds else gold, options, ledger, keys)
    return ledger.splits(training.shuffled(rng)[:train], held_out)


def one_file(
    path: str,
    columns: Columns,
    make: Make,
    gold: Gold,
    options: SourceOptions,
    train: int | None,
    eval: int,
    rng: Any,
) -> Splits:
    """The items of one file, shuffled: the first `eval` distinct ones with a sound answer are held out."""
    ledger = Ledger(options.on_bad_row)
    found = _collected(path, columns, make, None, options, ledger).shuffled(rng)
    keys: set[bytes] = set()
    held, rest = [], []
    for place, example in enumerate(found):
        if len(held) < eval and digest(example.key) not in keys and not gold(example):
            keys.add(digest(example.key))
            held.append(place)
        else:
            rest.append(place)
    training = []
    for place in rest:
        key = found.key(place)
        if digest(key) in keys:
            ledger.leave_out(IN_EVALUATION, f"{path}, a row with the key {key[:60]!r}: {IN_EVALUATION}")
        else:
            training.append(place)
    return ledger.splits(found.take(training)[:train], found.take(held))


def _collected(
    path: str,
    columns: Columns,
    make: Make,
    gold: Gold | None,
    options: SourceOptions,
    ledger: Ledger,
    held_out: set[bytes] = frozenset(),
) -> Examples:
    builder = Builder()
    for found, where in read(path, columns, ledger, options.max_samples):
        try:
            example = make(found)
            problem = gold(example) if gold else ""
            if problem:
                raise RowError("an answer that can't be read", f": {problem}")
        except RowError as error:
            ledger.bad(where, error)
            continue
        if digest(example.key) in held_out:
            ledger.share(where, example.key)
        else:
            builder.add(example)
    return builder.done()
