"""What takes minutes: the embedded default, the same run twice, the cache, a killed run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml
from test_dag import planned

from conftest import MICRO, ROOT, copy_checkout, snakemake, write_config

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_embedded_default_learns(tmp_path, seed):
    """Base knows nothing, SFT gets at least 25 %, GRPO at least 60 % and 25 points more, on each task."""
    checkout = copy_checkout(tmp_path / "checkout")
    content = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    write_config(checkout, {**content, "seed": seed, "seeds": [seed]})
    snakemake(checkout)
    report = checkout / "results" / content["experiment"] / "report"
    table = pd.read_csv(report / "pass_at_1.csv")
    print((report / "summary.txt").read_text())
    for task, rows in table.groupby("task"):
        accuracy = rows.set_index("arm")["strict"]
        assert (rows["n"] >= 500).all()
        assert accuracy["base"] == 0, task
        assert accuracy["sft"] >= 0.25, task
        assert accuracy["grpo"] >= max(0.60, accuracy["sft"] + 0.25), task


def test_the_same_seed_gives_the_same_table_and_completions(tmp_path):
    made = []
    for name in ("first", "second"):
        checkout = copy_checkout(tmp_path / name)
        write_config(checkout, MICRO)
        snakemake(checkout)
        made.append(checkout / "results/micro")
    files = [path.relative_to(made[0]) for path in made[0].rglob("*.parquet") if path.name != "metrics.parquet"]
    assert len(files) > 10
    for file in [*files, Path("report/pass_at_1.csv"), Path("report/pass_at_1.md")]:
        assert (made[0] / file).read_bytes() == (made[1] / file).read_bytes(), file


def test_a_second_clone_reuses_what_the_cache_holds_and_refuses_what_is_damaged(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    env = {"SNAKEMAKE_OUTPUT_CACHE": str(cache)}
    stages = ("sft", "grpo/dapo/seed0", "grpo/dr_grpo/seed0", "model/sft", "model/grpo/dapo/seed0")

    def clone(name: str, **changes) -> Path:
        checkout = copy_checkout(tmp_path / name)
        write_config(checkout, {**MICRO, **changes})
        return checkout

    def times(checkout: Path) -> list[str]:
        return [json.loads((checkout / "results/micro" / s / "manifest.json").read_text())["finished"] for s in stages]

    first, second = clone("first"), clone("second")
    snakemake(first, "--cache", **env)
    snakemake(second, "--cache", **env)
    assert times(first) == times(second)
    assert planned(second) == {}
    tables = [(c / "results/micro/report/pass_at_1.csv").read_bytes() for c in (first, second)]
    assert tables[0] == tables[1]

    other = clone("other", sft={"trainer": {**MICRO["sft"]["trainer"], "learning_rate": 1e-4}})
    snakemake(other, "--cache", "--until", "sft", **env)
    finished = json.loads((other / "results/micro/sft/manifest.json").read_text())["finished"]
    assert finished != times(first)[0], "another config slice is another entry"

    third = clone("third")
    stored = (first / "results/micro/sft/policy/model.safetensors").resolve()
    assert stored.is_relative_to(cache)
    stored.chmod(0o644)
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    result = snakemake(third, "--cache", check=False, **env)
    assert result.returncode != 0
    assert "sft/policy/model.safetensors is damaged" in result.stdout and str(stored) in result.stdout


def test_a_killed_workflow_says_the_command_to_give_and_then_goes_on(checkout):
    slow = {**MICRO, "sft": {"trainer": {**MICRO["sft"]["trainer"], "max_steps": 400, "save_steps": 20}}}
    write_config(checkout, slow)
    process = subprocess.Popen(
        ["snakemake", "--cores", "1"],
        cwd=checkout,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while not list(checkout.rglob("rlvr_seal.json")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (checkout / "results/micro/sft/manifest.json").exists()
    refused = snakemake(checkout, check=False).stdout
    if "--unlock" in refused:
        snakemake(checkout, "--unlock")
        refused = snakemake(checkout).stdout
    assert "sft: goes on from checkpoint-" in refused
    assert (checkout / "results/micro/report/pass_at_1.csv").is_file()


def test_a_task_of_reasoning_gym_runs_from_data_to_table(tmp_path):
    checkout = copy_checkout(tmp_path / "checkout")
    name = "reasoning_gym:chain_sum"
    tasks = {name: {"train": 64, "sft": 64, "eval": 12, "options": {"config": {"max_terms": 3}}}}
    write_config(checkout, {**MICRO, "tasks": tasks})
    snakemake(checkout)
    report = checkout / "results/micro/report"
    table = pd.read_csv(report / "pass_at_1.csv")
    assert set(table["task"]) == {name} and (table["n"] == 12).all()
    scores = pd.read_parquet(checkout / "results/micro/eval/base" / name / "greedy/scores.parquet")
    assert not (scores["status"] == "error").any()
    assert planned(checkout) == {}
