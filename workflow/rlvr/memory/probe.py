"""Runs two steps of a training stage at its longest, in a process of its own, and measures what they take."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rlvr import console, gpu_lock, slice_files, trainer_options
from rlvr.engines import choice, device
from rlvr.errors import RlvrError
from rlvr.memory import longest, oom

STEPS = 2
"""The states of the optimiser are there from the second step on."""
UNSEEN = ("rows",)
"""Parts of an estimate that a probe does not have: it reads few rows."""
UNSEEN_ON_GPU = ("rows", "runtime")
"""torch counts what it allocates itself, not the GPU's context."""
MIB = 2**20


def run(
    probes: list[tuple[str, str]],
    slices: list[Path],
    base: Path,
    data: dict[str, list[Path]],
    estimated: dict[str, dict[str, Any]],
    folder: Path,
) -> dict[str, dict[str, Any]]:
    """Bytes predicted and measured of each stage, their ratio, and seconds; predicted without what a probe can't see.

    probes: stages of the estimate with the names of their `slices`. data: rows of `sft` and `train`.
    estimated: the stages of `Check.record`. folder: for what the stages write; empty or not there, and gone afterwards.

    Raises RlvrError with the line of a stage that fails.
    """
    found = {}
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    try:
        for (stage, name), file in zip(probes, slices, strict=True):
            manifest, seconds = _steps(
                stage, slice_files.read(file, stage.partition("/")[0]), base, data, folder / name
            )
            on_gpu = manifest.get("peak_device_memory_bytes")
            measured, left_out = (on_gpu, UNSEEN_ON_GPU) if on_gpu else (manifest["peak_memory_bytes"], UNSEEN)
            known = estimated[stage]
            predicted = known["total"] - sum(known["parts"].get(part, 0) for part in left_out)
            ratio = predicted / measured
            found[stage] = {
                "config": name,
                "predicted": predicted,
                "measured": measured,
                "ratio": round(ratio, 3),
                "seconds": round(seconds, 1),
            }
            console.say(
                f"preflight: {stage}: {predicted / MIB:,.0f} MiB predicted, {measured / MIB:,.0f} MiB measured "
                f"({100 * (ratio - 1):+.0f} %), {seconds:.0f} s"
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return found


def _steps(
    stage: str, slice_: dict[str, Any], base: Path, data: dict[str, list[Path]], folder: Path
) -> tuple[dict[str, Any], float]:
    """The stage's manifest, and its seconds with those of starting."""
    kind = stage.partition("/")[0]
    folder.mkdir(parents=True)
    config = folder / "config.json"
    config.write_text(json.dumps(shortened(kind, with_engines(kind, slice_))), encoding="utf-8")
    files = data["sft" if kind == "sft" else "train"]
    if not slice_["trainer"].get("packing"):  # which makes all rows the longest there can be
        (folder / "rows").mkdir()
        files = longest.write(files, base, prompts(kind, slice_["trainer"]), folder / "rows")
    outputs = ["policy", "metrics", *(["completions", "evaluated"] if kind == "grpo" else [])]
    command = [sys.executable, "-m", "rlvr", kind, "--config", config, "--base", base, "--data", *files]
    for name in outputs:
        command += [f"--{name}", folder / name]
    log, began = folder / "log", time.monotonic()
    files, environment = gpu_lock.inherited()
    with log.open("wb") as file:
        done = subprocess.run(
            [*command, "--manifest", folder / "manifest.json"],
            stdout=file,
            stderr=file,
            pass_fds=files,
            env={**os.environ, **environment},
        )
    seconds = time.monotonic() - began
    text = log.read_text(errors="replace", encoding="utf-8")
    console.note(f"probe of {stage}:\n{text}")
    if done.returncode:
        raise RlvrError(f"probe of {stage}: {_problem(kind, slice_, done.returncode, text)}")
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8")), seconds


def _problem(kind: str, slice_: dict[str, Any], code: int, text: str) -> str:
    """The stage's own line; where it was killed, it is the kernel that does so when memory runs out."""
    said = [line for line in text.splitlines() if line.startswith(f"rlvr {kind}: ")]
    if said:
        return said[-1].removeprefix(f"rlvr {kind}: ")
    if code == -9:
        return f"killed, as the system does when memory runs out: {oom.line(MemoryError(), kind, slice_)}"
    return f"it ended with {code}; see the log"


def with_engines(kind: str, slice_: dict[str, Any]) -> dict[str, Any]:
    """The slice with the engines that the stage would choose, whatever a probe leaves out."""
    chosen, wanted, adapter = device.choose(slice_["device"]), slice_["engines"], slice_["adapter"]
    training = choice.training(wanted["training"], adapter, chosen, wanted["obstacle"])
    engines = {**wanted, "training": training}
    if kind == "grpo":
        engines["rollouts"] = choice.rollouts(wanted["rollouts"], training, adapter, chosen)
    return {**slice_, "engines": engines}


def shortened(kind: str, slice_: dict[str, Any]) -> dict[str, Any]:
    """The slice for two steps: all completions at their longest, nothing kept on the way, no evaluation.

    slice_: of `with_engines`.
    """
    trainer = {**slice_["trainer"], "max_steps": STEPS, "save_strategy": "no"}
    if kind == "sft":
        return {**slice_, "trainer": trainer}
    longest_ = trainer_options.value("grpo", trainer, "max_completion_length")
    least = "min_tokens" if slice_["engines"]["rollouts"].startswith("vllm") else "min_new_tokens"
    given = trainer.get("generation_kwargs") or {}
    given = json.loads(given) if isinstance(given, str) else given
    trainer["generation_kwargs"] = {**given, least: longest_}
    without = {"dynamic": None, "evaluate": None, "order": "shuffled", "max_failures": 1.0}
    without["max_zero_variance_steps"] = None
    return {**slice_, **without, "trainer": trainer}


def prompts(kind: str, trainer: dict[str, Any]) -> int:
    """Rows of one step of SFT, or prompts that GRPO samples at once."""
    if kind == "sft":
        return trainer_options.step_rows(kind, trainer)
    at_once, group = trainer_options.generated_at_once(trainer), trainer_options.value(kind, trainer, "num_generations")
    return max(1, at_once // group)
