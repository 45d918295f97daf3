"""Checkpoints that survive a killed run.

They lie beside the declared outputs, in a folder named after what they depend on, under a lock: a
child that outlived its killed workflow can't train beside the next one. Each is sealed with the
digests of its files and used only while they hold.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from rlvr import console, digests, provenance
from rlvr.errors import RlvrError
from rlvr.provenance import sha256

SEAL = "rlvr_seal.json"
FOLDER = ".checkpoints"


def key(stage: str, **parts: Any) -> str:
    """Name of the folder for a run of a stage: its code, library versions, and `parts`, JSON values."""
    parts |= {
        "code": digests.stage(stage),
        "versions": provenance.versions((*provenance.DECISIVE, *provenance.ENGINES)),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def kept(beside: Path, name: str) -> Iterator[Path]:
    """The run's checkpoint folder, locked; removed, with those of other keys, on success."""
    root = beside.parent / FOLDER
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    with (root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RlvrError(f"{folder}: another process is training here; stop it first") from None
        yield folder
        shutil.rmtree(root)


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
