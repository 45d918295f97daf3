"""A worker process with a time and memory budget, killed and started again when it passes them.

It speaks JSON lines in both directions, so that nothing a plugin sends is ever unpickled here; each question
has a number, which its answer repeats. It bounds time, memory and processes; it is no sandbox. Use a worker from one
thread: on Linux it dies with the thread that started it.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlvr_plugins.manager import PluginError
from rlvr_plugins.types import Limits

START_SECONDS = 600.0
ENDING_SECONDS = 10.0
MAX_ANSWER = 1_000_000
MOST_PROCESSES = 256
"""That a worker and what it started may be."""
COUNT_SECONDS = 0.25
"""Between two counts of them."""
LEFT_OUT = "left out after several timeouts"


@dataclass(frozen=True)
class Failure:
    """An item that got no answer. kind: timeout, memory or crashed."""

    kind: str
    detail: str


class WorkerError(PluginError):
    """The plugin could not be loaded in a worker; the message is one line."""


class Worker:
    """Runs one plugin, named by kind and name, in a process of its own.

    The process starts with the first item. `environment` and `folder` are laid over those of this
    process. measured: answers say what they cost, as `conformance.cost.measured` has it.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        limits: Limits,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        measured: bool = False,
    ) -> None:
        self.limits = limits
        self._what = f"{kind} {name!r}"
        arguments = [kind, name, str(limits.memory_mib), str(os.getpid()), *(["measured"] if measured else [])]
        self._command = [sys.executable, "-m", "rlvr_plugins.worker", *arguments]
        path = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
        self._environment = {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys(path)), **(environment or {})}
        self._folder = folder
        self._process: subprocess.Popen | None = None
        self._asked = 0
        self._counted = time.monotonic()

    def run(
        self, items: Sequence[Mapping[str, Any]], most_timeouts: float = float("inf")
    ) -> list[dict[str, Any] | Failure]:
        """One answer an item, in their order; an item that passes a limit costs only itself.

        Once `batch_seconds` are over or `most_timeouts` items have timed out, what is left fails too.
        Starting the process again counts, starting it for the first time does not. Raises WorkerError
        when the plugin can't be loaded in the worker.
        """
        answers: list[dict[str, Any] | Failure] = []
        spent, timeouts = 0.0, 0
        for item in items:
            if timeouts >= most_timeouts:
                answers.append(Failure("timeout", LEFT_OUT))
                continue
            if spent >= self.limits.batch_seconds:
                answers.append(Failure("timeout", f"the batch took {self.limits.batch_seconds:g} s"))
                continue
            begun = time.monotonic()
            first = self._process is None and not self._asked
            self._start()
            begun = time.monotonic() if first else begun
            answers.append(self._ask(item, min(self.limits.sample_seconds, self.limits.batch_seconds - spent)))
            spent += time.monotonic() - begun
            timeouts += isinstance(answers[-1], Failure) and answers[-1].kind == "timeout"
            if _ran_out_of_memory(answers[-1]):
                self.close()
        if self._too_many():
            self.close()
        return answers

    def close(self) -> None:
        """Kills the process and those it started, less any that left its process group."""
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()
        self._process = None

    def __del__(self) -> None:
        self.close()

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            cwd=self._folder,
            start_new_session=True,
            bufsize=0,
        )
        os.set_blocking(self._process.stdin.fileno(), False)
        os.set_blocking(self._process.stdout.fileno(), False)
        ready = self._exchange(b"", time.monotonic() + START_SECONDS)
        if isinstance(ready, Failure) or ready.get("ready") is not True:
            self.close()
            problem = ready.detail if isinstance(ready, Failure) else ready.get("error", ready)
            raise WorkerError(f"{self._what} can't be loaded in its worker: {problem}")

    def _too_many(self) -> bool:
        """Whether the worker has started too many processes, which a fork bomb does in no time; Linux only."""
        now = time.monotonic()
        if self._process is None or now - self._counted < COUNT_SECONDS:
            return False
        self._counted = now
        return _size_of_session(self._process.pid) > MOST_PROCESSES

    def _ask(self, item: Mapping[str, Any], seconds: float) -> dict[str, Any] | Failure:
        self._asked += 1
        question = json.dumps({"id": self._asked, "item": item}).encode() + b"\n"
        answer = self._exchange(question, time.monotonic() + seconds)
        if isinstance(answer, dict) and answer.pop("id", None) != self._asked:
            answer = Failure("crashed", "an answer to another question")
        if isinstance(answer, Failure):
            self.close()
        return answer

    def _exchange(self, message: bytes, deadline: float) -> dict[str, Any] | Failure:
        """Sends a message and waits for one line."""
        begun, process = time.monotonic(), self._process
        waiting, received = memoryview(message), b""
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if waiting:
                selector.register(process.stdin, selectors.EVENT_WRITE)
            while b"\n" not in received:
                left = deadline - time.monotonic()
                if left <= 0:
                    return Failure("timeout", f"no answer in {time.monotonic() - begun:.1f} s")
                if self._too_many():
                    return Failure("crashed", f"more than {MOST_PROCESSES} processes")
                for key, _ in selector.select(min(left, COUNT_SECONDS)):
                    try:
                        if key.fileobj is process.stdin:
                            waiting = waiting[os.write(key.fd, waiting) :]
                            if not waiting:
                                selector.unregister(process.stdin)
                        else:
                            piece = os.read(key.fd, 1 << 16)
                            if not piece:
                                return Failure("crashed", _ending(process))
                            received += piece
                    except BlockingIOError:
                        continue
                    except BrokenPipeError:
                        return Failure("crashed", _ending(process))
                if len(received) > MAX_ANSWER:
                    return Failure("crashed", f"an answer of more than {MAX_ANSWER:,} bytes")
        line, _, more = received.partition(b"\n")
        if more:
            return Failure("crashed", "more than one answer")
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            return Failure("crashed", "an answer that is no JSON")
        return answer if isinstance(answer, dict) else Failure("crashed", "an answer that is no object")


def _size_of_session(session: int) -> int:
    """Processes of a session, 0 where the system does not tell."""
    found = 0
    with suppress(FileNotFoundError):
        for process in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                found += int(process.read_bytes().rpartition(b")")[2].split()[3]) == session
    return found


def _ran_out_of_memory(answer: dict[str, Any] | Failure) -> bool:
    if isinstance(answer, Failure):
        return False
    verdict = answer.get("verdict")
    reason = verdict.get("reason") if isinstance(verdict, dict) else ""
    return answer.get("failure") == "memory" or str(reason).startswith("memory:")


def _ending(process: subprocess.Popen) -> str:
    """How a process that closed its pipes came to its end."""
    try:
        code = process.wait(timeout=ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        return "the worker closed its pipe"
    return f"the worker died of {signal.Signals(-code).name}" if code < 0 else f"the worker ended with code {code}"
