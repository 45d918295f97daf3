"""On a CUDA device: the workflow runs there, with all weights and with an adapter, and learns.

python -m pytest -m gpu tests/gpu -s
"""

from __future__ import annotations

import copy
import json

import pandas as pd
import pytest
import torch
import yaml

from conftest import MICRO, ROOT, copy_checkout, snakemake, write_config

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; torch sees none"),
]


def test_an_adapter_is_trained_merged_and_evaluated_on_cuda(checkout):
    config = {**copy.deepcopy(MICRO), "adapter": {"r": 8, "alpha": 16}, "device": "cuda"}
    config["filters"].append(
        {"pass_rate": {"samples": 4, "max_completion_tokens": 8, "min_rate": 0.0, "max_rate": 1.0}}
    )
    config["grpo"]["dynamic"] = {"max_rounds": 1}
    write_config(checkout, config)
    snakemake(checkout)
    results = checkout / "results/micro"
    sampled = json.loads((results / "dataset/countdown/03-pass_rate/rollouts.manifest.json").read_text())
    assert sampled["device"] == "cuda" and sampled["completions"] == 4 * 64
    for stage in ("sft", "grpo/dapo/seed0", "model/grpo/dapo/seed0", "eval/sft/countdown/greedy"):
        assert json.loads((results / stage / "manifest.json").read_text())["device"] == "cuda"
    assert (results / "grpo/dapo/seed0/policy/adapter_config.json").is_file()


def test_the_embedded_default_learns_on_cuda(tmp_path):
    checkout = copy_checkout(tmp_path / "checkout")
    content = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    write_config(checkout, {**content, "device": "cuda"})
    snakemake(checkout)
    report = checkout / "results" / content["experiment"] / "report"
    print((report / "summary.txt").read_text())
    strict = pd.read_csv(report / "pass_at_1.csv").set_index("arm")["strict"]
    assert strict["base"] == 0
    assert strict["grpo"] >= max(0.60, strict["sft"] + 0.20)
