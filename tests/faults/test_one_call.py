"""One call of a target does all of its work, and a summary is printed only where it is of that work."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import MICRO, copy_checkout

DRIVER = Path(__file__).with_name("planned_runs.py")
MILESTONES = ["config", "data", "sft", "datasets", "grpo", "models", "scores"]
TARGETS = [*(f"all_{name}" for name in MILESTONES), "all"]
VARIANT = {"config": {"grpo": {**MICRO["grpo"], "variants": {**MICRO["grpo"]["variants"], "more": {}}}}}
TRAINER = {**MICRO["grpo"]["trainer"], "per_device_train_batch_size": 16}
BATCH = {"config": {"grpo": {**MICRO["grpo"], "trainer": TRAINER}}, "code": ["sft"]}
SEED = {"config": {"seeds": [0, 1]}, "code": ["sft", "correctness"]}
GATE = {"config": {"gate": {"max_kl": 0.4}}, "code": ["generate"]}


def runs(folder: Path, config: dict, changes: dict, targets: list[str]) -> dict:
    """What each target did after each change, and what a second call of it would do."""
    checkout = copy_checkout(folder / "checkout")
    (checkout / "labels.jsonl").write_text("{}\n", encoding="utf-8")
    asked = json.dumps({"config": config, "changes": changes, "targets": targets})
    found = subprocess.run(
        [sys.executable, DRIVER],
        cwd=checkout,
        input=asked,
        encoding="utf-8",
        capture_output=True,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout)


def left(found: dict) -> dict[str, dict]:
    """What a second call would do, by change and target, where it is not nothing."""
    return {
        f"{change}: {target}": each["left"]
        for change, by_target in found["changes"].items()
        for target, each in by_target.items()
        if each["left"]
    }


@pytest.fixture(scope="module")
def milestones(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("milestones")
    return runs(folder, MICRO, {"a variant": VARIANT, "a batch size, and code of SFT": BATCH}, TARGETS)


def test_every_milestone_does_all_its_work_in_one_call(milestones):
    rules = {name for name in milestones["rules"] if name.startswith("all")}
    assert rules == set(TARGETS), "each of them is looked at"
    assert left(milestones) == {}
    variant, batch = milestones["changes"].values()
    assert variant["all_grpo"]["ran"]["grpo"] == 1 and "sft" not in variant["all"]["ran"]
    assert batch["all_sft"]["ran"]["sft"] == 1 and batch["all"]["ran"]["grpo"] == 2


def test_the_summary_is_printed_only_where_it_is_of_this_run(milestones):
    older = "results/micro/report is no part of this run and may be of older results; `snakemake` brings it up to date"
    for target, run in milestones["changes"]["a variant"].items():
        current = "report" in run["ran"]
        assert current == (target == "all")
        assert (older in run["said"]) == (not current and bool(run["ran"])), target
    assert milestones["changes"]["a variant"]["all"]["said"].strip().isdecimal(), "what the report's job wrote"


@pytest.mark.slow
def test_a_file_of_every_rule_is_made_in_one_call(tmp_path):
    config = copy.deepcopy(MICRO)
    labels = {"task": "gsm8k_platinum", "options": {"source": "path", "eval_path": "labels.jsonl"}}
    config["tasks"]["gsm8k"] = {
        **{"train": 4, "sft": 4, "eval": 3},
        **{"options": {"source": "synthetic"}, "second_labels": labels},
    }
    config["filters"].append({"pass_rate": {"samples": 2, "max_completion_tokens": 8}})
    config["controls"] = ["sft_longer"]
    config["export"] = {"gguf": "f16"}
    config["evaluation"] |= {"lm_eval": True, "repeat": 4, "sampled": {"samples": 2, "pass_at": [1, 2]}}
    changes = {"a variant": VARIANT, "a seed": SEED, "a bound of the gate": GATE}
    found = runs(tmp_path, config, changes, [])
    with_files = {name for name in found["rules"] if name != "default" and not name.startswith("all")}
    assert all(set(targets) == with_files for targets in found["changes"].values()), "each rule has its target"
    assert left(found) == {}
    assert found["changes"]["a bound of the gate"]["generate"]["ran"]["generate"] == 1
    assert found["changes"]["a seed"]["grpo"]["ran"]["sft"] == 1
