"""What a call costs does not depend on how fast the machine is, nor on what else it does."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlvr_plugins.conformance import cost


def count(steps: int) -> dict:
    return {"sum": sum(i * i for i in range(steps))}


def test_the_answer_is_kept_and_more_work_costs_more():
    call = cost.measured(count)
    little, much = call(20_000), call(2_000_000)
    assert little["sum"] == count(20_000)["sum"]
    assert 20 < much["seconds"] / little["seconds"] < 500


def test_seconds_are_those_of_the_reference_machine(monkeypatch):
    """On a machine eight times as slow the fixed work takes eight times as long."""
    call = cost.measured(count)
    usual = min(call(300_000)["seconds"] for _ in range(5))
    known = cost.unit
    monkeypatch.setattr(cost, "unit", lambda: 8 * known())
    call = cost.measured(count)
    assert 4 < usual / min(call(300_000)["seconds"] for _ in range(5)) < 16


def test_a_clock_too_coarse_for_the_fixed_work_counts_as_it_is(monkeypatch):
    monkeypatch.setattr(cost.time, "process_time", lambda: 7.0)
    assert cost.unit() == cost.REFERENCE


def test_who_sleeps_waits():
    found = cost.measured(lambda seconds: time.sleep(seconds) or {})(0.3)
    assert found["waited"] > 0.25 and found["seconds"] < 0.1


@pytest.mark.skipif(not Path("/proc/thread-self/schedstat").exists(), reason="the system does not tell the queue")
def test_who_queues_for_a_core_does_not_wait():
    """One core, shared with a process that never leaves it."""
    cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(cores)})
        with subprocess.Popen([sys.executable, "-c", "print(1, flush=True)\nwhile True: pass"], stdout=-1) as busy:
            busy.stdout.read(1)
            begun = time.perf_counter()
            found = cost.measured(count)(5_000_000)
            wall = time.perf_counter() - begun
            busy.kill()
    finally:
        os.sched_setaffinity(0, cores)
    assert found["waited"] < 0.1 * wall
