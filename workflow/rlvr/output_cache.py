"""Snakemake's output cache: which of its entries belong together.

A cached job is stored under one key, a file or folder for each of its outputs, `<key>_<output><ending>`. Snakemake
takes a job from the cache where all of them exist, looks into none, and moves a new folder into one that is still
there: of a damaged job all entries have to go.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

ENTRY = re.compile(r"([0-9a-f]{64})_[^/]+")


def entries_of(file: Path) -> list[Path]:
    """All entries of the key that a file is taken from, none where it is not linked to a cache."""
    place = Path(os.path.realpath(file))
    for part in (place, *place.parents):
        if found := ENTRY.fullmatch(part.name):
            there = sorted(part.parent.glob(f"{found[1]}_*"))
            return list(dict.fromkeys([*there, part]))
    return []
