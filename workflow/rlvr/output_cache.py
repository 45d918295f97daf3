"""Snakemake's output cache: which of its entries belong together.

A cached job is stored under one key, a file or folder for each of its outputs, `<key>_<output><ending>`. Snakemake
takes a job from the cache where all of them exist, looks into none, and moves a new folder into one that is still
there: of a damaged job all entries have to go.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

from rlvr.errors import RlvrError

ENTRY = re.compile(r"([0-9a-f]{64})_[^/]+")


def entries_of(file: Path) -> list[Path]:
    """All entries of the key that a file is taken from, none where it is not linked to a cache."""
    place = Path(os.path.realpath(file))
    for part in (place, *place.parents):
        if found := ENTRY.fullmatch(part.name):
            there = sorted(part.parent.glob(f"{found[1]}_*"))
            return list(dict.fromkeys([*there, part]))
    return []


def check(folder: Path) -> None:
    """Raises RlvrError for a link to an entry that is gone, naming the command that removes them: Snakemake would stop.

    folder: of an experiment, which need not be there.
    """
    for inner, folders, files in os.walk(folder):
        for path in (Path(inner, name) for name in (*folders, *files)):
            if path.is_symlink() and not path.exists() and _leads_to_an_entry(path):
                raise RlvrError(
                    f"{path}: leads to {path.readlink()}, which the output cache no longer has; bring it back, or, to "
                    f"have made again what is missing: find {shlex.quote(str(folder))} -xtype l -delete"
                )


def _leads_to_an_entry(link: Path) -> bool:
    return any(ENTRY.fullmatch(part) for part in link.readlink().parts)
