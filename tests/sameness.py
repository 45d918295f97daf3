"""What two runs of one experiment have in common: the same bytes, but for what tells the time."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

TIMED_COLUMNS = ["step_time", "sampling_time"]
TIMED_PAGES = ("index.html", "summary.txt", "stages.csv", "learning_curves.csv", "cells", "models")
PARTS = ("data", "model", "sft", "grpo", "eval", "dataset", "report")


def files(results: Path) -> list[Path]:
    """The files of an experiment that have the same bytes whenever it runs, relative to its folder."""
    found = [path.relative_to(results) for path in results.rglob("*.*") if path.is_file()]
    return sorted(file for file in found if _lasting(file))


def _lasting(file: Path) -> bool:
    part, name = file.parts[0], file.name
    timed = name.endswith(("manifest.json", "metrics.parquet", ".snakemake_timestamp", ".gitignore"))
    unfinished = any(folder.startswith(".") for folder in file.parts)
    return part in PARTS and not timed and not unfinished and not (part == "report" and file.parts[1] in TIMED_PAGES)


def differences(one: Path, other: Path) -> list[str]:
    """What is not the same in the results of two runs of one experiment; empty where all is."""
    both = [set(files(folder)) for folder in (one, other)]
    found = [f"{file}: only in one" for file in sorted(both[0] ^ both[1])]
    found += [
        f"{file}: other bytes"
        for file in sorted(both[0] & both[1])
        if (one / file).read_bytes() != (other / file).read_bytes()
    ]
    for file in sorted(path.relative_to(one) for path in one.rglob("metrics.parquet")):
        if not (other / file).is_file() or not _metrics(one / file).equals(_metrics(other / file)):
            found.append(f"{file}: other metrics")
    return found + [
        f"{manifest}: other files" for manifest in _manifests(one) if _listed(one / manifest, other / manifest)
    ]


def _metrics(file: Path) -> pd.DataFrame:
    return pd.read_parquet(file).drop(columns=TIMED_COLUMNS, errors="ignore")


def _manifests(results: Path) -> list[Path]:
    return sorted(path.relative_to(results) for path in results.rglob("*manifest.json"))


def _listed(one: Path, other: Path) -> bool:
    """Whether two manifests list files of other names."""
    if not other.is_file():
        return True
    return len({frozenset(json.loads(manifest.read_text(encoding="utf-8"))["files"]) for manifest in (one, other)}) > 1
