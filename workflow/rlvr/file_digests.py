"""Digests of files that data comes from, so that an edit is noticed that keeps size and time.

A file is read once: its digest is remembered beside Snakemake's own state until its size, its times, the
change of its entry (ctime, which no program can set) or its inode differ.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from functools import cache
from pathlib import Path

CACHE = Path(".snakemake") / "rlvr_file_digests.json"


def file(path: str) -> str:
    """The sha256 of a file, "absent" where it can't be read."""
    try:
        state = Path(path).stat()
        identity = [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_dev]
        return _digest(str(Path(path).resolve()), tuple(identity))
    except OSError:
        return "absent"


@cache
def _digest(path: str, identity: tuple[int, ...]) -> str:
    known = _read()
    found = known.get(path)
    if isinstance(found, dict) and found.get("identity") == list(identity) and isinstance(found.get("sha256"), str):
        return found["sha256"]
    with Path(path).open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    _write({**known, path: {"identity": list(identity), "sha256": digest}})
    return digest


def _read() -> dict:
    """What is remembered; nothing where that is damaged or not there."""
    try:
        known = json.loads(CACHE.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(known: dict) -> None:
    """Remembers, or does not: without it the file is read again."""
    part = None
    try:
        CACHE.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", dir=CACHE.parent, prefix=f".{CACHE.name}.", delete=False, encoding="utf-8"
        ) as opened:
            part = Path(opened.name)
            json.dump(known, opened, indent=1)
        part.replace(CACHE)
    except OSError:
        if part:
            part.unlink(missing_ok=True)
