"""Python's UTF-8 mode, whatever the locale: libraries open files without a word on the encoding too."""

from __future__ import annotations

import os
import sys
from pathlib import Path

PROGRAMS = ("rlvr", "snakemake")


def ensure() -> None:
    """Starts the command anew in that mode where the locale is another one, such as C with PYTHONUTF8=0.

    To be called before anything is done; what it starts is in that mode too. Where another program than ours or
    snakemake calls it, only what is started is.
    """
    again = os.environ.get("PYTHONUTF8") == "1"  # `-X utf8=0` and -E outweigh it
    os.environ["PYTHONUTF8"] = "1"
    program = Path(sys.argv[0])
    ours = program.name in PROGRAMS or (program.name == "__main__.py" and program.parent.name in PROGRAMS)
    if sys.getfilesystemencoding() != "utf-8" and ours and not again:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
