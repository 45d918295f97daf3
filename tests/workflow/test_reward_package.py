"""A reward from a package outside the tree: named, installed, used."""

from __future__ import annotations

import copy
import subprocess
import sys

import pandas as pd
import pytest
from test_dag import AFTER_GRPO, planned

from conftest import MICRO, ROOT, snakemake, write_config

WITH_BREVITY = copy.deepcopy(MICRO)
WITH_BREVITY["grpo"]["rewards"]["brevity"] = 0.2


@pytest.fixture
def installed(tmp_path) -> str:
    """A folder with the example package, as pip installs it."""
    target = tmp_path / "site"
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        target,
    ]
    subprocess.run([*command, ROOT / "examples/rlvr-reward-brevity"], check=True)
    return str(target)


def test_named_but_not_installed_is_one_line_that_lists_what_is_there(after_run):
    write_config(after_run, WITH_BREVITY)
    result = snakemake(after_run, check=False)
    assert result.returncode != 0
    line = "config/config.yaml: grpo.rewards.brevity: unknown reward 'brevity'; installed: boxed, correctness, "
    assert any(printed.startswith(line) for printed in result.stdout.splitlines())


def test_installed_and_named_it_reruns_grpo_and_what_follows(after_run, installed):
    write_config(after_run, WITH_BREVITY)
    expected = {"grpo": 2, **AFTER_GRPO}
    assert planned(after_run, PYTHONPATH=installed) == expected
    target = "results/micro/grpo/dapo/seed0/manifest.json"
    snakemake(after_run, target, PYTHONPATH=installed)
    metrics = pd.read_parquet(after_run / "results/micro/grpo/dapo/seed0/metrics.parquet")
    assert {"rewards/brevity/mean", "rewards/brevity/std"} <= set(metrics.columns)


def test_its_own_tests_pass(installed):
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", ROOT / "examples/rlvr-reward-brevity/tests"],
        env={"PYTHONPATH": f"{installed}:{ROOT}", "PATH": ""},
        check=True,
    )
