"""Which prompts GRPO trains on: all, those chosen by pass rate beforehand, or chosen while it samples.

    python benchmarks/prompt_choice.py [--seeds 0 1 2] [--choices none dynamic]

Runs the default experiment with each choice and seed, at about equal wall time: what sampling for the filter or
resampling costs is taken from the steps of GRPO. Prints greedy pass@1, the share of groups whose completions all earned
the same, among those sampled and those trained on, and the seconds of choosing and training. SFT of a seed is run once.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import yaml
from main_job import ROOT
from main_job import copy as copy_sources

from rlvr.reporting import runs
from rlvr.yaml_files import load_mapping

PASS_RATE = {"min_rate": 0.1, "max_rate": 0.9, "samples": 8, "max_completion_tokens": 30, "batch_size": 512}
CHOICES = {
    "none": {"steps": 120},
    "pass rate": {"steps": 90, "filter": {**PASS_RATE, "target_size": 600}},
    "dynamic": {"steps": 80, "dynamic": {"max_rounds": 3}},
}


def configured(default: dict, name: str, seed: int) -> dict:
    config, choice = copy.deepcopy(default), CHOICES[name]
    config |= {"experiment": f"{name.replace(' ', '-')}-{seed}", "seed": seed, "seeds": [seed]}
    config["grpo"]["trainer"]["max_steps"] = choice["steps"]
    if "filter" in choice:
        config["filters"].append({"pass_rate": choice["filter"]})
    config["grpo"]["dynamic"] = choice.get("dynamic", False)
    return config


def run(folder: Path, config: dict) -> dict[str, float]:
    file = folder / f"{config['experiment']}.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    cache = folder / "cache"
    cache.mkdir(exist_ok=True)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "SNAKEMAKE_OUTPUT_CACHE": str(cache)}
    env["PATH"] = f"{Path(sys.executable).parent}:{env['PATH']}"
    env["PYTHONPATH"] = f"{folder / 'workflow'}:{folder}"
    command = ["snakemake", "--cache", "sft", "--cores", "1", "--configfile", str(file)]
    result = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, encoding="utf-8")
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return measured(folder / "results" / config["experiment"])


def measured(results: Path) -> dict[str, float]:
    table = pd.read_csv(results / "report" / "pass_at_1.csv").set_index("arm")
    jobs = pd.read_csv(results / "report" / "stages.csv").groupby("stage")["seconds"].sum()
    [policy] = (results / "grpo").glob("*/seed*")
    return {
        "sft": 100 * table["strict"]["sft"],
        "grpo": 100 * table["strict"]["grpo"],
        **runs.measured(policy, json.loads((policy / "manifest.json").read_text(encoding="utf-8"))),
        "seconds": sum(jobs.get(stage, 0.0) for stage in ("rollouts", "select", "grpo")),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--choices", nargs="+", choices=list(CHOICES), default=list(CHOICES))
    given = parser.parse_args()
    default = load_mapping(ROOT / "config" / "config.yaml")
    with tempfile.TemporaryDirectory() as name:
        copy_sources(Path(name))
        rows = [
            {"choice": choice, "seed": seed, **run(Path(name), configured(default, choice, seed))}
            for seed in given.seeds
            for choice in given.choices
        ]
    found = pd.DataFrame(rows)
    print(found.round(1).to_markdown(index=False))
    means = found.groupby("choice", sort=False).mean(numeric_only=True).drop(columns="seed")
    if "none" in means.index:
        means["gain beside none"] = means["grpo"] - means["grpo"]["none"]
        means["time beside none"] = means["seconds"] / means["seconds"]["none"]
    print(means.round(2).to_markdown())


if __name__ == "__main__":
    main()
