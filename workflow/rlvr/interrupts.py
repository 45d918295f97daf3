"""What Ctrl-C, SIGTERM and a closed terminal (SIGHUP) do to a stage, and to snakemake with the stages it runs."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import psutil

from rlvr_plugins import calls

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SHELLS = ("bash", "sh", "dash")
SECONDS_TO_END = 600.0
"""How long snakemake waits at its end for stages whose shell is gone already."""
SECONDS_BETWEEN_LOOKS = 0.5

_told: dict[int, psutil.Process] = {}


def end_stage() -> None:
    """From now on the first of these signals raises `calls.Interrupted`, so that the stage ends by its own cleaning up.

    Later ones are ignored but for Ctrl-C: a terminal sends it to the stage, and snakemake a SIGTERM beside it.
    """
    told = False

    def first(number: int, frame: Any) -> None:
        nonlocal told
        if told and number != signal.SIGINT:
            return
        told = True
        calls.interrupt(number, frame)

    _install(first)


def end_workflow() -> None:
    """While snakemake looks at the workflow, these signals end it as Ctrl-C does: it gives its lock back."""
    _install(signal.default_int_handler)


def end_jobs(workflow: Any) -> None:
    """From now on the first of these signals starts no more jobs, passes SIGTERM to those that run, and awaits them.

    To be called once snakemake's scheduler is there, which takes SIGTERM for itself and lets jobs run on. What jobs had
    made by halves is removed as after a failure. Where jobs run elsewhere (Slurm, …) it is as Ctrl-C, which
    cancels them. workflow: Snakemake's own object.
    """
    if not workflow.local_exec:
        _install(signal.default_int_handler)
        return

    def first(number: int, frame: Any) -> None:
        _install(again)
        # Not in the handler: the main thread may hold the locks that this takes.
        threading.Thread(target=_end, args=(workflow.scheduler,), daemon=True).start()

    def again(number: int, frame: Any) -> None:
        if number == signal.SIGINT:
            raise KeyboardInterrupt

    _install(first)


def await_jobs() -> None:
    """Waits for the stages that were told to stop: a closed terminal ends the shell around one before the stage."""
    psutil.wait_procs(list(_told.values()), timeout=SECONDS_TO_END)


def _end(scheduler: Any) -> None:
    scheduler.exit_gracefully()
    while True:  # a job may be about to start
        for stage in _stages(psutil.Process()):
            if stage.pid not in _told:
                _told[stage.pid] = stage
                try:
                    stage.terminate()
                except psutil.Error:
                    continue
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _stages(process: psutil.Process) -> list[psutil.Process]:
    """What runs in the shells that a process started, or without one; not what that started itself."""
    found = []
    try:
        for child in process.children():
            found += _stages(child) if child.name() in SHELLS else [child]
    except psutil.Error:
        pass
    return found


def _install(handler: Any) -> None:
    """Leaves a signal alone that is ignored, as `nohup` has it."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in STOPPING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)
