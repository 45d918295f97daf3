"""Checkpoints of a training run. Each is sealed with the digests of its files and used only while they hold."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer import TRAINER_STATE_NAME

from rlvr import console, digests, durable, listing, provenance
from rlvr.errors import RlvrError
from rlvr.provenance import sha256

SEAL = "rlvr_seal.json"
NAME = re.compile("checkpoint-(0|[1-9][0-9]*)")


def key(stage: str, **parts: Any) -> str:
    """Name of the folder for a run of a stage: its code, library versions, and `parts`, JSON values."""
    parts |= {
        "code": digests.stage(stage),
        "versions": provenance.versions((*provenance.DECISIVE, *provenance.ENGINES)),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def latest(folder: Path) -> Path | None:
    """The newest checkpoint whose seal holds; what is no sound checkpoint is passed over and named in the log.

    It is renamed: the trainer would write into it at the same step, or count it among those it keeps.
    """
    steps = {}
    for path in sorted(folder.glob("checkpoint-*")):
        if NAME.fullmatch(path.name):
            steps[int(path.name.rpartition("-")[2])] = path
        else:
            _pass_over(path, "it is no checkpoint")
    for _, checkpoint in sorted(steps.items(), reverse=True):
        problem = _problem(checkpoint)
        if problem is None:
            return checkpoint
        _pass_over(checkpoint, problem)
    return None


def _problem(checkpoint: Path) -> str | None:
    try:
        if not checkpoint.is_dir():
            return "it is no folder"
        if not os.path.lexists(checkpoint / SEAL):
            return "it was not finished"
        sealed = json.loads((checkpoint / SEAL).read_text(encoding="utf-8"))
        if not isinstance(sealed, dict) or not sealed or not all(map(listing.is_below, sealed)):
            return "its seal is damaged"
        for name, digest in sealed.items():
            file = checkpoint / name
            if not file.is_file() or sha256(file) != digest:
                return f"{listing.shown(name)} is damaged"
        if TRAINER_STATE_NAME in sealed:
            state = json.loads((checkpoint / TRAINER_STATE_NAME).read_text(encoding="utf-8"))
            if checkpoint.name != f"checkpoint-{state['global_step']}":
                return f"it is of step {state['global_step']}"
        stray = next(listing.unlisted(checkpoint, {*sealed, SEAL}), None)
    except OSError as error:
        return f"it can't be read ({error.strerror})"
    except (ValueError, RecursionError):
        return "its seal is damaged"
    return f"{listing.shown(stray)} is not in its seal" if stray else None


def _pass_over(checkpoint: Path, problem: str) -> None:
    console.note(f"{listing.shown(checkpoint)} is passed over: {problem}")
    aside = checkpoint.with_name(f"passed-over-{checkpoint.name}")
    try:
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside)
        else:
            aside.unlink(missing_ok=True)
        checkpoint.rename(aside)
    except OSError as error:
        raise RlvrError(
            f"{listing.shown(checkpoint)}: {problem}, and it can't be renamed ({error.strerror}); delete it"
        ) from None


class Sealer(TrainerCallback):
    """Seals each checkpoint once it is written; `save(folder)` may add a file of its own first."""

    def __init__(self, save: Callable[[Path], None] | None = None) -> None:
        self._save = save

    def on_save(self, args, state, control, **kwargs):
        checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if self._save:
            self._save(checkpoint)
        names = [name for name in listing.files(checkpoint) if name != SEAL]
        digests = {name: sha256(checkpoint / name) for name in names}
        for path in (*map(checkpoint.joinpath, names), *{(checkpoint / name).parent for name in names}):
            durable.sync(path)
        durable.write_text(checkpoint / SEAL, json.dumps(digests))
