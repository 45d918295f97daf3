"""Runs a command in a child process where plugins of others are installed, so that none ends it in silence.

A plugin can end its process with any code (`os._exit(0)`, a fault in a C extension) or never return. The parent, which
runs nothing of theirs, names the call and ends with a code other than 0. Linux only; elsewhere, and with the built-in
plugins alone, the command runs in its own process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from rlvr.errors import RlvrError
from rlvr_plugins import calls, worker
from rlvr_plugins.manager import LIMIT

FORWARDED = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}
FROM_TERMINAL = 0x80
"""`si_code` of a signal that the kernel sent, to parent and child alike."""
POLL_SECONDS = 1.0
ENDING_SECONDS = 60.0
"""For what the interpreter does after the command is done; threads that a plugin left could keep it for ever."""
CODE = 1


def needed() -> bool:
    return sys.platform == "linux" and bool(calls.strangers())


def run(work: Callable[[], int], title: str) -> int:
    """The exit code of `work`, which runs in a child. title: the command, for the line on standard error."""
    if not needed():
        return work()
    board = calls.Board()
    sys.stdout.flush(), sys.stderr.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*FORWARDED, signal.SIGCHLD})
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        worker.die_with(parent)
        calls.write_on(board)
        code = CODE
        try:
            code = work()
        except KeyboardInterrupt:
            code = 128 + signal.SIGINT
            raise
        finally:
            board.finish(code)
        return code
    status, problem = _wait(child, board)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    problem = problem or _problem(status, board)
    if problem:
        print(f"rlvr {title}: {problem}", file=sys.stderr, flush=True)
        return board.code or CODE
    if board.code is not None:
        return board.code
    number = os.WTERMSIG(status)
    if number != signal.SIGKILL:  # of the kernel where memory ran out; it has no handler
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number


def _wait(child: int, board: calls.Board) -> tuple[int, str]:
    """How the child ended, and why it was killed, "" where it was not."""
    ending = 0.0
    while True:
        found = signal.sigtimedwait({*FORWARDED, signal.SIGCHLD}, POLL_SECONDS)
        if found and found.si_signo in FORWARDED and found.si_code != FROM_TERMINAL:
            os.kill(child, found.si_signo)
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status, ""
        ending += POLL_SECONDS * (board.code is not None and found is None)
        problem = ""
        if board.late:
            problem = f"{calls.one_line(board.doing)}: did not return in {board.seconds:g} s and was ended; {_cure()}"
        elif ending > ENDING_SECONDS:
            problem = f"was done, but did not end in {ENDING_SECONDS:g} s: a plugin left a thread; {_cure()}"
        if problem:
            os.kill(child, signal.SIGKILL)
            return os.waitpid(child, 0)[1], problem


def _problem(status: int, board: calls.Board) -> str:
    """What is wrong with the child's end, "" where it said itself with which code it would end."""
    if board.code is not None:
        return ""
    signalled = os.WIFSIGNALED(status)
    how = f"ended with code {os.WEXITSTATUS(status)}"
    if signalled:
        how = f"was ended by {signal.Signals(os.WTERMSIG(status)).name}"
    if board.doing:
        return f"{calls.one_line(board.doing)}: the process {how} during this call; {_cure()}"
    return "" if signalled else f"the process {how} before it was done; {_cure()}"


def _cure() -> str:
    packages = calls.one_line(", ".join(calls.strangers()))
    return f"plugin packages: {packages}; uninstall the one that did it, or leave it out with {LIMIT}"


def require_config(files: Sequence[Path], overrides: Sequence[str]) -> None:
    """Reads a config in a supervised process, as Snakemake's, which nothing supervises, is about to do.

    Raises RlvrError, the line of the other process, where a plugin ended that or took too long.
    """
    if not needed():
        return
    command = [sys.executable, "-m", __name__, json.dumps(list(overrides)), *map(str, files)]
    tried = subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace", encoding="utf-8"
    )
    if tried.returncode:
        lines = tried.stderr.strip().splitlines()
        raise RlvrError(lines[-1] if lines else f"reading the config ended with code {tried.returncode}")


def _read_config(overrides: str, *files: str) -> int:
    """Calls what reading a config calls of the plugins; what else is wrong with it is said by who reads it next."""
    from rlvr import config, slices

    with suppress(Exception):
        slices.of(config.load(list(map(Path, files)), json.loads(overrides)))
    return 0


if __name__ == "__main__":
    sys.exit(run(partial(_read_config, *sys.argv[1:]), "config"))
