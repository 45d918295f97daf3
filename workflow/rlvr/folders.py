"""Folders that are written whole or not at all, where there is room for them."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rlvr.errors import RlvrError


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """A new folder to write to, which takes the place of `folder` when nothing was raised.

    Raises RlvrError when the disk fills up meanwhile. Of a folder that a user named, ask `require_replaceable` first.
    """
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        if folder.is_symlink():
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise RlvrError(f"{folder}: the disk is full; free some space and run again") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def require_replaceable(folder: Path) -> None:
    """Raises RlvrError for a folder with folders in it: no model was written there, and replacing deletes it all."""
    if folder.is_symlink() or not folder.exists():
        return
    if not folder.is_dir():
        raise RlvrError(f"{folder}: is a file; allowed: a new folder, or one that a model was written to")
    if inner := next((path.name for path in sorted(folder.iterdir()) if path.is_dir() and not path.is_symlink()), None):
        raise RlvrError(
            f"{folder}: holds the folder {inner}, as no model that was written there does; allowed: a new folder, or "
            "one that a model was written to, which is deleted"
        )


def require_space(wanted: str, *needs: tuple[Path, int]) -> None:
    """Raises RlvrError where the disks of these folders have less than these numbers of bytes free, taken together."""
    by_disk: dict[int, tuple[Path, int]] = {}
    for folder, size in needs:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        before = by_disk.get(there.stat().st_dev, (there, 0))[1]
        by_disk[there.stat().st_dev] = (there, before + size)
    for there, size in by_disk.values():
        free = shutil.disk_usage(there).free
        if size > free:
            raise RlvrError(
                f"{wanted} needs {amount(size)} on the disk of {there}, where {amount(free)} are free; "
                "free some, or set HF_HOME or the results folder to another disk"
            )


def amount(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.1f} MiB"
