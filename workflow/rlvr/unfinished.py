"""What a stage needs to go on after a kill: kept until its manifest is on the disk, under a lock.

It lies beside the declared outputs, which Snakemake deletes before it does a broken job again, in a folder named after
what it depends on. A child that outlived its killed workflow can't work beside the next one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TextIO

from rlvr import durable
from rlvr.errors import RlvrError

FOLDER = ".checkpoints"
REMOVED = ".removed.part"

_held: ContextVar[list[tuple[Path, TextIO]] | None] = ContextVar("held", default=None)


@contextlib.contextmanager
def until_finished() -> Iterator[None]:
    """Around a stage and the writing of its manifest: what it kept stays locked until the end and is removed then.

    Where something is raised, all stays as it is.
    """
    held: list[tuple[Path, TextIO]] = []
    reset = _held.set(held)
    try:
        yield
        for root, _ in held:
            _remove(root)
    finally:
        _held.reset(reset)
        for _, lock in held:
            _unlock(lock)


@contextlib.contextmanager
def kept(beside: Path, name: str) -> Iterator[Path]:
    """A folder beside the output `beside` that survives a kill, locked.

    Within `until_finished` it is locked, and then removed with those of other names, by that; else it stays.
    Raises RlvrError where another process has it.
    """
    root = beside.parent / FOLDER
    held, lock = _held.get(), _locked(root)
    if held is not None:
        held.append((root, lock))
    try:
        folder = root / name
        folder.mkdir(exist_ok=True)
        yield folder
    finally:
        if held is None:
            _unlock(lock)


def _locked(root: Path) -> TextIO:
    """The lock of a folder, which is made. Another process may finish, and remove both, meanwhile."""
    while True:
        root.mkdir(parents=True, exist_ok=True)
        file = root / "lock"
        try:
            lock = file.open("w", encoding="utf-8")
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if file.exists() and os.path.samestat(file.stat(), os.fstat(lock.fileno())):
                return lock
        except BlockingIOError:
            lock.close()
            raise RlvrError(f"{root}: another process is training here; stop it first") from None
        except FileNotFoundError:
            pass
        lock.close()


def _unlock(lock: TextIO) -> None:
    fcntl.flock(lock, fcntl.LOCK_UN)  # for those too that a fork left it to
    lock.close()


def _remove(root: Path) -> None:
    """Removes a folder at once, as seen from the next run: one that is half removed would be gone on from.

    The stage is finished: where a disk refuses, the folder stays.
    """
    removed = root.with_name(REMOVED)
    shutil.rmtree(removed, ignore_errors=True)
    with contextlib.suppress(OSError):
        root.rename(removed)
        durable.sync(root.parent)
    shutil.rmtree(removed, ignore_errors=True)
