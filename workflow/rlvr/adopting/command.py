"""The command `rlvr adopt`."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from rlvr.errors import RlvrError

SOURCES = Path("workflow")


def add_to(commands: argparse._SubParsersAction) -> None:
    """Adds the command to the parser."""
    adopt = commands.add_parser("adopt", help="verify results that were made elsewhere, so that snakemake keeps them")
    adopt.add_argument("--configfile", nargs="+", metavar="FILE", help="the experiment (default: config/config.yaml)")
    adopt.add_argument("--config", nargs="+", metavar="KEY=VALUE", help="laid over it, as snakemake takes it")
    adopt.set_defaults(run=_adopt)


def _adopt(arguments: argparse.Namespace) -> int:
    """Runs the code of this checkout, as snakemake does, whatever is installed."""
    if not Path("Snakefile").is_file() or not (SOURCES / "rlvr" / "adopting").is_dir():
        raise RlvrError(f"{Path.cwd()}: holds no workflow that can adopt; allowed: the folder of a checkout")
    command = [sys.executable, "-m", "rlvr.adopting"]
    for option in ("configfile", "config"):
        values = getattr(arguments, option)
        command += [f"--{option}", *values] if values else []
    path = [str(SOURCES.resolve()), str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(path)}, check=False).returncode
