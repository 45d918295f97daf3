"""Files that are on the disk before what counts on them is written."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path


def sync(path: Path) -> None:
    """Waits until a file, or the entries of a folder, are on the disk, where its file system can tell."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS):
            raise
    finally:
        os.close(opened)


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all; it is on the disk when this returns."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding="utf-8")
        sync(part)
        part.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
    sync(path.parent)
