"""SIGTERM, SIGHUP and Ctrl-C end a run cleanly, and the same command goes on."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from conftest import MICRO, write_config
from rlvr import interrupts

TRAINED = "results/micro/sft/manifest.json"
SECONDS = 600.0
"""Bounds what hangs; what is waited for takes seconds."""


def wait_for(true, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)


def of_this_run(checkout: Path) -> list[str]:
    """Command lines of the processes that work in a checkout."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(checkout):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


UNIGNORED = (
    sys.executable,
    "-c",
    "import fcntl, os, signal, sys, termios\n"
    "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_DFL)\n"
    "if os.isatty(0): fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execvp(sys.argv[1], sys.argv[1:])",
)
"""Starts a command that ignores no signal, though the tests may run under nohup, on its terminal where it has one."""


def start(checkout: Path, **files) -> subprocess.Popen:
    return subprocess.Popen(
        [*UNIGNORED, "snakemake", "--cores", "1", TRAINED],
        cwd=checkout,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        start_new_session=True,
        **files,
    )


def sealed(checkout: Path) -> bool:
    """Whether there is a checkpoint to go on from."""
    return bool(list(checkout.rglob("rlvr_seal.json")))


def to_snakemake_alone(checkout: Path, number: int) -> subprocess.Popen:
    """As systemd, Slurm and `kill` do it."""
    with (checkout / "printed").open("wb") as printed:
        process = start(checkout, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed)
    wait_for(lambda: sealed(checkout), process)
    process.send_signal(number)
    process.wait(SECONDS)
    return process


def close_the_terminal(checkout: Path) -> subprocess.Popen:
    """All processes of the terminal get SIGHUP, and nothing can be printed any more."""
    here, terminal = pty.openpty()
    process = start(checkout, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    os.set_blocking(here, False)

    def reads_until_sealed() -> bool:
        with suppress(BlockingIOError):
            os.read(here, 1 << 16)
        return sealed(checkout)

    wait_for(reads_until_sealed, process)
    os.close(here)
    process.wait(SECONDS)
    return process


def test_a_stage_is_not_ended_by_what_it_tells_a_terminal_that_is_gone(tmp_path):
    here, terminal = pty.openpty()
    program = (
        "import sys; from pathlib import Path; from rlvr import console\n"
        "with console.quiet(Path(sys.argv[1])):\n"
        "    sys.stdin.read()\n"
        "    console.say('said')\n"
        "    with console.bar('sft', 2, 'step') as bar:\n"
        "        bar.update(), bar.refresh()\n"
        "    print('ended', flush=True)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "log")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=terminal, stderr=terminal)
    os.close(terminal), os.close(here)
    process.communicate(timeout=SECONDS)
    assert (tmp_path / "log").read_text(encoding="utf-8") == "said\nended\n"


def test_the_first_signal_ends_a_stage_and_the_next_leave_it_time_to_clean_up():
    program = (
        "import signal; from rlvr import interrupts; from rlvr_plugins import calls\n"
        "interrupts.end_stage()\n"
        "try:\n"
        "    print('ready', flush=True), signal.pause()\n"
        "except calls.Interrupted:\n"
        "    signal.raise_signal(signal.SIGTERM), signal.raise_signal(signal.SIGHUP)\n"
        "    print('cleaned up')\n"
    )
    for number in interrupts.STOPPING:
        process = subprocess.Popen(
            [*UNIGNORED, sys.executable, "-c", program],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        process.stdout.readline()
        process.send_signal(number)
        assert process.communicate(timeout=SECONDS)[0] == "cleaned up\n", number


def test_what_nohup_has_ignored_stays_ignored():
    program = (
        "from rlvr import interrupts; import signal; interrupts.end_stage(); print(signal.getsignal(signal.SIGHUP))"
    )
    done = subprocess.run(["nohup", sys.executable, "-c", program], capture_output=True, text=True, encoding="utf-8")
    assert done.stdout == "1\n" == f"{int(signal.SIG_IGN)}\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "stop",
    [
        lambda checkout: to_snakemake_alone(checkout, signal.SIGTERM),
        lambda checkout: to_snakemake_alone(checkout, signal.SIGINT),
        close_the_terminal,
    ],
    ids=["SIGTERM", "SIGINT", "SIGHUP"],
)
def test_a_run_that_is_told_to_stop_ends_its_jobs_and_goes_on_with_the_same_command(after_run, stop):
    trainer = {**MICRO["sft"]["trainer"], "max_steps": 3000, "save_steps": 20}
    write_config(after_run, {**MICRO, "sft": {"trainer": trainer}, "preflight": {"mode": "off"}})
    process = stop(after_run)
    assert process.returncode > 0, "it came to its own end"
    assert of_this_run(after_run) == []
    made = after_run / "results/micro/sft"
    assert not (made / "policy").exists() and not (made / "metrics.parquet").exists()
    again = start(
        after_run, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8"
    )
    said = []
    for line in again.stdout:
        said.append(line)
        if "goes on from checkpoint-" in line:
            break
    else:
        raise AssertionError("".join(said))
    assert "interrupted" in (after_run / "results/micro/logs/sft.log.1").read_text(encoding="utf-8")
    again.terminate()
    again.communicate(timeout=SECONDS)
