"""Converts a merged model to GGUF with llama.cpp's own script, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from rlvr import console, gguf
from rlvr.errors import RlvrError

MAGIC = b"GGUF"


def run(config: dict[str, Any], *, model: Path, file: Path) -> dict[str, Any]:
    """`file` gets the weights, tokenizer and chat template of the folder `model`, in the config's `type`."""
    script = gguf.converter()
    unfinished = file.with_name(f".{file.name}.part")
    command = [sys.executable, str(script), str(model), "--outfile", str(unfinished), "--outtype", config["type"]]
    console.note(" ".join(command))
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", encoding="utf-8"
        )
        console.note(done.stdout)
        if done.returncode != 0 or not _is_gguf(unfinished):
            said = (done.stdout.strip().splitlines() or ["it said nothing"])[-1]
            raise RlvrError(f"{script.name} could not convert {model} (exit status {done.returncode}): {said[:300]}")
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
    return {"bytes": file.stat().st_size}


def _is_gguf(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as content:
        return content.read(len(MAGIC)) == MAGIC
