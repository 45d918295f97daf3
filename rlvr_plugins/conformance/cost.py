"""What a call costs, whatever the machine and what else runs on it.

CPU time is counted in runs of a fixed piece of work that is timed in the same process right before and after the call:
a machine half as fast takes twice as long for both. Wall time counts only where the process waited by itself.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Any

REFERENCE = 50e-6
"""CPU seconds of the fixed work where the limits were set: one core of an AMD EPYC at 2 to 3 GHz, Python 3.11."""
REPEATS = 3
ATTEMPTS = 5
"""How often what looks too slow is measured; the least counts."""
SPARE = 10
"""A call is taken for hanging when it takes this many times what it may, in wall time."""
LEAST_HANG = 10.0
"""Seconds before a call is taken for hanging, however little it may take."""

_TEXT = "Ann has 3 red apples, eats 1.5 of them and buys (4 + 2) * 7 more. How many are left?\n" * 4
_WORD = re.compile(r"\w+|[^\w\s]")


def _work() -> int:
    """Loops, searches, hashes and joins, as verifiers, rewards and filters do."""
    words = _WORD.findall(_TEXT.lower())
    runs = {" ".join(run) for run in zip(words, words[1:], words[2:], strict=False)}
    return len(runs) + sum(i * i for i in range(600))


def unit() -> float:
    """CPU seconds that the fixed work takes now, at the least; `REFERENCE` where the clock is too coarse to tell."""
    found = []
    for _ in range(REPEATS):
        begun = time.process_time()
        _work()
        found.append(time.process_time() - begun)
    return min(found) or REFERENCE


def measured(function: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """The function, its answer with two more keys.

    seconds: CPU time of the process in seconds of the reference machine. waited: wall seconds in which the calling
    thread neither ran nor queued for a core; where the system does not tell the queue (no Linux), it counts as waiting.
    """
    _work()
    before = [unit()]
    queued = _queue()

    def call(item: Any) -> dict[str, Any]:
        begun = time.perf_counter(), time.process_time(), queued()
        answer = function(item)
        wall, cpu, queue = (
            now - then for now, then in zip((time.perf_counter(), time.process_time(), queued()), begun, strict=True)
        )
        after = unit()
        slower, before[0] = max(before[0], after), after
        return {**answer, "seconds": cpu * REFERENCE / slower, "waited": max(0.0, wall - cpu - queue)}

    return call


def _queue() -> Callable[[], float]:
    """Seconds that this thread has been ready to run while others did."""
    try:
        file = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        int(os.pread(file, 100, 0).split()[1])
    except (OSError, IndexError, ValueError):
        return lambda: 0.0
    return lambda: int(os.pread(file, 100, 0).split()[1]) / 1e9


def hang(seconds: float) -> float:
    """Wall seconds after which a call that may cost so much is ended."""
    return max(LEAST_HANG, SPARE * seconds)
