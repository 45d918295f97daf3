from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from rlvr import digests

NAMES = ("data", "base", "filter", "sft", "grpo", "export", "generate", "score", "report")


def all_digests(root: Path) -> dict[str, str]:
    """Every digest as computed by the code under `root`."""
    script = f"""
import json
from rlvr import digests
found = {{f"stage {{name}}": digests.stage(name) for name in {NAMES}}}
for task in ("countdown", "gsm8k"):
    found[f"verifier {{task}}"] = digests.verifier(task)
    found[f"source {{task}}"] = digests.source(task)
for reward in ("correctness", "format"):
    found[f"reward {{reward}}"] = digests.reward(reward)
print(json.dumps(found))
"""
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=root,
        env={"PYTHONPATH": f"{root / 'workflow'}:{root}", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(result.stdout)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    for name in ("workflow", "rlvr_plugins"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "addition", "expected"),
    [
        ("rlvr_plugins/rewards/format.py", "\nX = 1\n", {"reward format"}),
        ("rlvr_plugins/rewards/format.py", "\n# a comment\n", set()),
        ("rlvr_plugins/verifiers/numbers.py", "\nX = 1\n", {"verifier gsm8k"}),
        ("rlvr_plugins/verifiers/tags.py", "\nX = 1\n", {"verifier gsm8k", "verifier countdown"}),
        ("rlvr_plugins/tasks/countdown.py", "\nX = 1\n", {"source countdown"}),
        ("rlvr_plugins/tasks/word_problems.py", "\nX = 1\n", {"source gsm8k"}),
        ("workflow/rlvr/reporting/page.html.j2", "\n<p>\n", {"stage report"}),
        ("workflow/rlvr/engines/generation.py", "\nX = 1\n", {"stage generate"}),
        ("workflow/rlvr/engines/training.py", "\nX = 1\n", {"stage sft", "stage grpo"}),
        ("workflow/rlvr/tiny.py", "\nX = 1\n", {"stage base"}),
        ("workflow/rlvr/config.py", "\nX = 1\n", set()),
        ("workflow/rlvr/console.py", "\nX = 1\n", set()),
    ],
)
def test_an_edit_changes_the_digests_of_what_uses_it(sources, file, addition, expected):
    before = all_digests(sources)
    path = sources / file
    path.write_text(path.read_text() + addition)
    after = all_digests(sources)
    assert {name for name in before if before[name] != after[name]} == expected


def test_no_stage_is_imported_to_compute_its_digest():
    script = "import sys; from rlvr import digests; digests.stage('grpo'); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_stage_covers_the_engines_it_imports():
    assert {"rlvr.stages.grpo", "rlvr.engines.training", "rlvr.rewards"} <= digests.closure("rlvr.stages.grpo")
