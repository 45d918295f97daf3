"""Workers: what hangs, eats memory, crashes or lies costs its own item and nothing else."""

from __future__ import annotations

import os

import psutil
import pytest

from rlvr_plugins import Example, Sample, Verdict
from rlvr_plugins.guard import Judge, Rewarder
from rlvr_plugins.isolation import Worker, WorkerError
from rlvr_plugins.manager import catalogue
from rlvr_plugins.types import Limits

MODULE = '''
import ctypes, os, subprocess, sys, time
from dataclasses import dataclass
from rlvr_plugins import Limits, Reward, Task, Verdict, hookimpl

LIMITS = Limits(sample_seconds=4.0, batch_seconds=600.0, memory_mib=256)
SOON = Limits(sample_seconds=0.5, batch_seconds=3.0)
def answers_fd():
    """The descriptor that the worker answers on: the first pipe that is not standard output or error."""
    known = {os.readlink(f"/proc/self/fd/{fd}") for fd in (1, 2)}
    for fd in range(3, 20):
        try:
            target = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            continue
        if target.startswith("pipe:") and target not in known and os.access(f"/proc/self/fd/{fd}", os.W_OK):
            return fd

def act(sample):
    """Does what the completion says."""
    what = sample.completion
    if what == "hang":
        while True: pass
    if what == "sleep": time.sleep(600)
    if what == "child": subprocess.Popen(["sleep", f"600.{os.getppid()}"]); time.sleep(600)
    if what == "eat": return float(len(bytearray(8 * 1024**3)))
    if what == "segfault": ctypes.string_at(0)
    if what == "exit": os._exit(3)
    if what == "print": print('{"value": 1.0}'); sys.stdout.flush(); return 0.25
    if what == "read": return 0.5 if sys.stdin.read() == "" else 0.0
    if what == "nan": return float("nan")
    if what == "raise": raise RuntimeError("no")
    if what == "none": return None
    if what == "second line": os.write(answers_fd(), b'{"value": 1.0}\\n'); return 0.25
    if what == "other line": os.write(answers_fd(), b'{"id": 1, "value": 1.0}\\n' * 2); time.sleep(600)
    if what == "deep": os.write(answers_fd(), b"[" * 200_000 + b"\\n"); time.sleep(600)
    if what == "huge": os.write(answers_fd(), b"x" * 2_000_000)
    if what == "fork" and os.fork() == 0: raise RuntimeError("in the child")
    if what == "big": return 10**400
    if what == "quit": raise SystemExit
    if what == "pid": return float(os.getpid() % 10_000)
    return 0.75

@dataclass(frozen=True)
class Options: pass

def splits(options, train, eval, seed): return [], []
def user(example): return ""
def verify(completion, example):
    """Judges."""
    if completion == "hang":
        while True: pass
    if completion == "types": return Verdict(True, True, True, 5)
    return Verdict(True, True, True, completion)

@hookimpl
def rlvr_rewards():
    yield Reward("act", act, bounds=(0.0, 1e4), isolate=LIMITS)
    yield Reward("act_soon", act, bounds=(0.0, 1e4), isolate=SOON)

@hookimpl
def rlvr_tasks():
    yield Task("isolated", options=Options, splits=splits, system="", user=user, verify=verify, isolate=LIMITS)
'''


def sample(text: str) -> Sample:
    return Sample(text, Example("k", {}), Verdict(False, False, False))


@pytest.fixture
def rewarder(installed):
    installed(MODULE)
    made = Rewarder(catalogue().reward("act"))
    yield made
    made.close()


def test_each_misdeed_costs_only_its_own_sample(rewarder):
    misdeeds = [
        "fine",
        "hang",
        "fine",
        "eat",
        "fine",
        "segfault",
        "fine",
        "exit",
        "print",
        "read",
        "nan",
        "raise",
        "none",
    ]
    outcomes = rewarder.score([sample(text) for text in misdeeds])
    expected = ["", "timeout", "", "memory", "", "crashed", "", "crashed", "", "", "nan", "raised", ""]
    assert [outcome.failure for outcome in outcomes] == expected
    assert [outcome.value for outcome in outcomes] == [0.75, 0, 0.75, 0, 0.75, 0, 0.75, 0, 0.25, 0.5, 0, 0, None]
    assert "SIGSEGV" in outcomes[5].detail and "code 3" in outcomes[7].detail


def test_a_worker_that_lies_costs_only_the_sample_it_lied_on(rewarder):
    lies = [
        "fine",
        "second line",
        "fine",
        "other line",
        "fine",
        "deep",
        "fine",
        "huge",
        "fine",
        "fork",
        "fine",
        "big",
        "quit",
        "fine",
    ]
    outcomes = rewarder.score([sample(text) for text in lies])
    honest = [outcome for text, outcome in zip(lies, outcomes, strict=True) if text in ("fine", "fork")]
    assert {outcome.value for outcome in honest} == {0.75}
    assert [outcome.failure for text, outcome in zip(lies, outcomes, strict=True) if text not in ("fine", "fork")] == [
        "crashed", "crashed", "crashed", "crashed", "out_of_range", "raised",
    ]  # fmt: skip


def test_lone_surrogates_and_large_texts_travel(rewarder):
    outcomes = rewarder.score([sample("\ud800\0" * 200_000), sample("é🦜")])
    assert [outcome.value for outcome in outcomes] == [0.75, 0.75]


def test_a_batch_ends_with_its_own_budget(rewarder):
    """40 hangs of half a second would be 20 seconds; no more than six or seven fit."""
    hasty = Rewarder(catalogue().reward("act_soon"))
    outcomes = hasty.score([sample("sleep")] * 40)
    hasty.close()
    assert {outcome.failure for outcome in outcomes} == {"timeout"}
    asked = [outcome for outcome in outcomes if outcome.detail.startswith("no answer in")]
    assert 1 <= len(asked) <= 7 and asked == outcomes[: len(asked)]
    assert {outcome.detail for outcome in outcomes[len(asked) :]} == {"the batch took 3 s"}


def test_a_killed_worker_takes_its_children_along(rewarder):
    assert rewarder.score([sample("child")])[0].failure == "timeout"
    sleepers = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", f"600.{os.getpid()}"]]
    _, alive = psutil.wait_procs(sleepers, timeout=120)  # killed, but perhaps not gone yet
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_the_process_lives_on_between_batches(rewarder):
    first, second = (rewarder.score([sample("pid")])[0].value for _ in range(2))
    assert first == second != os.getpid() % 10_000


def test_a_verifier_that_hangs_is_an_error_verdict(installed):
    installed(MODULE)
    judge = Judge(catalogue().task("isolated"))
    verdicts = judge.judge([(text, Example("k", {})) for text in ("a", "hang", "b", "types")])
    judge.close()
    assert [(verdict.status, verdict.answer) for verdict in verdicts] == [
        ("right", "a"),
        ("error", ""),
        ("right", "b"),
        ("error", ""),
    ]
    assert verdicts[3].reason == "not_a_verdict: returned a Verdict whose answer is 5, not str"
    assert verdicts[1].reason.startswith("timeout: no answer in")


def test_a_plugin_that_cannot_be_loaded_there_is_said_so():
    worker = Worker("reward", "not_there", Limits())
    with pytest.raises(WorkerError, match="PluginError: unknown reward 'not_there'; installed: boxed"):
        worker.run([{}])


@pytest.mark.parametrize(
    ("name", "value"), [("sample_seconds", 0), ("batch_seconds", -1), ("memory_mib", float("inf"))]
)
def test_limits_are_above_nothing(name, value):
    with pytest.raises(ValueError, match=f"Limits.{name}: .* is not possible; allowed: above 0"):
        Limits(**{name: value})
