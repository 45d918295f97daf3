"""The process behind `isolation.Worker`: `python -m rlvr_plugins.worker KIND NAME MEMORY_MIB PARENT_PID [measured]`.

It answers each line of standard input with one line. What a plugin prints goes to standard error.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
MORE_THREADS = 4096
FILE_MIB = 1024


def main(kind: str, name: str, memory_mib: str, parent: str, measured: str = "") -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    questions = os.fdopen(os.dup(0), "r", encoding="utf-8")
    os.dup2(2, 1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.register_at_fork(after_in_child=lambda: os.close(answers.fileno()))
    die_with(int(parent))
    try:
        answer = _load(kind, name)
        if measured:
            from rlvr_plugins.conformance import cost

            answer = cost.measured(answer)
    except BaseException as error:
        answers.write(json.dumps({"error": " ".join(f"{type(error).__name__}: {error}".split())}) + "\n")
        return
    _limit(int(memory_mib))
    answers.write(json.dumps({"ready": True}) + "\n")
    for line in questions:
        question = json.loads(line)
        answers.write(json.dumps({**answer(question["item"]), "id": question["id"]}) + "\n")


def _load(kind: str, name: str) -> Callable[[dict], dict]:
    if kind == "second":
        from rlvr_plugins import second

        return second.load(name)
    from rlvr_plugins import guard
    from rlvr_plugins.manager import catalogue

    plugin = catalogue().plugin(kind, name)
    if kind == "filter":
        from rlvr_plugins.conformance.filters import Session

        return Session(plugin).answer
    return lambda item: guard.answer_in_worker(kind, plugin, item)


def die_with(parent: int) -> None:
    """Ends this process when its parent ends; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the parent is gone")


def _limit(memory_mib: int) -> None:
    """Bounds what may be allocated, started and written from now on; memory and processes on Linux only.

    The system counts the processes and threads of the user, not of the worker, hence the room above those that it can
    see; it does not count them for root, whose workers `isolation.Worker` alone bounds.
    """
    status = Path("/proc/self/statm")
    if status.is_file():
        held = int(status.read_text(encoding="utf-8").split()[0]) * resource.getpagesize()
        _lower(resource.RLIMIT_AS, held + memory_mib * 1024 * 1024)
        _lower(resource.RLIMIT_NPROC, _threads_of_user() + MORE_THREADS)
    _lower(resource.RLIMIT_FSIZE, FILE_MIB * 1024 * 1024)
    _lower(resource.RLIMIT_CORE, 0)


def _lower(which: int, limit: int) -> None:
    held = resource.getrlimit(which)[1]
    limit = limit if held == resource.RLIM_INFINITY else min(limit, held)
    resource.setrlimit(which, (limit, limit))


def _threads_of_user() -> int:
    found = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if process.stat().st_uid == os.getuid():
                found += sum(1 for _ in (process / "task").iterdir())
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
