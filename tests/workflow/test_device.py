"""Which device a stage takes: one, a usable one, and none that CUDA was initialised for too early."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest
import torch
from test_stages import GRPO, SFT, equal, run_grpo, run_sft, weights_of
from transformers import TrainingArguments

from rlvr import nvidia
from rlvr.doctor import diagnosis, examination
from rlvr.engines import device, loading
from rlvr.errors import RlvrError
from rlvr.stages import grpo, sft

H100 = "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)"
OLD = "The NVIDIA driver on your system is too old (found version 12040). Please update your GPU driver."


@pytest.fixture
def old_driver(monkeypatch):
    """A GPU whose driver is too old for the installed torch."""

    def init():
        raise RuntimeError(OLD)

    monkeypatch.setattr(nvidia, "gpus", lambda: [H100])
    monkeypatch.setattr(nvidia, "driver", lambda: "550.54.15")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.delenv(nvidia.VISIBLE, raising=False)


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_a_driver_too_old_for_torch_stops_the_run_and_is_named(old_driver, wanted):
    said = rf"^device: {wanted}, but .* can't use {re.escape(H100)} \(The NVIDIA driver on your system is too old"
    with pytest.raises(RlvrError, match=said) as raised:
        device.choose(wanted)
    assert "the driver is 550.54.15, CUDA 13.0 needs 580 or newer: install that, or set device: cpu" in str(
        raised.value
    )
    assert "\n" not in str(raised.value)


def test_a_driver_that_is_new_enough_is_not_blamed(old_driver, monkeypatch):
    monkeypatch.setattr(nvidia, "driver", lambda: "590.10")
    monkeypatch.setenv(nvidia.VISIBLE, "7")
    with pytest.raises(RlvrError, match=r"; CUDA_VISIBLE_DEVICES is '7', of 1: set it to one that is there, or set"):
        device.choose("auto")
    monkeypatch.delenv(nvidia.VISIBLE)
    with pytest.raises(RlvrError, match=r"; look at the driver \(590.10\), or set device: cpu"):
        device.choose("auto")


def test_a_torch_for_the_cpu_beside_a_gpu_stops_the_run(old_driver, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    with pytest.raises(RlvrError, match=r"is built for the CPU and can't use GPU 0: .* install the GPU set"):
        device.choose("auto")


@pytest.mark.parametrize("hide", ["", "-1", "NoDevFiles"])
def test_a_gpu_that_the_user_hides_or_does_not_want_is_left_alone(old_driver, monkeypatch, hide):
    assert device.choose("cpu").type == "cpu"
    monkeypatch.setenv(nvidia.VISIBLE, hide)
    assert device.choose("auto").type == "cpu"


def test_the_doctor_counts_a_gpu_that_auto_would_stop_at(old_driver, monkeypatch, tmp_path):
    answers = {"torch": {"build": "13.0", "devices": [], "cuda": False, "why": OLD}, "transformers": {"seconds": 1.0}}
    monkeypatch.setattr(examination.trials, "run", lambda probes: answers)
    monkeypatch.setattr(examination, "_config", lambda files: ({"device": "auto", "base": {"model": "tiny"}}, [], []))
    monkeypatch.setattr(examination.needs, "base_folder", lambda values, root: (None, ""))
    assert "cuda" in examination.examine([], tmp_path)["lacking"]
    monkeypatch.setenv(nvidia.VISIBLE, "")
    assert "cuda" not in examination.examine([], tmp_path)["lacking"]


@pytest.fixture
def gpu_file(tmp_path, monkeypatch):
    """The device file of a GPU, whose driver no tool can ask."""
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(nvidia, "DEV", tmp_path)
    monkeypatch.setattr(nvidia, "_smi", lambda *arguments: [])
    return tmp_path / "nvidia0"


def test_a_device_file_counts_where_it_may_be_opened(gpu_file, monkeypatch):
    assert nvidia.gpus() == [f"GPU {gpu_file}"]
    monkeypatch.setattr(nvidia.os, "access", lambda file, mode: False)
    assert nvidia.gpus() == []


def test_slices_count_instead_of_the_gpu_that_they_are_cut_from(monkeypatch):
    slices = ["  MIG 1g.10gb Device 0: (UUID: MIG-a)", "  MIG 1g.10gb Device 1: (UUID: MIG-b)"]
    monkeypatch.setattr(nvidia, "_smi", lambda *arguments: [H100, *slices])
    assert nvidia.gpus() == [line.strip() for line in slices]


def test_a_machine_without_a_gpu_gets_no_variable(monkeypatch, tmp_path):
    monkeypatch.setattr(nvidia, "DEV", tmp_path)
    monkeypatch.delenv(nvidia.VISIBLE, raising=False)
    nvidia.use_one()
    assert nvidia.visible() is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "0"),
        ({nvidia.VISIBLE: "2,3"}, "2"),
        ({nvidia.VISIBLE: "MIG-a, MIG-b"}, "MIG-a"),
        ({nvidia.VISIBLE: "1"}, "1"),
        ({nvidia.VISIBLE: ""}, ""),
        ({nvidia.VISIBLE: "-1"}, "-1"),
        ({nvidia.VISIBLE: "0,1", "LOCAL_RANK": "1"}, "0,1"),
        ({"WORLD_SIZE": "2"}, None),
    ],
)
def test_a_process_uses_one_gpu_unless_it_was_launched_as_one_of_several(gpu_file, monkeypatch, before, after):
    for name in (nvidia.VISIBLE, *nvidia.LAUNCHED):
        monkeypatch.delenv(name, raising=False)
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    nvidia.use_one()
    assert nvidia.visible() == after


def test_a_stage_leaves_one_gpu_before_anything_can_use_cuda():
    """In a process of its own, as CUDA_VISIBLE_DEVICES counts when CUDA is first asked."""
    program = (
        "import sys; from rlvr import cli, nvidia\n"
        "nvidia._there = lambda: True\n"
        "def execute(name, arguments): print(nvidia.visible(), 'torch' in sys.modules)\n"
        "cli._execute = execute\n"
        "sys.exit(cli.main(['score', '--config', 'c', '--data', 'd', '--completions', 'e', '--scores', 's',"
        " '--manifest', 'm']))"
    )
    env = {**os.environ, nvidia.VISIBLE: "1,0"}
    for name in nvidia.LAUNCHED:
        env.pop(name, None)
    done = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True)
    assert done.stdout == "1 False\n", done.stderr


def test_one_of_several_gpus_is_named(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    monkeypatch.setattr(nvidia, "gpus", lambda: [H100, H100.replace("0:", "1:")])
    monkeypatch.setenv(nvidia.VISIBLE, "1")
    device.describe(torch.device("cuda"))
    said = capsys.readouterr().err
    assert "device: NVIDIA H100\n" in said and "one of 2 GPUs, CUDA_VISIBLE_DEVICES=1; a process uses one" in said


@pytest.mark.parametrize(("stage", "config"), [(sft, SFT), (grpo, GRPO)], ids=["sft", "grpo"])
def test_cuda_is_not_initialised_before_the_engine_is_imported(monkeypatch, stage, config):
    """Unsloth sets the allocator's options as it is imported; CUDA reads them once."""

    class Imported(Exception):
        pass

    def engine(name):
        raise Imported

    def initialises(*given, **named):
        raise AssertionError("CUDA is initialised before the engine is imported")

    for name in ("get_device_name", "get_device_properties", "is_bf16_supported", "mem_get_info", "init"):
        monkeypatch.setattr(torch.cuda, name, initialises)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(loading, "engine", engine)
    files = dict.fromkeys(("base", "data", "policy", "metrics"))
    files |= dict.fromkeys(("completions", "evaluated")) if stage is grpo else {}
    changes = {"device": "auto", "engines": {**config["engines"], "training": "transformers"}}
    changes["engines"] |= {"rollouts": "transformers"} if stage is grpo else {}
    with pytest.raises(Imported):
        stage.run({**config, **changes}, **files)


def trained_grpo(made, folder):
    return run_grpo(made, folder, None, rewards={"random": 1.0})


@pytest.mark.parametrize("run", [run_sft, trained_grpo])
def test_a_second_visible_device_changes_nothing(made, tmp_path, monkeypatch, run):
    """The Trainer would wrap the model in DataParallel and double the batch, of which GRPO samples half."""
    alone = weights_of(run(made, tmp_path / "one"))
    cached = TrainingArguments.__dict__["_setup_devices"].func

    def two(self):
        found = cached(self)
        self._n_gpu = 2
        return found

    monkeypatch.setattr(TrainingArguments.__dict__["_setup_devices"], "func", two, raising=False)
    assert equal(alone, weights_of(run(made, tmp_path / "two")))


def test_nvcc_is_looked_for_where_flashinfer_looks(monkeypatch, tmp_path):
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(nvidia, "DEFAULT_CUDA", tmp_path / "none")
    assert nvidia.nvcc() is None
    assert "vLLM runs without FlashInfer's kernels" in diagnosis._nvcc()[0].text
    (tmp_path / "bin").mkdir()
    compiler = tmp_path / "bin" / "nvcc"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    assert nvidia.nvcc() == str(compiler) == diagnosis._nvcc()[0].text
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "elsewhere"))
    assert nvidia.nvcc() is None, "FlashInfer takes CUDA_HOME unchecked, and nothing after it"
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    assert nvidia.nvcc() == str(compiler)
