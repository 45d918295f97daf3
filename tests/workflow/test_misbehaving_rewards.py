"""Rewards that hang, eat memory, crash or return nonsense, inside a real GRPO run."""

from __future__ import annotations

import copy
import json

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from conftest import MICRO, distribution, snakemake, write_config

MODULE = '''
import ctypes
from rlvr_plugins import Limits, Reward, hookimpl

LIMITS = Limits(sample_seconds=4.0, batch_seconds=600.0, memory_mib=512)

def often(sample):
    """About one completion in three."""
    return sample.draw % 3 == 0

def hangs(sample):
    while sample.draw % 8 == 0:
        pass
    return 1.0

def eats(sample):
    return float(len(bytearray(8 * 1024**3))) if often(sample) else 1.0

def segfaults(sample):
    return float(ctypes.string_at(0)[0]) if often(sample) else 1.0

def poison(sample):
    return (float("nan"), 1e38, float("-inf"), "1", [0.0], None)[sample.draw % 6]

@hookimpl
def rlvr_rewards():
    for function in (hangs, eats, segfaults):
        yield Reward(function.__name__, function, isolate=LIMITS)
    yield Reward("poison", poison)
'''
KINDS = {"hangs": "timeout", "eats": "memory", "segfaults": "crashed"}
RUN = "results/micro/grpo/dapo/seed0"


@pytest.fixture
def strange(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    return str(distribution(folder, MODULE))


def config(rewards: dict[str, float], max_failures: float) -> dict:
    changed = copy.deepcopy(MICRO)
    changed["grpo"] |= {"rewards": rewards, "max_failures": max_failures, "variants": {"dapo": {}}}
    changed["grpo"]["trainer"]["multi_objective_aggregation"] = "normalize_then_sum"
    return changed


def test_training_ends_and_the_counts_are_in_its_metrics(checkout, strange):
    rewards = {"correctness": 1.0, **dict.fromkeys([*KINDS, "poison"], 1.0)}
    write_config(checkout, config(rewards, 1.0))
    snakemake(checkout, f"{RUN}/manifest.json", PYTHONPATH=strange)
    metrics = pd.read_parquet(checkout / RUN / "metrics.parquet")
    failures = json.loads((checkout / RUN / "manifest.json").read_text())["failures"]
    sampled = pd.read_parquet(checkout / RUN / "completions.parquet")
    for name, kind in KINDS.items():
        assert failures[f"{name}/{kind}"] == metrics[f"failures/{name}/{kind}"].sum() > 0
        failed = sampled["failures"].map(lambda kinds, mark=f"{name}/{kind}": mark in kinds)
        assert (sampled[f"rewards/{name}"] == (~failed).astype(float)).all()
    poison = {key for key in failures if key.startswith("poison/")}
    assert poison >= {"poison/nan", "poison/out_of_range"}
    weights = load_file(checkout / RUN / "policy" / "model.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())


def test_too_many_failures_stop_it_with_one_line(checkout, strange):
    write_config(checkout, config({"correctness": 1.0, "segfaults": 1.0}, 0.01))
    result = snakemake(checkout, f"{RUN}/manifest.json", check=False, PYTHONPATH=strange)
    assert result.returncode != 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("rlvr grpo: 'segfaults' failed on ")]
    assert "more than grpo.max_failures (0.01) allows; such as the worker died of SIGSEGV" in line
    assert not (checkout / RUN / "policy").exists()
    sampled = pd.read_parquet(checkout / line.rpartition("what was sampled: ")[2])
    assert sampled["failures"].map(len).sum() > 0
