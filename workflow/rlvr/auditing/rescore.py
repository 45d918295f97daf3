"""Judges all stored completions and writes the tables again, through snakemake, which may run nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rlvr import comparison
from rlvr import config as experiment_config
from rlvr.errors import RlvrError

JUDGES = ("score", "relabel")
RULES = ("default", "config_slice", *JUDGES, "report")


def run(files: list[Path], overrides: list[str], cores: int) -> int:
    """Returns snakemake's exit status. Raises RlvrError naming the first completions that are missing."""
    if cores < 1:
        raise RlvrError(f"--cores: {cores} is not possible; allowed: 1 or more")
    config = experiment_config.load(files or [Path("config/config.yaml")], overrides)
    completions = [
        Path("results", config.experiment, c.folder, "completions.parquet") for c in comparison.cells(config)
    ]
    missing = [path for path in completions if not path.is_file()]
    if missing:
        raise RlvrError(
            f"{missing[0]}: is missing ({len(missing)} of {len(completions)} are); rescore makes none: run "
            "snakemake first"
        )
    report = f"results/{config.experiment}/report/manifest.json"
    command = [sys.executable, "-m", "snakemake", report, "--cores", str(cores), "--forcerun", *JUDGES]
    command += ["--allowed-rules", *RULES]
    command += ["--configfile", *map(str, files)] if files else []
    command += ["--config", *overrides] if overrides else []
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return subprocess.run(command, env={**os.environ, "PATH": path}, check=False).returncode
