"""A short soak: stages killed at random points end, by the same command, with the bytes of an undisturbed run."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from checkouts import ROOT

KILLS = 30
SEED = 13


@pytest.mark.slow
def test_killed_stages_end_with_the_same_bytes(finished, tmp_path):
    """Half a minute of CPU time; `python tests/faults/soak.py` kills more of them, and whole runs."""
    command = [sys.executable, ROOT / "tests/faults/soak.py", "--reference", finished, "--folder", tmp_path]
    done = subprocess.run(
        [*map(str, command), "--kills", str(KILLS), "--seed", str(SEED)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"^(\d+) stages killed", done.stdout, re.MULTILINE)[1]) >= KILLS
