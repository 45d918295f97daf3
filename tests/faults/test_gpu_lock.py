"""Two launches share one GPU one stage at a time; a lock is never waited for in vain."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, snakemake
from rlvr import cli, gpu_lock, nvidia
from rlvr.errors import RlvrError

ONE = "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aa)"
TWO = f"{ONE}\nGPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bb)"
MIXED = f"{ONE}\nGPU 1: NVIDIA T400 4GB (UUID: GPU-bc)"
SLICES = "  MIG 1g.10gb     Device  0: (UUID: MIG-c1)\n  MIG 1g.10gb     Device  1: (UUID: MIG-c2)"
CUT = f"{ONE}\n{SLICES}\n{TWO.splitlines()[1]}"
TAKES = """
import os, sys
from pathlib import Path
from rlvr import gpu_lock, nvidia
gpu_lock.SECONDS_BETWEEN_TRIES = 0.05
gpu_lock.take("sft", Path("results/x/sft"))
print("has", os.environ.get(nvidia.VISIBLE), flush=True)
"""
HOLDS = f"{TAKES}\nsys.stdin.read()\n"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes the driver list these GPUs; all processes share a runtime folder of their own."""
    (tmp_path / "bin").mkdir()
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'workflow'}:{ROOT}")
    for name in (nvidia.VISIBLE, "CUDA_DEVICE_ORDER", gpu_lock.INHERITED, "LOCAL_WORLD_SIZE", *nvidia.LAUNCHED):
        monkeypatch.delenv(name, raising=False)

    def lists(gpus: str) -> None:
        smi = tmp_path / "bin" / "nvidia-smi"
        smi.write_text(f"#!/bin/sh\ncat <<'END'\n{gpus}\nEND\n", encoding="utf-8")
        smi.chmod(0o755)

    return lists


@pytest.fixture
def start():
    """Starts a program in a process of its own, which ends with the test."""
    started = []

    def run(program: str, *arguments: str, **env: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        for file in (process.stdin, process.stdout, process.stderr):
            file.close()


def test_a_second_launch_waits_says_for_whom_and_goes_on_after_a_kill(machine, start, tmp_path):
    machine(ONE)
    first = start(HOLDS)
    assert first.stdout.readline() == "has 0\n"
    second = start(HOLDS)
    line = second.stderr.readline()
    assert line.startswith("sft: waits for NVIDIA H100 80GB HBM3 (GPU-aa), which process ")
    assert f"process {first.pid} has used since 2" in line and "sft of results/x/sft in " in line
    first.kill()
    assert second.stdout.readline() == "has 0\n"
    assert second.stderr.readline() == "sft: the GPU is free after 0 min; goes on\n"


def test_it_says_so_again_after_a_while(machine, start):
    machine(ONE)
    first = start(HOLDS)
    first.stdout.readline()
    second = start(HOLDS.replace("gpu_lock.take", "gpu_lock.SECONDS_BETWEEN_LINES = 0.2; gpu_lock.take"))
    assert [second.stderr.readline()[:9] for _ in range(3)] == ["sft: wait"] * 3


@pytest.mark.parametrize("name", ["0", "GPU-aa", "GPU-a"])
def test_one_gpu_is_one_whatever_it_is_called(machine, start, name):
    machine(TWO)
    start(HOLDS, CUDA_VISIBLE_DEVICES="0").stdout.readline()
    assert "waits for" in start(HOLDS, CUDA_VISIBLE_DEVICES=name).stderr.readline()
    assert start(TAKES, CUDA_VISIBLE_DEVICES="1").stdout.readline() == "has 1\n"


def test_the_first_free_one_of_several_alike_is_taken(machine, start):
    machine(TWO)
    assert start(HOLDS).stdout.readline() == "has 0\n"
    assert start(HOLDS).stdout.readline() == "has 1\n"
    assert "waits for" in start(HOLDS).stderr.readline()


def test_another_model_is_never_taken_instead(machine, start):
    machine(MIXED)
    assert start(HOLDS).stdout.readline() == "has 0\n"
    assert "waits for" in start(HOLDS).stderr.readline()


@pytest.mark.parametrize(
    ("gpus", "visible", "uuids"),
    [
        (TWO, None, ["GPU-aa", "GPU-bb"]),
        (TWO, "1,0", ["GPU-bb", "GPU-aa"]),
        (TWO, "1, 7, 0", ["GPU-bb"]),
        (TWO, "GPU-b", ["GPU-bb"]),
        (TWO, "GPU-", ["GPU-"]),
        (TWO, "7", ["7"]),
        (TWO, "", []),
        (TWO, "-1", []),
        (CUT, "0", ["MIG-c1"]),
        (CUT, None, ["MIG-c1", "GPU-bb"]),
        (CUT, "GPU-aa", ["MIG-c1"]),
        (CUT, "MIG-c2", ["MIG-c2"]),
        (MIXED, "0", ["index-0"]),
        (MIXED, "GPU-aa", ["GPU-aa"]),
        ("", "0", ["nvidia0"]),
        ("", None, ["nvidia0"]),
    ],
)
def test_names_are_read_as_cuda_reads_them(machine, monkeypatch, tmp_path, gpus, visible, uuids):
    machine(gpus)
    (tmp_path / "nvidia0").touch()
    monkeypatch.setattr(nvidia, "DEV", tmp_path)
    if visible is not None:
        monkeypatch.setenv(nvidia.VISIBLE, visible)
    assert [device.uuid for device in nvidia.allowed()] == uuids


def test_in_the_order_of_the_bus_an_index_is_that_of_the_driver(machine, monkeypatch):
    machine(MIXED)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert [device.uuid for device in nvidia.allowed()] == ["GPU-aa", "GPU-bc"]


def test_without_a_gpu_nothing_is_locked(machine, monkeypatch, tmp_path):
    machine("")
    monkeypatch.setattr(nvidia, "DEV", tmp_path / "none")
    gpu_lock.take("sft", Path("x"))
    assert not list((tmp_path / "runtime").iterdir()) and nvidia.visible() is None


def test_what_a_stage_starts_never_waits_for_it(machine, start):
    """As the probes of the preflight, with the lock passed on, and as a plugin might, without."""
    machine(ONE)
    passing = (
        "import subprocess\n"
        "files, more = gpu_lock.inherited()\n"
        "subprocess.run([sys.executable, '-c', sys.argv[1]], pass_fds=files, env={**os.environ, **more})\n"
        "subprocess.run([sys.executable, '-c', sys.argv[1]])\n"
    )
    parent = start(TAKES + passing, TAKES)
    assert [parent.stdout.readline() for _ in range(3)] == ["has 0\n"] * 3


def test_a_second_stage_in_one_process_does_not_wait_for_the_first(machine, start):
    machine(ONE)
    program = start(TAKES + 'gpu_lock.take("grpo", Path("results/x/grpo"))\nprint("has it still", flush=True)\n')
    assert [program.stdout.readline(), program.stdout.readline()] == ["has 0\n", "has it still\n"]


def test_a_stage_that_outlives_the_one_that_started_it_holds_on(machine, start):
    machine(ONE)
    passing = (
        "import subprocess\n"
        "files, more = gpu_lock.inherited()\n"
        "subprocess.run([sys.executable, '-c', sys.argv[1]], pass_fds=files, env={**os.environ, **more})\n"
    )
    parent = start(TAKES + passing, HOLDS)
    assert [parent.stdout.readline() for _ in range(2)] == ["has 0\n"] * 2
    parent.kill()
    parent.wait()
    waiting = start(HOLDS)
    assert "waits for" in waiting.stderr.readline()
    parent.stdin.close()
    assert waiting.stdout.readline() == "has 0\n"


def test_neither_a_fork_nor_a_worker_that_outlives_the_stage_keeps_the_lock(machine, start):
    machine(ONE)
    leaves = (
        "import subprocess, time\n"
        "worker = subprocess.Popen(['sleep', '60'])\n"
        "forked = os.fork() or time.sleep(60) or os._exit(0)\n"
        "print(worker.pid, forked, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    first = start(TAKES + leaves)
    assert first.stdout.readline() == "has 0\n"
    left = map(int, first.stdout.readline().split())
    first.wait()
    second = start(TAKES)
    assert second.stdout.readline() == "has 0\n" and second.stderr.read() == ""
    for process in left:
        os.kill(process, 9)


def test_two_launches_of_several_processes_do_not_wait_for_each_other(machine, start):
    machine(TWO)
    ranks = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    first = start(HOLDS, LOCAL_RANK="0", **ranks)
    assert first.stdout.readline() == "has None\n"
    assert start(HOLDS, LOCAL_RANK="1", **ranks).stdout.readline() == "has None\n"
    second = start(HOLDS, LOCAL_RANK="0", CUDA_VISIBLE_DEVICES="1,0", **ranks)
    assert "waits for" in second.stderr.readline()
    first.kill()
    assert second.stdout.readline() == "has 1,0\n"


def test_what_is_read_of_a_lock_is_never_printed_as_it_is(machine, start, tmp_path):
    machine(ONE)
    start(HOLDS).stdout.readline()
    lock = next((tmp_path / "runtime/rlvr").iterdir())
    lock.write_text('{"pid": 1, "what": "\\u001b[2J\\n", "since": "now"}', encoding="utf-8")
    line = start(HOLDS).stderr.readline()
    assert "now" in line and "\x1b" not in line
    lock.write_text("[", encoding="utf-8")
    assert "which another process uses" in start(HOLDS).stderr.readline()


def test_a_folder_that_is_not_this_users_alone_is_not_trusted(machine, monkeypatch, capsys, tmp_path):
    machine(ONE)
    (tmp_path / "runtime/rlvr").mkdir(mode=0o777)
    (tmp_path / "runtime/rlvr").chmod(0o777)
    gpu_lock.take("sft", Path("x"))
    assert "sft: no lock on the GPU (not a folder of this user alone: " in capsys.readouterr().err


def test_the_stages_that_lock_are_those_whose_rules_ask_for_a_gpu():
    asking = set()
    for file in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for rule in re.split(r"^rule ", file.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
            if re.search(r"^\s+gpu=1,", rule, re.MULTILINE):
                asking.add(re.search(r'"rlvr (\w+) ', rule)[1])
    assert asking == {name for name, stage in cli.STAGES.items() if stage.gpu} and len(asking) == 8


@pytest.mark.parametrize(
    ("stage", "device", "locks"), [("generate", "auto", 1), ("generate", "cpu", 0), ("score", "auto", 0)]
)
def test_a_stage_locks_where_it_uses_the_gpu(machine, monkeypatch, tmp_path, stage, device, locks):
    machine(ONE)
    taken = []
    monkeypatch.setattr(gpu_lock, "take", lambda *given: taken.append(given))
    monkeypatch.setattr(cli, "_execute", lambda name, arguments: None)
    config = tmp_path / "config.json"
    config.write_text(f'{{"device": "{device}"}}', encoding="utf-8")
    named = [f"--{item.rstrip('+*?')}=x" for item in (*cli.STAGES[stage].inputs, *cli.STAGES[stage].outputs)]
    assert cli.main([stage, "--config", str(config), *named, "--manifest", "m/manifest.json"]) == 0
    assert taken == [(stage, Path("m"))] * locks


@pytest.mark.parametrize(
    ("gpus", "asked", "device", "refused"),
    [
        (ONE, 1, "auto", False),
        (ONE, 2, "auto", True),
        (ONE, 2, "cpu", False),
        (ONE, 0, "auto", False),
        (TWO, 2, "auto", False),
        (TWO, 3, "auto", True),
        (MIXED, 2, "auto", True),
        ("", 2, "auto", False),
    ],
)
def test_more_jobs_than_gpus_are_refused(machine, monkeypatch, tmp_path, gpus, asked, device, refused):
    machine(gpus)
    monkeypatch.setattr(nvidia, "DEV", tmp_path / "none")
    if refused:
        with pytest.raises(RlvrError, match=rf"^--resources gpu={asked}: here [^\n]*; allowed: gpu=1"):
            gpu_lock.require(asked, device)
    else:
        gpu_lock.require(asked, device)


def test_snakemake_refuses_two_jobs_on_one_gpu_before_it_starts_any(machine, checkout):
    machine(ONE)
    target = "results/micro/config/base.json"
    refused = snakemake(checkout, target, "--resources", "gpu=2", check=False)
    assert refused.returncode != 0 and not (checkout / target).exists()
    assert "--resources gpu=2: here is one GPU of one model that may be used (NVIDIA H100 80GB HBM3)" in refused.stdout
    assert "Traceback" not in refused.stdout
