from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from rlvr import circumstances, digests, tables
from rlvr_plugins import Example


def test_seeds_are_found_wherever_they_stand():
    config = {"seed": 3, "sampled": {"seed": 4}, "trainer": {"data_seed": None}, "rewards": {"seedling": 1.0}}
    assert circumstances.seeds(config) == {"seed": 3, "sampled.seed": 4}


def test_plugins_are_those_that_the_stage_uses(tmp_path):
    file = tmp_path / "train.parquet"
    rows = [{"task": task, "key": task, "prompt": [], "example": tables.to_text(Example("k", {}))} for task in "ab"]
    tables.write(file, [{**rows[0], "task": "countdown"}, {**rows[1], "task": "gsm8k"}], tables.ITEM)
    grpo = circumstances.plugins("grpo", {"rewards": {"format": 1.0}, "evaluate": None}, {"data": [file]})
    assert grpo == {
        "reward/format": digests.reward("format"),
        "task/countdown (verifier)": digests.verifier("countdown"),
        "task/gsm8k (verifier)": digests.verifier("gsm8k"),
    }
    names = {
        "data": {"task/countdown (source)", "task/countdown (verifier)"},
        "score": {"task/countdown (verifier)"},
        "filter": {"filter/duplicates", "task/countdown (source)"},
        "sft": set(),
    }
    for stage, expected in names.items():
        config = {"sft": {}, "filter": {"task": "countdown", "filter": "duplicates"}}.get(stage, {"task": "countdown"})
        assert circumstances.plugins(stage, config, {}).keys() == expected, stage
    own = {"prompt": {"task": "countdown"}}
    assert circumstances.plugins("generate", own, {}) == {"task/countdown (source)": digests.source("countdown")}
    assert circumstances.plugins("generate", {"prompt": None}, {}) == {}


def test_what_snakemake_was_asked_is_told_to_stages_relative_to_where_it_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = circumstances.asked([tmp_path / "config" / "x.yaml", Path("/elsewhere/y.yaml")], ["seeds=[0, 1]"])
    assert said == '{"configfiles": ["config/x.yaml", "/elsewhere/y.yaml"], "config": {"seeds": [0, 1]}}'
    commits = {"models/acme/Tiny@main": "a" * 40}
    assert json.loads(circumstances.asked([], {}, commits))["revisions"] == commits


def test_flags_are_those_of_what_was_imported_and_torch_is_not_imported_for_them():
    script = (
        "import sys; from rlvr import circumstances; found = circumstances.flags(); assert 'torch' not in sys.modules; "
        "assert found['PYTHONHASHSEED'] == '0' and not any(name.startswith('torch') for name in found)"
    )
    subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONHASHSEED": "0", "PYTHONPATH": ":".join(sys.path)}, check=True
    )
