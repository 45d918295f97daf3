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

    Raises RlvrError when the disk fills up meanwhile.
    """
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise RlvrError(f"{folder}: the disk is full; free some space and run again") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


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
