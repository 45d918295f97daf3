"""What a person sees of a stage: one progress bar; everything else goes to the log file."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tqdm import tqdm

from rlvr import attempt_logs

_screen = sys.stderr
SECONDS_BETWEEN_LINES = 15.0


@contextmanager
def quiet(log: Path | None) -> Iterator[Path | None]:
    """Sends standard output and error, at file level, to `log`; `say` and `bar` keep the screen.

    Gives the file that is written, which has a second name (`attempt_logs.start`).
    Libraries print from C++ and from child processes too, hence the file descriptors.
    """
    global _screen
    if log is None:
        yield None
        return
    name = attempt_logs.start(log)
    saved = [os.dup(1), os.dup(2)]
    before, _screen = _screen, _Screen(os.dup(2))
    with name.open("ab") as file:
        sys.stdout.flush(), sys.stderr.flush()
        os.dup2(file.fileno(), 1), os.dup2(file.fileno(), 2)
        try:
            yield name
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os.dup2(saved[0], 1), os.dup2(saved[1], 2)
            os.close(saved[0]), os.close(saved[1])
            _screen = before


class _Screen(io.TextIOWrapper):
    """The terminal, or what stands for it: it may be closed while a stage runs, and may not know every character."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(io.FileIO(descriptor, "w"), sys.stderr.encoding, "backslashreplace", write_through=True)

    def write(self, text: str) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def say(line: str) -> None:
    """One line for the person and the log."""
    print(line, file=_screen, flush=True)
    if _screen is not sys.stderr:
        print(line, file=sys.stderr, flush=True)


def note(line: str) -> None:
    """One line for the log."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def bar(title: str, total: int, unit: str) -> Iterator[tqdm]:
    """A progress bar with rate and time left; a line now and then where there is no terminal."""
    live = _screen.isatty()
    with tqdm(
        total=total,
        desc=title,
        unit=unit,
        file=_screen if live else _Lines(),
        mininterval=0.2 if live else SECONDS_BETWEEN_LINES,
        dynamic_ncols=live,
        ncols=None if live else 100,
        leave=True,
    ) as progress:
        yield progress


class _Lines:
    """A file for tqdm that writes each state on a line of its own, not over the last one."""

    def write(self, text: str) -> None:
        text = text.strip("\r\n")
        if text.strip():
            print(text, file=_screen, flush=True)

    def flush(self) -> None:
        pass
