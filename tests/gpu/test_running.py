"""How acceptance runs parts and what it writes: nothing that was measured is lost, whatever fails."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import acceptance
import measures
import pytest
import torch
from safetensors.torch import save_file

import checkouts
from rlvr import packaged


def test_a_failed_part_is_recorded_with_its_output_and_the_others_stay(monkeypatch, tmp_path, capsys):
    broken = {"base": {"model": "tiny"}, "tasks": {"countdown": {}}, "no_such_key": 1}
    monkeypatch.setattr(acceptance, "PARTS", {"broken": lambda: broken})
    out = tmp_path / "measured/a.json"
    out.parent.mkdir()
    out.write_text(json.dumps({"parts": {"done": {"wall_seconds": 1}}}), encoding="utf-8")
    assert acceptance.run(["broken"], tmp_path / "work", out, None) == 1
    parts = json.loads(out.read_text(encoding="utf-8"))["parts"]
    assert parts["done"] == {"wall_seconds": 1}
    assert parts["broken"]["failed"] == "snakemake: status 1" and parts["broken"]["config"]["no_such_key"] == 1
    assert parts["broken"]["training"] == {} and parts["broken"]["pass_at_1"] is None
    printed = capsys.readouterr().out
    for text in (printed, (out.parent / "a.broken.log").read_text(encoding="utf-8")):
        assert "no_such_key" in text


def test_what_was_measured_before_something_unforeseen_stays(monkeypatch, tmp_path, capsys):
    def broken(*given):
        assert "trl" in json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["parts"], (
            "written before, should this be killed"
        )
        raise KeyError("no such column")

    monkeypatch.setattr(acceptance, "run_part", lambda *given: {"wall_seconds": 2, "pass_at_1": {}})
    monkeypatch.setattr(acceptance, "agreement", broken)
    monkeypatch.setattr(acceptance.choice, "installed", lambda part: True)
    assert acceptance.run(["trl", "tiny"], tmp_path, tmp_path / "a.json", None) == 1
    parts = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["parts"]
    assert parts["trl"] == {"failed": "KeyError: 'no such column'", "wall_seconds": 2, "pass_at_1": {}}
    assert "failed" not in parts["tiny"] and "in broken" in capsys.readouterr().out


def test_a_failed_command_shows_its_output_and_the_newest_log(tmp_path):
    for age, name in enumerate(("newest", "older")):
        log = tmp_path / f"results/x/logs/{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"first of {name}\n" + "." * acceptance.SHOWN + f"\nlast of {name}", encoding="utf-8")
        os.utime(log, (1e9 - age, 1e9 - age))
    with pytest.raises(acceptance.Failed) as caught:
        acceptance.run_command(["rlvr", "no-such-stage"], tmp_path)
    text = str(caught.value)
    assert text.startswith("rlvr: status 2\n") and "invalid choice: 'no-such-stage'" in text
    assert "last of newest" in text and "first of newest" not in text and "older" not in text


def test_a_stage_that_fails_is_named_with_its_problem(tmp_path):
    (tmp_path / "slice.json").write_text("{}", encoding="utf-8")
    line = ["rlvr", "score", "--config", "slice.json", "--data", "none.parquet", "--completions", "none.parquet"]
    with pytest.raises(acceptance.Failed) as caught:
        acceptance.run_command([*line, "--scores", "made/s.parquet", "--manifest", "made/manifest.json"], tmp_path)
    assert str(caught.value).startswith("rlvr: status 1; rlvr score: none.parquet: is not there\n")


def test_a_command_that_takes_too_long_fails(tmp_path):
    with pytest.raises(acceptance.Failed, match="sleep: not through after 0 s"):
        acceptance.run_command(["sleep", "600"], tmp_path, 0.1)


@pytest.mark.parametrize("leader", ["wait", "exit"])
def test_with_a_command_all_that_it_started_is_ended(tmp_path, leader):
    script = f"(trap '' TERM; echo $(exec sh -c 'echo $PPID') > child; while true; do sleep 1; done) & {leader}"
    process = subprocess.Popen(["sh", "-c", script], cwd=tmp_path, start_new_session=True)
    child = tmp_path / "child"
    while not (child.exists() and child.read_text(encoding="utf-8").endswith("\n")):
        time.sleep(0.01)
    acceptance.end(process, patience=0.1)
    stat = Path("/proc", child.read_text(encoding="utf-8").strip(), "stat")
    while stat.exists() and stat.read_text(encoding="utf-8").split()[2] not in "ZX":  # as soon as the kernel gets to it
        time.sleep(0.01)


def test_the_commands_are_those_of_this_python_whatever_is_on_the_path(monkeypatch, tmp_path):
    other = tmp_path / "other/rlvr"
    other.parent.mkdir()
    other.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", f"{other.parent}{os.pathsep}{os.environ['PATH']}")
    acceptance.run_command(["rlvr", "plugins"], tmp_path)
    assert "countdown" in (tmp_path / "printed.txt").read_text(encoding="utf-8")


def test_a_copy_of_the_checkout_leaves_out_runs_and_needs_no_pytest(monkeypatch, tmp_path):
    source = tmp_path / "source"
    for file in ("results/README.md", "results/run/x", "tests/a.py", ".bundles/train-01/put", ".venv/x"):
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        (source / file).touch()
    monkeypatch.setattr(checkouts, "ROOT", source)
    copied = checkouts.copy_checkout(tmp_path / "copy")
    assert {str(file.relative_to(copied)) for file in copied.rglob("*") if file.is_file()} == {
        "results/README.md",
        "tests/a.py",
    }
    for script in ("checkouts.py", "gpu/host.py", "gpu/measures.py", "gpu/acceptance.py"):
        assert "import pytest" not in (acceptance.TESTS / script).read_text(encoding="utf-8")


def test_smollm2_gets_a_second_end_token_as_qwen_has_it(monkeypatch, tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"eos_token_id": 2}), encoding="utf-8")
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": 2, "pad_token_id": 0}), encoding="utf-8")
    monkeypatch.setattr(packaged, "fetch", lambda name: model)
    for _ in range(2):
        base = acceptance.two_ends(tmp_path)
        assert json.loads((base / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"] == [2, 0]
        assert json.loads((base / "config.json").read_text(encoding="utf-8"))["eos_token_id"] == 2
    assert json.loads((model / "generation_config.json").read_text(encoding="utf-8"))["eos_token_id"] == 2


@pytest.mark.parametrize("model", ["tiny", "/somewhere"])
@pytest.mark.parametrize(("ends", "problem"), [([2], "ends at [2]"), ([0, 2], None), ([0, 1, 2], "ends at [0, 1, 2]")])
def test_an_export_that_lost_or_gained_an_end_token_fails_the_part(ends, problem, model):
    measured = {"end_tokens": {"base": [2, 0], "grpo/grpo/seed0": ends}}
    if problem is None:
        return acceptance.require_both_ends({"base": {"model": model}}, measured)
    with pytest.raises(acceptance.Failed) as caught:
        acceptance.require_both_ends({"base": {"model": model}}, measured)
    assert problem in str(caught.value) and caught.value.measured == measured


def test_a_base_that_should_have_two_end_tokens_and_has_one_fails_the_part():
    with pytest.raises(acceptance.Failed, match=r"the base has the end tokens \[2\], not two"):
        acceptance.require_both_ends({"base": {"model": "/somewhere"}}, {"end_tokens": {"base": [2], "sft": [2]}})


def test_end_tokens_and_parameters_are_read_from_the_exports(tmp_path):
    for arm, ends in (("base", 2), ("grpo/grpo/seed0", [0, 2])):
        weights = tmp_path / "model" / arm / "weights"
        weights.mkdir(parents=True)
        (weights / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}), encoding="utf-8")
    save_file({"a": torch.zeros(3, 4), "b": torch.zeros(5)}, weights / "model.safetensors")
    assert measures.end_tokens(tmp_path) == {"base": [2], "grpo/grpo/seed0": [0, 2]}
    assert measures.parameters(weights) == 17


def test_what_the_device_reports_is_read_for_a_span_of_time(monkeypatch, tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text(
        "#!/bin/sh\necho '100, 50, 200.5'\necho '300, [N/A], 200.5'\necho '200, 100, 100.5'\nexec sleep 600\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    before = time.time()
    with measures.Meters() as meters:
        for _ in range(6000):
            if len(meters.read) == 3:
                break
            time.sleep(0.01)
    assert meters.between(before, time.time()) == {
        "device_memory_used_bytes": 300 * 2**20,
        "utilization_percent": 75.0,
        "power_watts": 167.2,
    }
    assert meters.between(0, before) == {}


def test_without_a_device_nothing_is_read(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with measures.Meters() as meters:
        pass
    assert meters.between(0, time.time()) == {}
