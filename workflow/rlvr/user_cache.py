"""Where what is made once for a user is kept."""

from __future__ import annotations

import os
from pathlib import Path


def folder() -> Path:
    """`$RLVR_CACHE`, else `rlvr` in `$XDG_CACHE_HOME`, else `~/.cache/rlvr`."""
    if own := os.environ.get("RLVR_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlvr"
