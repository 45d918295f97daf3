"""Refuses the one DVC setting under which a report can go stale."""

from __future__ import annotations

import configparser
import os
from pathlib import Path

from rlvr.errors import RlvrError

UNSAFE = {"hardlink", "symlink"}


def check(root: Path) -> None:
    """Raises RlvrError when DVC's cache is set to hard links or symbolic links.

    A linked file keeps the time of its first checkout, so Snakemake can take an old report for a
    current one.
    """
    user = Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config")) / "dvc" / "config"
    for file in (Path("/etc/xdg/dvc/config"), user, root / ".dvc" / "config", root / ".dvc" / "config.local"):
        parser = configparser.ConfigParser(strict=False)
        try:
            parser.read(file, encoding="utf-8")
        except (configparser.Error, UnicodeDecodeError) as error:
            raise RlvrError(f"{file}: {str(error).splitlines()[0]}") from None
        chosen = {kind.strip() for kind in parser.get("cache", "type", fallback="").split(",")} & UNSAFE
        if chosen:
            raise RlvrError(
                f"{file}: cache.type {', '.join(sorted(chosen))} can leave a stale report; allowed: reflink, copy"
            )
