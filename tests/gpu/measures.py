"""What a part of `acceptance.py` measured, read from what its stages left; and the GPU's own meters while it ran."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import pandas as pd

QUERY = "memory.used,utilization.gpu,power.draw"
"""MiB, per cent, watts."""
EVERY = 500
"""Milliseconds between two readings."""


class Meters:
    """Reads nvidia-smi's memory, utilization and power while a block runs; nothing where there is none."""

    def __init__(self) -> None:
        self.read: list[tuple[float, list[float | None]]] = []
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Meters:
        line = ["nvidia-smi", f"--query-gpu={QUERY}", "--format=csv,noheader,nounits", "-lms", str(EVERY), "-i", "0"]
        try:
            self._process = subprocess.Popen(
                line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, encoding="utf-8"
            )
        except OSError:
            return self
        self._reader = threading.Thread(target=self._follow, daemon=True)
        self._reader.start()
        return self

    def _follow(self) -> None:
        for line in self._process.stdout:
            self.read.append((time.time(), [_number(value) for value in line.split(",")]))

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._reader.join()

    def between(self, start: float, end: float) -> dict[str, float]:
        """The device's largest memory in bytes, and mean utilization in per cent and power in watts.

        start, end: seconds since 1970. Without what the device does not tell, or was not read in that time.
        """
        rows = [values for at, values in self.read if start <= at <= end]
        memory, utilization, power = ([row[i] for row in rows if row[i] is not None] for i in range(3))
        found = {"device_memory_used_bytes": int(max(memory) * 2**20)} if memory else {}
        means = {"utilization_percent": utilization, "power_watts": power}
        return found | {name: round(sum(values) / len(values), 1) for name, values in means.items() if values}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # [N/A], of a meter that the device lacks
        return None


def training(folder: Path, meters: Meters) -> dict[str, Any]:
    """Of a folder of SFT or of a seed of GRPO."""
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    metrics = pd.read_parquet(folder / "metrics.parquet")
    facts = _facts(manifest, meters)
    if "num_tokens" in metrics:
        facts["tokens"] = int(metrics["num_tokens"].max())
        facts["tokens_per_second"] = _rate(facts["tokens"], manifest["train_seconds"])
    if "step_time" in metrics:
        facts["step_seconds"] = round(float(metrics["step_time"].median()), 3)
    if "sampling_time" in metrics:
        facts["phases"] = _phases(metrics, pd.read_parquet(folder / "completions.parquet", columns=["tokens"]))
    return {**facts, **{key: manifest[key] for key in ("steps", "train_seconds", "arguments")}}


def _phases(metrics: pd.DataFrame, completions: pd.DataFrame) -> dict[str, float]:
    """Of all steps of GRPO: sampling, and the rest: rewards, log-probabilities, loss, gradients and optimiser.

    The tokens that are trained are prompts and completions, those that are sampled completions only.
    """
    sampling = float(metrics["sampling_time"].sum())
    rest = float(metrics["step_time"].sum()) - sampling
    sampled, trained = int(completions["tokens"].sum()), int(metrics["num_tokens"].max())
    return {
        "sampling_seconds": round(sampling, 2),
        "sampled_tokens": sampled,
        "sampled_tokens_per_second": _rate(sampled, sampling),
        "training_seconds": round(rest, 2),
        "trained_tokens_per_second": _rate(trained, rest),
    }


def generation(manifest: Path, results: Path, meters: Meters) -> dict[str, Any]:
    """Of an arm's answers to the held-out items."""
    content = json.loads(manifest.read_text(encoding="utf-8"))
    return {
        "arm": "/".join(manifest.relative_to(results / "eval").parts[:-3]),
        **_facts(content, meters),
        "items": content["items"],
        **answering(manifest),
    }


def answering(manifest: Path) -> dict[str, float]:
    content = json.loads(manifest.read_text(encoding="utf-8"))
    tokens, seconds = content["tokens"], content["generation_seconds"]
    return {"tokens": tokens, "generation_seconds": seconds, "tokens_per_second": _rate(tokens, seconds)}


def _facts(manifest: dict[str, Any], meters: Meters) -> dict[str, Any]:
    start, work = (manifest["seconds"][name] for name in ("start", "work"))
    finished = datetime.fromisoformat(manifest["finished"]).timestamp()
    return {
        "engines": manifest["engines"],
        "start_seconds": start,
        "work_seconds": work,
        "peak_memory_bytes": manifest["peak_memory_bytes"],
        "peak_device_memory_bytes": manifest.get("peak_device_memory_bytes"),
        **meters.between(finished - work, finished + 1),
    }


def end_tokens(results: Path) -> dict[str, list[int]]:
    """By arm, the tokens at which its exported model ends a completion, as `generation_config.json` has them."""
    found = {}
    for file in sorted(results.glob("model/**/weights/generation_config.json")):
        ends = json.loads(file.read_text(encoding="utf-8"))["eos_token_id"]
        found["/".join(file.relative_to(results / "model").parts[:-2])] = ends if isinstance(ends, list) else [ends]
    return found


def parameters(weights: Path) -> int:
    """Of a model in a folder; tied ones count once."""
    from safetensors import safe_open

    total = 0
    for file in weights.glob("*.safetensors"):
        with safe_open(file, "numpy") as opened:
            for name in opened.keys():  # noqa: SIM118  it is no mapping
                count = 1
                for size in opened.get_slice(name).get_shape():
                    count *= size
                total += count
    return total


def _rate(tokens: int, seconds: float) -> float:
    return round(tokens / seconds, 1) if seconds else 0.0
