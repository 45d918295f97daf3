"""Copies of this checkout to run in; for the tests and for scripts on hosts without pytest."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEFT_OUT = shutil.ignore_patterns(
    ".git",
    ".venv",
    ".bundles",
    ".snakemake",
    "__pycache__",
    ".pytest_cache",
    ".ruff_cache",
    "*.egg-info",
    "cache",
    "tmp",
    "build",
)


def copy_checkout(target: Path) -> Path:
    """The files of this checkout, without what runs and installs leave. target: a folder outside of it."""
    shutil.copytree(ROOT, target, ignore=_left_out, dirs_exist_ok=True)
    return target


def _left_out(folder: str, names: list[str]) -> set[str]:
    runs = {name for name in names if (Path(folder) / name).is_dir()} if Path(folder) == ROOT / "results" else set()
    return {*LEFT_OUT(folder, names), *runs}
