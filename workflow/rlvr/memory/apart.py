"""Calls functions in processes of their own, forked from one that has never used CUDA and sees no GPU.

torch's autograd starts a thread for each GPU. In a process forked from one that has used CUDA that fails, and whoever
waits for its answer waits for ever.
"""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from typing import Any

from rlvr.errors import RlvrError

SECONDS = 300.0
HIDDEN = "CUDA_VISIBLE_DEVICES"
CONTEXT = multiprocessing.get_context("forkserver")


class Failed(RlvrError):
    """A call that gave no answer, and why."""


def start(modules: list[str]) -> None:
    """Starts the process that the others are forked from, where it does not run yet; it imports `modules` for all.

    A module that can't be imported there is left out.
    """
    CONTEXT.set_forkserver_preload(modules)
    before = os.environ.get(HIDDEN)
    os.environ[HIDDEN] = ""
    try:
        forkserver.ensure_running()
    finally:
        os.environ.pop(HIDDEN)
        os.environ.update({} if before is None else {HIDDEN: before})


def call(function: Callable[..., Any], *arguments: Any, seconds: float | None = None) -> Any:
    """What the function returns. Raises Failed where it raises, crashes, or takes more than `seconds` (`SECONDS`)."""
    seconds = SECONDS if seconds is None else seconds
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_answer, args=(sender, function, arguments), daemon=True)
    try:
        process.start()
        sender.close()
        if not receiver.poll(seconds):
            raise Failed(f"no answer within {seconds:.0f} s")
        answer, problem = receiver.recv()
    except (EOFError, OSError) as error:
        raise Failed(f"the process that counts ended without an answer ({type(error).__name__})") from None
    finally:
        if process.pid:
            process.kill()
            process.join()
    if problem:
        raise Failed(problem)
    return answer


def _answer(sender: Connection, function: Callable[..., Any], arguments: tuple) -> None:
    try:
        sender.send((function(*arguments), None))
    except Exception as error:
        traceback.print_exc()
        sender.send((None, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"))
