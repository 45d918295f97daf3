"""The contract: what it costs to import, how plugins are found, and how bad ones are reported."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT
from rlvr_plugins import Example, Reward, Sample, Verdict, hookspecs
from rlvr_plugins.manager import BUILTIN, PluginError, catalogue


def catalogue_with(folder: Path, module: str, metadata_name: str = "stranger") -> subprocess.CompletedProcess:
    """Lists the plugins in a process that has one more distribution with this module."""
    (folder / f"{metadata_name}_plugin.py").write_text(module)
    info = folder / f"{metadata_name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {metadata_name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[rlvr]\nx = {metadata_name}_plugin\n")
    return subprocess.run(
        [sys.executable, "-m", "rlvr", "plugins"],
        env={"PYTHONPATH": f"{folder}:{ROOT / 'workflow'}:{ROOT}", "PATH": ""},
        capture_output=True,
        text=True,
    )


def test_the_contract_imports_no_torch_and_nothing_heavy():
    script = (
        "import sys, json, rlvr_plugins.manager as m; m.catalogue();"
        "print(json.dumps([n for n in ('torch', 'transformers', 'pandas', 'pyarrow', 'datasets') if n in sys.modules]))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == []


def test_the_built_in_plugins_are_there():
    assert set(catalogue().tasks) >= {"countdown", "gsm8k"}
    assert set(catalogue().rewards) >= {"correctness", "format"}
    assert not catalogue().broken


def test_one_file_a_plugin():
    listed = {name.replace(".", "/") + ".py" for name in BUILTIN}
    hooks = {
        str(path.relative_to(ROOT))
        for folder in ("tasks", "rewards")
        for path in (ROOT / "rlvr_plugins" / folder).glob("*.py")
        if "@hookimpl" in path.read_text()
    }
    assert hooks == listed


def test_a_package_is_found_through_its_entry_point(tmp_path):
    module = """
from rlvr_plugins import Reward, hookimpl
def one(sample):
    "Always one."
    return 1.0
@hookimpl
def rlvr_rewards():
    yield Reward("one", one)
"""
    result = catalogue_with(tmp_path, module)
    assert "reward  one              stranger_plugin (stranger 1.2)  Always one." in result.stdout


def test_a_name_given_twice_names_both_providers(tmp_path):
    module = """
from rlvr_plugins import Reward, hookimpl
@hookimpl
def rlvr_rewards():
    yield Reward("format", lambda sample: 1.0)
"""
    result = catalogue_with(tmp_path, module)
    assert result.returncode == 1
    assert result.stderr.startswith("rlvr plugins: reward 'format' is provided twice: by rlvr_plugins.rewards.format")
    assert "and by stranger_plugin (stranger 1.2)" in result.stderr


def test_a_broken_package_only_warns_while_it_is_not_used(tmp_path):
    result = catalogue_with(tmp_path, "import not_there")
    assert result.returncode == 0
    assert "broken  stranger_plugin (stranger 1.2): ModuleNotFoundError: No module named 'not_there'" in result.stderr


def test_an_unknown_name_lists_what_is_there():
    with pytest.raises(PluginError, match="unknown reward 'brevity'; installed: correctness, format"):
        catalogue().reward("brevity")


def test_what_plugins_hand_out_is_frozen():
    sample = Sample("text", Example("k", {}), Verdict(True, True, True, "7"))
    assert sample.answer == "7"
    with pytest.raises(dataclasses.FrozenInstanceError):
        sample.completion = "other"
    with pytest.raises(dataclasses.FrozenInstanceError):
        Reward("r", len).name = "other"


def test_every_hook_documents_an_example():
    for name in ("rlvr_tasks", "rlvr_rewards"):
        assert "@hookimpl" in getattr(hookspecs, name).__doc__
        assert name in (ROOT / "docs" / "plugins.md").read_text()
