"""The main job beside the same training as a plain TRL script, one after the other.

    python benchmarks/main_job.py [config/config.yaml]

Without dynamic choice, which TRL lacks. Prints the seconds of each stage, GRPO completions a second and points of
pass@1 a second for both, and their ratios. Works in a copy, so that `results/` stays as it is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]
COPIED = ("Snakefile", "workflow", "rlvr_plugins", "config", "profiles", "benchmarks")


def copy(target: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target / name)


def run(command: list[str], folder: Path) -> tuple[str, float]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    env["PYTHONPATH"] = f"{folder / 'workflow'}:{folder}"
    start = time.perf_counter()
    result = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, encoding="utf-8")
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return result.stdout, time.perf_counter() - start


def row(name: str, workflow: float, plain: float, digits: int = 1) -> None:
    ratio = f"{workflow / plain:8.2f}" if plain else "       -"
    print(f"{name:38} {workflow:10.{digits}f} {plain:10.{digits}f} {ratio}")


def main() -> None:
    config = sys.argv[1] if len(sys.argv) > 1 else "config/config.yaml"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy(folder)
        command = ["snakemake", "--cores", "1", "--configfile", config]
        _, whole = run([*command, "--config", "grpo={dynamic: false}"], folder)
        [results] = (path for path in (folder / "results").iterdir() if path.is_dir())
        output, plain_whole = run([sys.executable, "benchmarks/plain_trl.py", str(results), config], folder)
        compare(results, whole, json.loads(output.splitlines()[-1]), plain_whole)


def compare(results: Path, whole: float, plain: dict, plain_whole: float) -> None:
    jobs = pd.read_csv(results / "report" / "stages.csv")
    work = (jobs["seconds"] - jobs["starting"]).groupby(jobs["stage"]).sum()
    table = pd.read_csv(results / "report" / "pass_at_1.csv")
    arms = table.groupby("arm")["strict"].mean()
    plain_arms = {arm: sum(tasks.values()) / len(tasks) for arm, tasks in plain["strict"].items()}
    [policy] = (results / "grpo").glob("*/seed*")
    completions = len(pd.read_parquet(policy / "completions.parquet"))
    seconds = plain["seconds"]

    print(f"{'':38} {'workflow':>10} {'plain TRL':>10}    ratio")
    row("sft, s", work["sft"], seconds["sft"] + seconds["sft setup"])
    row("grpo, s", work["grpo"], seconds["grpo"] + seconds["grpo setup"])
    row("generate, all arms, s", work["generate"], sum(seconds[f"generate {arm}"] for arm in plain_arms))
    for stage in ("data", "base", "filter", "dataset", "export", "score"):
        row(f"{stage}, s", work[stage], 0.0)
    row("importing and starting, s", jobs["starting"].sum(), plain_whole - seconds["whole"])
    row("whole command, s", whole, plain_whole)
    row("grpo, completions a second", completions / work["grpo"], completions / seconds["grpo"])
    gain, plain_gain = 100 * (arms["grpo"] - arms["base"]), 100 * (plain_arms["grpo"] - plain_arms["base"])
    row("pass@1 after sft, %", 100 * arms["sft"], 100 * plain_arms["sft"])
    row("pass@1 after grpo, %", 100 * arms["grpo"], 100 * plain_arms["grpo"])
    row("points of pass@1 a second, whole", gain / whole, plain_gain / plain_whole, 3)
    grpo_gain = 100 * (arms["grpo"] - arms["sft"]) / work["grpo"]
    plain_grpo_gain = 100 * (plain_arms["grpo"] - plain_arms["sft"]) / (seconds["grpo"] + seconds["grpo setup"])
    row("points of pass@1 a second, grpo", grpo_gain, plain_grpo_gain, 3)


if __name__ == "__main__":
    main()
