"""DVC and snakemake agree on what is done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import snakemake

NOTHING = "Nothing to be done"


def run(checkout: Path, *command: str) -> str:
    result = subprocess.run(
        command,
        cwd=checkout,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_what_snakemake_made_dvc_keeps_and_gives_back(after_run):
    run(after_run, "git", "init", "--quiet")
    first = run(after_run, "dvc", "repro")
    assert first.count(NOTHING) == first.count("Running stage") == 8, first
    assert "up to date" in run(after_run, "dvc", "status")
    assert "Running stage" not in run(after_run, "dvc", "repro")

    table = after_run / "results/micro/report/pass_at_1.csv"
    before = table.read_bytes()
    shutil.rmtree(after_run / "results/micro")
    run(after_run, "dvc", "checkout")
    assert table.read_bytes() == before
    assert NOTHING in snakemake(after_run).stdout
    assert "up to date" in run(after_run, "dvc", "status")

    lock = after_run / "config/revisions.lock.yaml"
    lock.write_text(f"{lock.read_text()}# edited\n")
    assert "config/revisions.lock.yaml" in run(after_run, "dvc", "status")

    config = after_run / "config/config.yaml"
    config.write_text(config.read_text() + "report: {samples: 2}\n")
    again = run(after_run, "dvc", "repro")
    assert again.count(NOTHING) == again.count("Running stage") - 2, again
    assert "results/micro/report/metrics.json" in run(after_run, "dvc", "metrics", "show")
    assert NOTHING in snakemake(after_run).stdout
