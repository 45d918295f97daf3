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
from test_dag import planned

import sameness
from conftest import MICRO, copy_checkout, snakemake, write_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def default(tmp_path_factory) -> Path:
    """A copy of the checkout in which the embedded default has run with three seeds and two controls."""
    checkout = copy_checkout(tmp_path_factory.mktemp("default") / "checkout")
    print(snakemake(checkout, "--configfile", "config/config.yaml", "config/controls.yaml").stdout)
    return checkout


def test_the_embedded_default_learns_under_every_seed_and_its_controls_do_not(default):
    """Base knows nothing, SFT gets at least 25 %, GRPO at least 60 % and 25 points more."""
    report = default / "results/tiny/report"
    print((report / "summary.txt").read_text())
    table = pd.read_csv(report / "pass_at_1.csv").set_index("cell")["strict"]
    strict = {name.removesuffix("/countdown/greedy"): value for name, value in table.items()}
    assert strict["base"] == 0 and strict["sft"] >= 0.25
    compared = pd.read_csv(report / "comparisons.csv").set_index(["from", "to"])
    for seed in (0, 1, 2):
        real = f"grpo/dapo/seed{seed}"
        assert strict[real] >= max(0.60, strict["sft"] + 0.25)
        row = compared.loc[("sft", real)]
        assert row["n"] >= 500 and row["p_holm"] < 0.001 and row["verdict"] == "evidence"
    random = compared.loc[("sft", "grpo/random_reward/seed0")]
    assert random["difference"] <= 0 or random["verdict"] == "none"
    beaten = compared.loc[("grpo/dapo/seed0", "grpo/random_reward/seed0")]
    assert beaten["difference"] < 0 and beaten["verdict"] == "evidence"


def test_format_and_answer_add_up_for_every_pair_of_the_default(default):
    moved = pd.read_csv(default / "results/tiny/report/moved.csv")
    assert len(moved) >= 8
    assert (moved["format"] + moved["answer"] - moved["difference"]).abs().max() < 1e-5
    assert (moved["gained"] == moved["gained_format"] + moved["gained_answer"]).all()


def test_seeds_and_controls_shared_one_warm_start(default):
    stages = pd.read_csv(default / "results/tiny/report/stages.csv")["stage"].value_counts()
    assert stages["sft"] == 1 and stages["grpo"] == 5


def test_the_audit_of_the_default_holds_until_one_byte_changes(default):
    def audit() -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "rlvr", "audit", "results/tiny"]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(default / "workflow"), str(default)])}
        return subprocess.run(command, cwd=default, env=env, capture_output=True, text=True)

    sound = audit()
    assert sound.returncode == 0, sound.stdout + sound.stderr
    file = default / "results/tiny/eval/grpo/dapo/seed1/countdown/greedy/completions.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    damaged = audit()
    file.write_bytes(whole)
    assert damaged.returncode == 1
    assert "eval/grpo/dapo/seed1/countdown/greedy/completions.parquet" in damaged.stdout + damaged.stderr


def test_the_same_seed_gives_the_same_table_and_completions(finished, checkout):
    snakemake(checkout)
    made = [finished / "results/micro", checkout / "results/micro"]
    compared = sameness.files(made[0])
    kinds = {".parquet", ".safetensors", ".html", ".csv", ".md", ".svg", ".png"}
    assert {file.suffix for file in compared} >= kinds and len(compared) > 50
    assert sameness.differences(*made) == []


@pytest.mark.usefixtures("preloaded")
def test_a_second_clone_reuses_what_the_cache_holds_and_refuses_what_is_damaged(tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir()
    env = {"SNAKEMAKE_OUTPUT_CACHE": str(cache), "RLVR_CACHE_KEY": str(tmp_path / "key")}
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
    assert "sft/policy/model.safetensors is damaged" in result.stdout and str(stored.parent) in result.stdout


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
    deadline = time.monotonic() + 3000
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


@pytest.mark.usefixtures("preloaded")
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
