from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, distribution
from rlvr import digests

NAMES = ("data", "base", "filter", "sft", "grpo", "export", "gate", "generate", "score", "report")


def all_digests(root: Path) -> dict[str, str]:
    """Every digest as computed by the code under `root`."""
    script = f"""
import json
from rlvr import digests
found = {{f"stage {{name}}": digests.stage(name) for name in {NAMES}}}
for task in ("countdown", "gsm8k"):
    found[f"verifier {{task}}"] = digests.verifier(task)
    found[f"source {{task}}"] = digests.source(task)
found["part evaluation"] = digests.part("evaluation")
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
        ("workflow/rlvr/engines/generation.py", "\nX = 1\n", {"stage gate", "stage generate", "part evaluation"}),
        ("workflow/rlvr/engines/evaluation.py", "\nX = 1\n", {"part evaluation"}),
        ("workflow/rlvr/engines/reporting.py", "\nX = 1\n", set()),
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


PLUGIN = """
from functools import partial
from rlvr_plugins import Reward, hookimpl
from {package} import helper
{more}
@hookimpl
def rlvr_rewards():
    yield Reward("one", {function}, requires=("pluggy",))
"""


def digest_of(folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", "from rlvr import digests; print(digests.reward('one'))"],
        env={"PYTHONPATH": f"{folder}:{ROOT / 'workflow'}:{ROOT}", "PATH": ""},
        capture_output=True,
        text=True,
    )


def package(folder: Path, name: str, function: str, more: str = "", namespace: bool = False) -> Path:
    """A distribution `stranger` whose package of this name holds its plugin and a helper module."""
    home = folder / name
    home.mkdir()
    if not namespace:
        (home / "__init__.py").touch()
    (home / "plugin.py").write_text(PLUGIN.format(package=name, function=function, more=more))
    (home / "helper.py").write_text("def one(sample, scale=1): return 1.0 * scale\n")
    distribution(folder, "")
    (folder / "stranger-1.2.dist-info" / "entry_points.txt").write_text(f"[rlvr]\nx = {name}.plugin\n")
    return home


@pytest.mark.parametrize(
    ("function", "more"),
    [
        ("helper.one", ""),
        ("partial(helper.one, scale=1)", ""),
        ("Callable()", "class Callable:\n    def __call__(self, sample): return helper.one(sample)\n"),
        ("Callable().method", "class Callable:\n    def method(self, sample): return helper.one(sample)\n"),
    ],
)
@pytest.mark.parametrize("namespace", [False, True], ids=["package", "namespace"])
def test_a_strangers_reward_is_followed_however_it_is_made(tmp_path, function, more, namespace):
    home = package(tmp_path, "strange", function, more, namespace)
    first = digest_of(tmp_path)
    assert first.returncode == 0, first.stderr
    (home / "helper.py").write_text("def one(sample, scale=1): return 0.5 * scale\n")
    assert digest_of(tmp_path).stdout != first.stdout


@pytest.mark.parametrize("metadata", ["stranger-1.2.dist-info", "pluggy"])
def test_a_new_version_of_its_distribution_or_of_one_it_requires_changes_it(tmp_path, metadata):
    package(tmp_path, "strange", "helper.one")
    first = digest_of(tmp_path)
    if metadata == "pluggy":
        info = tmp_path / "pluggy-99.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pluggy\nVersion: 99.0\n")
    else:
        file = tmp_path / metadata / "METADATA"
        file.write_text(file.read_text().replace("1.2", "1.3"))
    second = digest_of(tmp_path)
    assert second.returncode == 0, second.stderr
    assert first.stdout != second.stdout


def test_a_reward_whose_source_cannot_be_found_is_refused(tmp_path):
    package(tmp_path, "strange", "made", "made = eval('lambda sample: 1.0', {'__name__': 'nowhere'})")
    result = digest_of(tmp_path)
    assert result.returncode != 0
    assert "reward 'one': the source of module 'nowhere' can't be found" in result.stderr
