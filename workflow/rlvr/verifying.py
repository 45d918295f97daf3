"""Judges completions made anywhere: a JSONL file in, a verdict a line out."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from rlvr.errors import RlvrError
from rlvr_plugins import Example, Task, Verdict, calls
from rlvr_plugins.guard import EVALUATION_BATCH, Judge
from rlvr_plugins.isolation import Worker, WorkerError
from rlvr_plugins.manager import catalogue
from rlvr_plugins.types import ERROR, MISSING, UNREADABLE

SHOWN_REASONS = 10

Row = tuple[int, str, Example]


def verify_file(name: str, file: Path, out: Path | None, second: str | None = None) -> None:
    """Writes one JSON verdict a row of `file`, in its order, to `out` or standard output; a summary to
    standard error.

    Every row is read before the first is judged. Raises RlvrError naming file and row.
    """
    task = catalogue().task(name)
    with _regular(file) as regular:
        try:
            _verify(task, regular, out, second)
        except RowError as error:
            raise RlvrError(f"{'standard input' if file == Path('-') else file}{error}") from None


class RowError(ValueError):
    """What is wrong with a file, from the comma after its name on."""


def _verify(task: Task, file: Path, out: Path | None, second: str | None) -> None:
    rows = sum(1 for _ in _rows(task, file, second))
    judge = Judge(task)
    opinion = SecondOpinion(second) if second else None
    summary = Summary()
    try:
        with _output(out) as lines:
            for batch in _batches(_rows(task, file, second)):
                verdicts = judge.judge([(completion, example) for _, completion, example in batch])
                opinions = opinion.on(batch) if opinion else [None] * len(batch)
                for (number, _, example), verdict, other in zip(batch, verdicts, opinions, strict=True):
                    lines.write(json.dumps(_line(verdict, second, other)) + "\n")
                    summary.add(number, verdict, example, other)
    except WorkerError as error:
        raise RlvrError(f"{error}; is it installed? see docs/verifiers.md") from None
    finally:
        judge.close()
        if opinion:
            opinion.close()
    summary.print(rows, second)


@contextmanager
def _regular(file: Path) -> Iterator[Path]:
    """The file, or a copy of what a pipe gives, because rows are read twice; `-` is standard input."""
    if file != Path("-") and not (file.is_fifo() or file.is_char_device()):
        yield file
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "standard input"
        with copy.open("wb") as target, sys.stdin.buffer if file == Path("-") else file.open("rb") as source:
            shutil.copyfileobj(source, target)
        yield copy


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    rows = iter(rows)
    while batch := list(islice(rows, EVALUATION_BATCH)):
        yield batch


def _rows(task: Task, file: Path, second: str | None) -> Iterator[Row]:
    """Row number from 1, completion and example of each row. Raises RowError."""
    found, number = False, 0
    try:
        with file.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    found = True
                    yield number, *_row(task, line, second)
    except OSError as error:
        raise RowError(f": {error.strerror}; allowed: a JSONL file") from None
    except UnicodeDecodeError:
        raise RowError(f", after row {number}: not UTF-8") from None
    except (ValueError, KeyError, TypeError) as error:
        said = error if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise RowError(f", row {number}: {said}") from None
    if not found:
        raise RowError(": holds no rows; allowed: one JSON object a line")


def _row(task: Task, line: str, second: str | None) -> tuple[str, Example]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from None
    if not isinstance(row, dict):
        raise ValueError("not an object; allowed: an object with completion and what the task needs")
    if "completion" not in row:
        raise ValueError(f"completion: is missing; found: {', '.join(map(repr, row)) or 'nothing'}")
    completion = row.pop("completion")
    if not isinstance(completion, str):
        raise ValueError(f"completion: {str(completion)[:60]!r} is not possible; allowed: a string")
    with calls.calling(f"read of task {task.name!r}", calls.ITEM_SECONDS):
        example = task.read(row) if task.read else Example("", row)
    if second and "answer" not in example.fields:
        raise ValueError(f"task {task.name!r} has no answer that {second} could compare with")
    return completion, example


@contextmanager
def _output(out: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that appears when all is written."""
    if out is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    part = out if out.exists() and not out.is_file() else out.with_name(f".{out.name}.part")
    try:
        lines = part.open("w", encoding="utf-8")
    except OSError as error:
        raise RlvrError(f"{out}: {error.strerror}; allowed: a file in a folder that is there") from None
    try:
        with lines:
            yield lines
        if part != out:
            part.replace(out)
    finally:
        if part != out:
            part.unlink(missing_ok=True)


def _line(verdict: Verdict, second: str | None, other: bool | None) -> dict[str, Any]:
    line = {
        "strict": int(verdict.strict),
        "flexible": int(verdict.flexible),
        "answer": verdict.answer,
        "status": verdict.status,
        "reason": verdict.reason,
        "well_formed": int(verdict.well_formed),
        "answers": verdict.answers,
        "score": verdict.score,
    }
    return line if second is None else {**line, second: None if other is None else int(other)}


class SecondOpinion:
    """Another scorer, in a worker process."""

    def __init__(self, name: str) -> None:
        from rlvr_plugins import second

        self._worker = Worker("second", name, second.LIMITS)

    def on(self, batch: list[Row]) -> list[bool | None]:
        """One opinion a row, None where the scorer failed or ran out of its limits."""
        items = [
            {"completion": completion, "answer": str(example.fields["answer"])} for _, completion, example in batch
        ]
        return [answer.get("right") if isinstance(answer, dict) else None for answer in self._worker.run(items)]

    def close(self) -> None:
        self._worker.close()


class Summary:
    """Counts verdicts as they come."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._disagreements: list[str] = []
        self._silent = 0

    def add(self, number: int, verdict: Verdict, example: Example, other: bool | None) -> None:
        self._counts.update([verdict.status, *(name for name in ("strict", "flexible") if getattr(verdict, name))])
        if verdict.reason:
            self._reasons[re.sub(r"-?\d+(?:[./]\d+)*", "N", verdict.reason)] += 1
        self._silent += other is None
        if other is not None and other != verdict.flexible:
            self._disagreements.append(
                f"row {number}: ours {int(verdict.flexible)}, other {int(other)}: "
                f"answer {verdict.answer[:60]!r}, gold {str(example.fields['answer'])[:60]!r}"
            )

    def print(self, rows: int, second: str | None) -> None:
        counts, failures = self._counts, self._counts[MISSING] + self._counts[UNREADABLE]
        lines = [
            f"{rows} rows: strict {counts['strict'] / rows:.1%}, flexible {counts['flexible'] / rows:.1%}, "
            f"parse failures {failures} (missing {counts[MISSING]}, unreadable {counts[UNREADABLE]}), "
            f"verifier errors {counts[ERROR]}"
        ]
        lines += [f"{count:6}  {reason}" for reason, count in self._reasons.most_common(SHOWN_REASONS)]
        if second:
            lines.append(f"{second} disagrees on {len(self._disagreements)} of {rows}, failed on {self._silent}")
            lines += self._disagreements
        print("\n".join(lines), file=sys.stderr)
