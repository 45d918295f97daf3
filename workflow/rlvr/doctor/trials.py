"""Runs the probes, at once, each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

PROBE = Path(__file__).with_name("probe.py")
SECONDS = 300.0
"""Importing Unsloth and vLLM, all probes at once, can take a minute and more where other jobs hold the cores."""
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "UNSLOTH_DISABLE_STATISTICS": "1",
    "WANDB_MODE": "offline",
}


def run(probes: dict[str, list[str]], seconds: float | None = None) -> dict[str, dict[str, Any]]:
    """What each named probe answers to its arguments, with `seconds`; a failed one has `problem`, one line.

    seconds: wall time for each, `SECONDS` unless given.
    """
    seconds = SECONDS if seconds is None else seconds
    with ThreadPoolExecutor(max(1, len(probes))) as pool:
        answers = pool.map(lambda name: _one(name, probes[name], seconds), probes)
        return dict(zip(probes, answers, strict=True))


def _one(name: str, arguments: list[str], seconds: float) -> dict[str, Any]:
    started = time.monotonic()
    command = [sys.executable, "-P", str(PROBE), name, *arguments]
    with (
        tempfile.TemporaryDirectory() as folder,  # Unsloth writes a cache to where it is imported
        subprocess.Popen(
            command,
            cwd=folder,
            env=os.environ | ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process,
    ):
        try:
            output, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return {"problem": f"no answer within {seconds:.0f} s", "seconds": seconds}
    return _read(output, process.returncode) | {"seconds": round(time.monotonic() - started, 1)}


def _read(output: bytes, code: int) -> dict[str, Any]:
    if code < 0:
        return {"problem": f"it crashed ({signal.Signals(-code).name})"}
    try:
        return json.loads(output)
    except ValueError:
        return {"problem": f"it ended with exit status {code} and without an answer"}
