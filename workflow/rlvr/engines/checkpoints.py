"""Checkpoints of a training run. Each is sealed with the digests of its files and used only while they hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from rlvr import console, digests, provenance
from rlvr.provenance import sha256

SEAL = "rlvr_seal.json"


def key(stage: str, **parts: Any) -> str:
    """Name of the folder for a run of a stage: its code, library versions, and `parts`, JSON values."""
    parts |= {
        "code": digests.stage(stage),
        "versions": provenance.versions((*provenance.DECISIVE, *provenance.ENGINES)),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def latest(folder: Path) -> Path | None:
    """The newest checkpoint whose seal holds; damaged ones are passed over and named in the log."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]), reverse=True)
    for checkpoint in found:
        problem = _problem(checkpoint)
        if problem is None:
            return checkpoint
        console.note(f"{checkpoint} is passed over: {problem}")
    return None


def _problem(checkpoint: Path) -> str | None:
    seal = checkpoint / SEAL
    if not seal.is_file():
        return "it was not finished"
    for name, digest in json.loads(seal.read_text()).items():
        file = checkpoint / name
        if not file.is_file() or sha256(file) != digest:
            return f"{name} is damaged"
    return None


class Sealer(TrainerCallback):
    """Seals each checkpoint once it is written; `save(folder)` may add a file of its own first."""

    def __init__(self, save: Callable[[Path], None] | None = None) -> None:
        self._save = save

    def on_save(self, args, state, control, **kwargs):
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if self._save:
            self._save(checkpoint)
        digests = {
            file.relative_to(checkpoint).as_posix(): sha256(file)
            for file in sorted(checkpoint.rglob("*"))
            if file.is_file() and file.name != SEAL
        }
        part = checkpoint / f".{SEAL}.part"
        part.write_text(json.dumps(digests))
        part.rename(checkpoint / SEAL)
