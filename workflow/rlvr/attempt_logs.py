"""The log of a stage, a file for each attempt: Snakemake deletes the file in `log:` before it tries a job again."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from rlvr.errors import RlvrError

KEPT = 5
"""Logs that stay of attempts that did not succeed."""


def start(log: Path) -> Path:
    """A new file `log.N`, to which `log` is a second name, so that it outlives `log`.

    Of those of earlier attempts the last few stay. What lies under the name `log` becomes one of them first, where it
    is none. What is no file, such as /dev/stderr, is given back as it is. Raises RlvrError where it can't be written.
    """
    try:
        return _start(log)
    except OSError as error:
        raise RlvrError(
            f"--log: {log} can't be written ({error.strerror}); allowed: a file in a folder that can be written"
        ) from None


def _start(log: Path) -> Path:
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if log.exists():
        if not log.is_file():
            return log
        if not any(log.samefile(file) for _, file in _numbered(log)):
            log.replace(_new(log))
    file = _new(log)
    for number, old in _numbered(log):
        if number <= int(file.suffix[1:]) - KEPT:
            old.unlink(missing_ok=True)
    part = log.with_name(f".{file.name}.part")
    try:
        os.link(file, part)
    except OSError:  # a file system without hard links
        part.symlink_to(file.name)
    part.replace(log)
    return file


def succeeded(log: Path, file: Path) -> None:
    """Leaves what `start` gave the name `log` alone."""
    if file != log:
        log.unlink(missing_ok=True)
        file.rename(log)


def earlier(log: Path, file: Path) -> Path | None:
    """The log of the attempt before the one that writes `file`, None where there is none."""
    before = [old for _, old in _numbered(log) if old != file]
    return before[-1] if before else None


def _new(log: Path) -> Path:
    """A new, empty file with the next number; another process may be taking one too."""
    number = max((number for number, _ in _numbered(log)), default=0)
    while True:
        number += 1
        file = log.with_name(f"{log.name}.{number}")
        try:
            file.touch(exist_ok=False)
        except FileExistsError:
            continue
        return file


def _numbered(log: Path) -> list[tuple[int, Path]]:
    """The logs of attempts that have not succeeded, or not yet, by their numbers, oldest first."""
    pattern = re.compile(re.escape(log.name) + r"\.([1-9][0-9]{0,8})")
    found = [(pattern.fullmatch(file.name), file) for file in log.parent.iterdir()]
    return sorted((int(match[1]), file) for match, file in found if match and not file.is_dir())
